"""For everyone: by the keyboard, in Arabic, with what helps, on paper, and in an old browser."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import data
from tests.browser.conftest import NewPage, forgive_lost_line
from tests.browser.looks import expect_accessible, expect_contrast, expect_no_sideways_scrolling
from tests.browser.serving import Panel
from tests.browser.states import State, satellite_unlocked, unlocked
from tests.browser.steps import add_server, begin, fill, row, save, sign_in
from tests.support.cast import CODE, PASSWORD, USER

# Fields that have no help beside them.
UNEXPLAINED = """() => [...document.querySelectorAll('#parameters-form label, #interval label')]
  .filter((label) => !label.closest('.about, .fields > *').querySelector('.help'))
  .map((label) => label.textContent)"""
FOCUS = """() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement)
  const { width, height } = document.activeElement.getBoundingClientRect()
  const seen = outlineStyle != 'none' && parseFloat(outlineWidth) >= 2 && width && height
  return [document.activeElement.outerHTML.slice(0, 120), Boolean(seen)]
}"""
PRESSED = """() => [...document.querySelectorAll('button, .button, summary, [role=dialog], .edit')]
  .filter((element) => element.checkVisibility())
  .map((element) => element.outerHTML)"""
FOOT = "getComputedStyle(document.body, '::after').content"


@pytest.mark.parametrize("state", [unlocked, satellite_unlocked], ids=["primary", "satellite"])
def test_every_field_is_explained(page: Page, panel: Panel, state: State) -> None:
    state(page, panel)
    assert page.evaluate(UNEXPLAINED) == []
    for question_mark in page.locator("main summary").all():
        question_mark.press("Enter")
    expect(
        page.get_by_text("As the other server lists this one, letter for letter")
    ).to_be_visible()
    expect(page.get_by_text("No Sync ID twice.")).to_be_visible()
    expect_accessible(page)
    expect_no_sideways_scrolling(page)


def test_the_focus_is_seen_wherever_tab_leads(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    page.locator("h1").click()
    found: dict[str, bool] = {}
    for _ in range(80):
        page.keyboard.press("Tab")
        element, seen = page.evaluate(FOCUS)
        if element in found or element.startswith("<body"):
            break
        found[element] = seen
    assert len(found) > 30
    assert [element for element, seen in found.items() if not seen] == []


def test_in_arabic(new_page: NewPage, panel: Panel) -> None:
    page = new_page(locale="ar", color_scheme="dark")
    data.busy_primary(panel)
    data.set_aside(panel, 7)
    page.goto(f"{panel.url}activity")
    _expect_arabic(page)
    page.locator("main [name=name]").fill(USER)
    page.locator("main [name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#activity")).to_be_visible()
    _expect_arabic(page)
    for path in ("people", "runs", "set-aside", "language", "servers/1/sync", "nowhere", ""):
        page.goto(f"{panel.url}{path}")
        _expect_arabic(page)
    page.locator("#bar button").click()
    page.locator("#bar summary").click()
    _expect_arabic(page)
    page.locator("#bar [name=authorisation_code]").fill(CODE)
    page.keyboard.press("Enter")
    page.locator("#s1 a.edit").click()
    expect(page.locator("#s1 form").first).to_be_visible()
    for question_mark in page.locator(".help summary").all():
        question_mark.click()
    _expect_arabic(page)
    page.emulate_media(color_scheme="light")
    expect_contrast(page)


def _expect_arabic(page: Page) -> None:
    assert page.locator("html").get_attribute("dir") == "rtl"
    expect_no_sideways_scrolling(page)
    expect_accessible(page)


def test_how_many_were_found_is_announced(page: Page, panel: Panel) -> None:
    data.busy_primary(panel)
    sign_in(page, panel)
    # A screen reader hears what changes inside of it, not what takes its place.
    count = page.locator("#count").element_handle()
    assert count is not None
    page.get_by_label("find:").fill("zzz")
    expect(page.get_by_role("status").filter(has_text="0 of")).to_be_visible()
    assert count.evaluate("node => node.isConnected && node.role == 'status'")


def test_embedded_it_is_for_everybody_too(page: Page, panel: Panel) -> None:
    data.busy_primary(panel)
    sign_in(page, panel)
    page.goto(f"{panel.url}?embed=1")
    expect(page.locator("#servers")).to_be_visible()
    expect_accessible(page)


@pytest.mark.parametrize("state", [unlocked, satellite_unlocked], ids=["primary", "satellite"])
def test_on_paper(page: Page, panel: Panel, state: State) -> None:
    state(page, panel)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(PRESSED) == []
    assert panel.url in page.evaluate(FOOT)
    for name in ("interval_minutes", "name", "store"):
        expect(page.locator(f"[name={name}]").first).to_be_visible()
    expect(page.locator("#rows tr").first).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_browser_too_old_for_the_script_gets_plain_pages(
    page: Page, panel: Panel, complaints: list[str]
) -> None:
    page.route("**/static/*.js", lambda route: route.abort())
    panel.become_primary()
    begin(page, panel)
    fill(page.locator("#parameters-form"), {"Store": "NAT-02"})
    save(page.locator("#parameters-form"))
    expect(page.locator("#parameters-form [name=store]")).to_have_value("NAT-02")
    assert panel.settings().store == "NAT-02"
    add_server(page, 8, "Rotuma Hospital", "ROT-01")
    forgive_lost_line(complaints)


def test_without_relative_times_they_are_written_in_full(page: Page, panel: Panel) -> None:
    page.add_init_script("delete Intl.RelativeTimeFormat")
    data.busy_primary(panel)
    sign_in(page, panel)
    expect(row(page, 7).locator("time")).to_contain_text(str(panel.clock().year))
    page.get_by_role("button", name="Click to un-lock").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Click to un-lock")).to_be_focused()
