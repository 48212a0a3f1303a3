"""The panel in the pages of other sites, in every browser that the machine has for it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Frame,
    Page,
    Playwright,
    ViewportSize,
    expect,
)

from panel.accounts.tokens import make_status_key
from panel.config import Config
from tests.browser import firefox
from tests.browser.conftest import ARGUMENTS, PATIENCE_MILLISECONDS, listen
from tests.browser.serving import Panel
from tests.browser.sites import LISTED, NAMES, PANEL, SAME_SITE, UNLISTED, HostPages, serve_https
from tests.browser.steps import add_server, row, unlock
from tests.support.cast import OPERATOR, PASSWORD, USER
from tests.support.real_site import wait_until

BROWSERS = ("chromium", "firefox") if firefox.find() else ("chromium",)
# The narrowest page that shows the panel: 280 px, and 8 px of margin on either side.
NARROW = ViewportSize(width=296, height=700)
CONTENT_BLOCKED = 2


@pytest.fixture
def hosts() -> Iterator[tuple[HostPages, int]]:
    """The pages of other sites, and the port at which each of their names answers."""
    pages = HostPages()
    with serve_https(pages.app) as port:
        yield pages, port


@pytest.fixture
def config(config: Config, hosts: tuple[HostPages, int]) -> Config:
    origins = tuple(f"https://{name}:{hosts[1]}" for name in (LISTED, SAME_SITE))
    return replace(config, embed_origins=origins)


@pytest.fixture
def framed_panel(panel: Panel, hosts: tuple[HostPages, int]) -> Iterator[Panel]:
    """The panel of a primary under https, at a name of its own."""
    panel.become_primary([(7, "Kadavu Health Centre", "KDV-01")])
    with serve_https(panel.app) as port:
        panel.url = hosts[0].panel_url = f"https://{PANEL}:{port}/"
        yield panel


@pytest.fixture(scope="module", params=BROWSERS)
def any_browser(
    request: pytest.FixtureRequest, browser: Browser, playwright: Playwright
) -> Iterator[Browser]:
    """Each browser in turn."""
    if request.param == "chromium":
        yield browser
        return
    resolve: dict[str, str | float | bool] = {"network.dns.localDomains": ",".join(NAMES)}
    other = playwright.firefox.launch(executable_path=firefox.find(), firefox_user_prefs=resolve)
    yield other
    other.close()


@pytest.fixture
def profile(any_browser: Browser, complaints: list[str]) -> Iterator[BrowserContext]:
    """A profile that takes our certificate for good."""
    context = any_browser.new_context(ignore_https_errors=True)
    listen(context, complaints)
    yield context
    context.close()


@pytest.fixture
def refusing_profile(
    chromium_path: Path, playwright: Playwright, tmp_path: Path, complaints: list[str]
) -> Iterator[BrowserContext]:
    """A profile that keeps no cookie at all of a frame in the pages of another site."""
    blocked = {f"https://[*.]{PANEL},https://[*.]{LISTED}": {"setting": CONTENT_BLOCKED}}
    preferences = {"profile": {"content_settings": {"exceptions": {"cookies": blocked}}}}
    folder = tmp_path / "profile"
    (folder / "Default").mkdir(parents=True)
    (folder / "Default" / "Preferences").write_text(json.dumps(preferences))
    context = playwright.chromium.launch_persistent_context(
        folder, executable_path=chromium_path, args=list(ARGUMENTS), ignore_https_errors=True
    )
    listen(context, complaints)
    yield context
    context.close()


def open_host(page: Page, hosts: tuple[HostPages, int], name: str, path: str = "/") -> Frame:
    """Go to a page of another site; return the frame in it."""
    page.goto(f"https://{name}:{hosts[1]}{path}")
    frame = page.locator("iframe").element_handle().content_frame()
    assert frame
    return frame


def sign_in(place: Page | Frame) -> None:
    # Other forms have fields of these names too.
    expect(place.get_by_role("button", name="Sign in")).to_be_visible()
    place.get_by_label("Name", exact=True).fill(USER)
    place.get_by_label("Password", exact=True).fill(PASSWORD)
    place.get_by_role("button", name="Sign in").click()


def expect_whole(page: Page, frame: Frame) -> None:
    """See the frame become as high as what is in it."""
    iframe = page.locator("iframe")

    def is_whole() -> bool:
        # Asked each time: what was pressed just now may still make it higher.
        content = frame.evaluate("document.documentElement.offsetHeight")
        return bool(iframe.evaluate("frame => getComputedStyle(frame).height") == f"{content}px")

    wait_until(is_whole, "the frame is as high as what is in it")


def test_signs_in_unlocks_and_adds_a_server_in_a_frame_that_grows(
    profile: BrowserContext, framed_panel: Panel, hosts: tuple[HostPages, int]
) -> None:
    page = profile.new_page()
    frame = open_host(page, hosts, LISTED)
    sign_in(frame)
    expect(frame.locator("#servers")).to_be_visible()
    expect_whole(page, frame)
    locked_height = page.locator("iframe").bounding_box()
    unlock(frame)
    expect(frame.get_by_text("Unlocked until")).to_be_visible()
    add_server(frame, 8, "Rotuma Hospital", "ROT-01")
    assert [server.sync_id for server in framed_panel.servers()] == [7, 8]
    expect_whole(page, frame)
    open_height = page.locator("iframe").bounding_box()
    assert locked_height
    assert open_height
    assert open_height["height"] > locked_height["height"]
    # Lower again too.
    frame.get_by_role("button", name="Lock now").click()
    expect(frame.get_by_role("button", name="Click to un-lock")).to_be_visible()
    expect_whole(page, frame)
    assert "framed=1" in frame.url


def test_a_framed_unlock_does_not_count_outside_nor_the_other_way_round(
    profile: BrowserContext, framed_panel: Panel, hosts: tuple[HostPages, int]
) -> None:
    page = profile.new_page()
    frame = open_host(page, hosts, LISTED)
    sign_in(frame)
    # While the frame still grows, what is pressed in it may be missed.
    expect(frame.locator("#servers")).to_be_visible()
    expect_whole(page, frame)
    unlock(frame)
    expect(frame.get_by_text("Unlocked until")).to_be_visible()
    # Only now: what is pressed in a frame of a page that stands behind another is missed at times.
    tab = profile.new_page()
    tab.goto(framed_panel.url)
    sign_in(tab)
    expect(tab.get_by_role("button", name="Click to un-lock")).to_be_visible()
    unlock(tab)
    expect(tab.get_by_text("Unlocked until")).to_be_visible()
    page.bring_to_front()
    frame.get_by_role("button", name="Sign out").click()
    sign_in(frame)
    expect(frame.get_by_role("button", name="Click to un-lock")).to_be_visible()
    tab.reload()
    expect(tab.get_by_text("Unlocked until")).to_be_visible()


def test_in_a_page_of_the_same_site_one_sign_in_is_good_for_both(
    profile: BrowserContext, framed_panel: Panel, hosts: tuple[HostPages, int]
) -> None:
    page = profile.new_page()
    frame = open_host(page, hosts, SAME_SITE)
    sign_in(frame)
    expect(frame.locator("#servers")).to_be_visible()
    expect_whole(page, frame)
    tab = profile.new_page()
    tab.goto(framed_panel.url)
    expect(tab.locator("#servers")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/plain"])
def test_a_page_that_is_not_listed_gets_a_sentence_and_a_link(
    profile: BrowserContext, framed_panel: Panel, hosts: tuple[HostPages, int], path: str
) -> None:
    page = profile.new_page()
    frame = open_host(page, hosts, UNLISTED, path)
    expect(frame.get_by_text("The page around this may not show the panel.")).to_be_visible()
    expect(frame.locator("form")).to_have_count(0)
    with page.expect_popup(timeout=PATIENCE_MILLISECONDS) as opened:
        frame.get_by_role("link", name="Open the panel in a tab").click()
    expect(opened.value.get_by_role("button", name="Sign in")).to_be_visible()
    assert opened.value.url.startswith(framed_panel.url)


@pytest.mark.usefixtures("framed_panel")
def test_the_frame_looks_as_the_page_around_whatever_the_system_says(
    profile: BrowserContext, hosts: tuple[HostPages, int]
) -> None:
    page = profile.new_page()
    page.emulate_media(color_scheme="dark")
    frame = open_host(page, hosts, LISTED, "/?theme=&accent=%23704&font=monospace")
    heading = frame.get_by_role("heading", name="Sign in")
    expect(heading).to_have_css("color", "rgb(17, 34, 51)")
    expect(frame.get_by_role("button", name="Sign in")).to_have_css(
        "background-color", "rgb(119, 0, 68)"
    )
    assert "monospace" in heading.evaluate("heading => getComputedStyle(heading).fontFamily")
    # The paper of the host is seen through it, not a slab.
    assert _colour_in(page) == _colour_beside(page)
    frame = open_host(page, hosts, LISTED, "/?theme=dark")
    expect(frame.get_by_role("heading", name="Sign in")).to_have_css("color", "rgb(238, 238, 238)")


def _colour_in(page: Page) -> bytes:
    """Return the pixel at the lower end of the frame, where nothing stands."""
    box = page.locator("iframe").bounding_box()
    assert box
    return _pixel(page, box["x"] + box["width"] - 2, box["y"] + box["height"] - 2)


def _colour_beside(page: Page) -> bytes:
    return _pixel(page, 2, 2)


def _pixel(page: Page, x: float, y: float) -> bytes:
    return page.screenshot(clip={"x": round(x), "y": round(y), "width": 1, "height": 1})


@pytest.mark.usefixtures("framed_panel")
def test_what_a_press_did_is_said_beside_it(
    profile: BrowserContext, hosts: tuple[HostPages, int]
) -> None:
    page = profile.new_page()
    page.set_viewport_size(ViewportSize(width=1100, height=740))
    frame = open_host(page, hosts, LISTED)
    sign_in(frame)
    expect(frame.locator("#servers")).to_be_visible()
    expect_whole(page, frame)
    frame.locator("[name=interval_minutes]").fill("30")
    button = frame.locator("#save-interval")
    button.click()
    said = frame.locator("#said", has_text="Saved.")
    expect(said).to_be_visible()
    pressed, told = button.bounding_box(), said.bounding_box()
    assert pressed
    assert told
    assert 0 <= told["y"] - pressed["y"] < 100


@pytest.mark.usefixtures("framed_panel")
def test_nobody_but_the_frame_tells_its_height(
    profile: BrowserContext, hosts: tuple[HostPages, int]
) -> None:
    page = profile.new_page()
    frame = open_host(page, hosts, LISTED)
    expect(frame.get_by_role("button", name="Sign in")).to_be_visible()
    page.evaluate("postMessage(4321, '*')")
    # Messages are heard in their order, so the first was heard once this one is.
    page.evaluate("new Promise((done) => { onmessage = done; postMessage('', '*') })")
    expect_whole(page, frame)
    frame.evaluate("parent.postMessage(1e9, '*')")
    expect(page.locator("iframe")).to_have_css("height", "20000px")


@pytest.mark.usefixtures("framed_panel")
def test_the_panel_fits_into_280_px_and_shows_the_paper_of_its_host(
    profile: BrowserContext, hosts: tuple[HostPages, int]
) -> None:
    page = profile.new_page()
    page.set_viewport_size(NARROW)
    frame = open_host(page, hosts, LISTED)
    for step in (sign_in, unlock):
        step(frame)
        expect(frame.locator("#servers")).to_be_visible()
        expect_whole(page, frame)
        width, content = frame.evaluate("[innerWidth, document.documentElement.scrollWidth]")
        assert (width, content) == (280, 280)
    paper = frame.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgba(0, 0, 0, 0)"
    expect(frame.locator("header nav")).to_have_count(0)
    expect(frame.get_by_role("heading", name="Synchronisation")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/plain"])
def test_where_no_cookie_is_kept_the_panel_says_so_and_opens_in_a_tab(
    refusing_profile: BrowserContext,
    framed_panel: Panel,
    hosts: tuple[HostPages, int],
    path: str,
) -> None:
    page = refusing_profile.new_page()
    frame = open_host(page, hosts, LISTED, path)
    # Before anybody typed a password.
    expect(frame.get_by_text("This browser keeps no cookies for the panel")).to_be_visible()
    expect(frame.locator("form")).to_have_count(0)
    with page.expect_popup(timeout=PATIENCE_MILLISECONDS) as opened:
        frame.get_by_role("link", name="Open the panel in a tab").click()
    sign_in(opened.value)
    expect(opened.value.locator("#servers")).to_be_visible()
    expect(opened.value).to_have_url(framed_panel.url)
    expect(row(opened.value, 7)).to_contain_text("Kadavu")


@pytest.mark.parametrize("scripting", [True, False])
def test_the_status_line_stands_in_any_page(
    any_browser: Browser,
    framed_panel: Panel,
    hosts: tuple[HostPages, int],
    complaints: list[str],
    scripting: bool,
) -> None:
    with framed_panel.database.writing() as session:
        key = make_status_key(session, OPERATOR)
    hosts[0].status_url = f"{framed_panel.url}status/{key}/"
    context = any_browser.new_context(ignore_https_errors=True, java_script_enabled=scripting)
    listen(context, complaints)
    page = context.new_page()
    frame = open_host(page, hosts, UNLISTED, "/status")
    expect(frame.get_by_text("0 of 1 satellite up to date")).to_be_visible()
    page.wait_for_load_state()
    picture = page.get_by_role("img", name="Synchronisation").bounding_box()
    assert picture
    assert picture["width"] > 300
    if scripting:
        facts = page.evaluate(
            "url => fetch(url).then((answer) => answer.json())", f"{hosts[0].status_url}status.json"
        )
        assert facts["state"] == "open"
    context.close()
