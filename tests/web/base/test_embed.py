"""Inside another page: what an answer leads to stays there, and cookies fit the place."""

import base64
import hashlib
import re
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from panel.config import Config, ConfigError, load
from panel.db import Database
from panel.paths import BUILT
from panel.web.base.embed import _PAPERS
from tests.support.cast import CODE, MANAGER
from tests.support.web_sites import make_primary, make_satellite, words
from tests.web.conftest import Browser, MakeApp, signed_in

HOST = "https://intranet.example.org"
PANEL = "panel.example.org"
# Every address that a page may have in it, but for those of files.
ADDRESS = re.compile(r'(?:href|action|formaction|hx-get|hx-post)="(?!data:|#)([^"]*)"')
PAGES = ("/", "/?find=K", "/unlock", "/activity", "/people", "/runs", "/language", "/nowhere")


class Frame(Browser):
    """A browser in which the panel stands in a frame; it goes on as the answers' links say."""

    def __init__(
        self, app: Flask, site: str = "cross-site", scheme: str = "https", carried: str = "embed=1"
    ) -> None:
        referer = f"{scheme}://{PANEL}/"
        environ = {"wsgi.url_scheme": scheme, "HTTP_HOST": PANEL, "HTTP_REFERER": referer}
        super().__init__(app, **environ)
        self.site, self.carried = site, carried

    def _open(
        self, method: str, path: str, htmx: bool, headers: dict[str, str], **rest: Any
    ) -> TestResponse:
        fetched = {"Sec_Fetch_Dest": "empty" if htmx else "iframe", "Sec_Fetch_Site": self.site}
        path = f"{path}{'&' if '?' in path else '?'}{self.carried}"
        response = super()._open(method, path, htmx, {**fetched, **headers}, **rest)
        self.site = "same-origin"
        if "framed=1" in response.text + (response.location or ""):
            self.carried = f"{self.carried.removesuffix('&framed=1')}&framed=1"
        return response


@pytest.fixture
def listed(make_app: MakeApp) -> Flask:
    """An application that a page of another site may frame."""
    return make_app(embed_origins=(HOST,))


def set_cookies(response: TestResponse) -> dict[str, str]:
    return {text.split("=")[0]: text for text in response.headers.getlist("Set-Cookie")}


def test_in_another_sites_frame_cookies_are_partitioned(listed: Flask) -> None:
    frame = Frame(listed)
    given = {
        **set_cookies(frame.get("/sign-in")),
        **set_cookies(frame.sign_in(MANAGER)),
        **set_cookies(frame.unlock()),
    }
    assert set(given) == {"__Host-sf", "__Host-uf", "bf"}
    for text in given.values():
        assert {"SameSite=None", "Secure", "Partitioned", "HttpOnly"} <= set(text.split("; "))
        assert len(text.split("; ")[0]) <= 120


@pytest.mark.parametrize(
    ("site", "scheme"), [("same-site", "https"), ("same-origin", "https"), ("cross-site", "http")]
)
def test_elsewhere_cookies_stay_lax(listed: Flask, site: str, scheme: str) -> None:
    name = "__Host-s" if scheme == "https" else "s"
    cookie = set_cookies(Frame(listed, site, scheme).get("/sign-in"))[name]
    assert "SameSite=Lax" in cookie
    assert "Partitioned" not in cookie


def test_without_the_setting_nobody_gets_a_cookie_for_a_frame(app: Flask) -> None:
    assert "SameSite=Lax" in set_cookies(Frame(app).get("/sign-in"))["__Host-s"]


def test_a_tab_is_no_frame_whatever_its_address_says(listed: Flask) -> None:
    tab = Browser(listed, **{"wsgi.url_scheme": "https"})
    answer = tab.get(
        "/sign-in?embed=1&framed=1", Sec_Fetch_Dest="document", Sec_Fetch_Site="cross-site"
    )
    assert "framed=1" not in answer.text
    assert "SameSite=Lax" in set_cookies(answer)["__Host-s"]


def test_what_is_unlocked_in_a_frame_is_locked_outside_and_the_other_way_round(
    listed: Flask,
) -> None:
    frame = Frame(listed)
    frame.sign_in(MANAGER)
    frame.unlock()
    assert "Unlocked" in frame.get("/").text
    # Even in a browser that knows no partitions, and sends every cookie everywhere.
    tab = Browser(listed, **{"wsgi.url_scheme": "https", "HTTP_REFERER": "https://localhost/"})
    tab.client = frame.client
    assert tab.get("/").status_code == 303
    tab.sign_in(MANAGER)
    assert "Click to un-lock" in tab.get("/").text
    tab.unlock()
    frame.post("/sign-out")
    frame.sign_in(MANAGER)
    assert "Click to un-lock" in frame.get("/").text
    assert "Unlocked" in tab.get("/").text


@pytest.mark.parametrize("path", PAGES)
def test_every_address_leads_on_inside_the_frame(
    listed: Flask, database: Database, config: Config, path: str
) -> None:
    make_primary(database, config)
    frame = Frame(listed)
    frame.sign_in(MANAGER)
    # Its dialog is shown to who has yet to unlock.
    if path != "/unlock":
        frame.unlock()
    page = frame.get(path).text
    # A form that is sent with GET has its query in fields, once.
    forms = re.findall(r"<form(?![^>]*method)[^>]*>.*?</form>", page, re.DOTALL)
    fields = '<input type="hidden" name="embed" value="1"><input type="hidden" name="framed"'
    assert [form for form in forms if fields not in form or "embed=1" in form] == []
    addresses = ADDRESS.findall(re.sub(r"<form(?![^>]*method)[^>]*>", "", page))
    assert addresses
    assert [url for url in addresses if not url.endswith("embed=1&amp;framed=1")] == []


def test_redirects_lead_on_inside_the_frame(listed: Flask) -> None:
    frame = Frame(listed)
    asked = frame.get("/activity?person=asha")
    assert asked.location.endswith("&embed=1&framed=1")
    entered = frame.sign_in(MANAGER, next="/activity?person=asha&embed=1")
    assert entered.location == "/activity?person=asha&embed=1&framed=1"
    assert frame.unlock().location.endswith("?embed=1&framed=1#bar")
    assert frame.post("/sign-out", htmx=True).headers["HX-Redirect"].endswith("&framed=1")


def test_an_embedded_page_has_its_menu_at_the_foot_and_knows_whom_to_tell_its_height(
    listed: Flask,
) -> None:
    frame = Frame(listed)
    frame.sign_in(MANAGER)
    page = frame.get("/").text
    assert page.index("<nav>") > page.index("<footer>")
    assert f'data-hosts="{HOST}"' in page
    assert "Sign out" in page
    whole = signed_in(listed, MANAGER).get("/").text
    assert whole.index("<nav>") < whole.index("</header>")
    assert "data-hosts=" not in whole


@pytest.mark.parametrize("path", ["/sign-in", "/", "/activity"])
def test_a_framed_page_says_whose_it_is(
    listed: Flask, database: Database, config: Config, path: str
) -> None:
    make_satellite(database, config)
    frame = Frame(listed)
    frame.token()
    if path != "/sign-in":
        frame.sign_in(MANAGER)
    head = words(frame.get(path).text.partition("<header>")[2].partition("</header>")[0])
    what = {"/sign-in": "Sign in", "/": "Synchronisation", "/activity": "Activity"}[path]
    assert head.startswith(f"{what} Kadavu")


def test_the_same_page_in_a_tab_is_not_taken_for_the_frames(listed: Flask) -> None:
    frame = Frame(listed)
    frame.sign_in(MANAGER)
    inside = frame.get("/")
    tab = Browser(listed, **{"wsgi.url_scheme": "https", "HTTP_REFERER": "https://localhost/"})
    tab.sign_in(MANAGER)
    again = tab.get("/?embed=1&framed=1", If_None_Match=inside.headers["ETag"])
    assert again.status_code == 200
    assert "framed=1" not in again.text


@pytest.mark.parametrize("path", ["/sign-in", "/unlock"])
@pytest.mark.parametrize("htmx", [False, True])
def test_a_browser_that_returns_no_cookie_is_shown_the_way_out(
    listed: Flask, path: str, htmx: bool
) -> None:
    frame = Frame(listed)
    frame.refuse_cookies()
    answer = frame.post(path, {"name": MANAGER, "authorisation_code": CODE}, htmx=htmx)
    assert answer.status_code == 400
    assert "This browser keeps no cookies for the panel" in answer.text
    assert '<a class="button" href="/" target="_blank">Open the panel in a tab</a>' in answer.text
    assert "<form" not in answer.text


@pytest.mark.parametrize(("scheme", "words"), [("https", "keeps no cookies"), ("http", "https")])
def test_it_is_told_before_the_password_that_no_cookie_is_kept(
    listed: Flask, scheme: str, words: str
) -> None:
    frame = Frame(listed, scheme=scheme)
    frame.refuse_cookies()
    asked = frame.get("/")
    assert asked.headers.getlist("Set-Cookie")
    told = frame.get(asked.location.partition("&embed")[0])
    assert told.status_code == 400
    assert words in told.text
    assert "<form" not in told.text
    assert 'href="/" target="_blank">Open the panel in a tab</a>' in told.text


def test_a_browser_that_returns_the_cookie_is_shown_the_sign_in(listed: Flask) -> None:
    frame = Frame(listed)
    first = frame.get("/sign-in")
    assert first.status_code == 303
    assert "Password" in frame.get(first.location.partition("&embed")[0]).text
    assert frame.get("/sign-in").status_code == 200
    assert Browser(listed).get("/sign-in").status_code == 200


# --- the look -------------------------------------------------------------------------------------

SCHEME_OF_SYSTEM = "prefers-color-scheme:dark"


def style_of(answer: TestResponse) -> str:
    """The style in the page, which its Content-Security-Policy has to allow."""
    style = answer.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    return style


@pytest.mark.parametrize("asked", ["1", "light", "dark", "auto"])
def test_the_page_around_chooses_the_theme(listed: Flask, asked: str) -> None:
    style = style_of(Frame(listed, carried=f"embed={asked}").get("/nowhere"))
    assert (SCHEME_OF_SYSTEM in style) == (asked == "auto")
    assert ("@media screen{:root{--paper" in style) == (asked == "dark")
    assert ("color-scheme:light dark" in style) == (asked == "auto")
    assert SCHEME_OF_SYSTEM in style_of(Browser(listed).get("/nowhere"))


def test_accent_and_font_are_those_of_the_page_around_and_every_address_carries_them(
    listed: Flask,
) -> None:
    frame = Frame(listed, carried="embed=light,%23704,Source+Sans+3")
    frame.sign_in(MANAGER)
    page = frame.get("/")
    style = style_of(page)
    assert ":root{--go:#704}" in style
    assert 'font-family:"Source Sans 3",system-ui,sans-serif' in style
    link = re.search(r'href="/activity\?([^"]*)"', page.text)
    assert link
    carried = dict(parse_qsl(link[1].replace("&amp;", "&")))
    assert carried == {"embed": "light,704,Source Sans 3", "framed": "1"}


@pytest.mark.parametrize(
    "asked",
    [
        "light,red",
        "light,7040",
        "light,ff0",  # yellow on white, which nobody can read
        "dark,704",
        "light,,a;}body{display:none",
        'light,,a"b',
        f"light,,{'a' * 41}",
        "light,</style><script>",
    ],
)
def test_what_is_no_readable_colour_and_no_name_of_a_font_is_left_out(
    listed: Flask, asked: str
) -> None:
    carried = urlencode({"embed": asked})
    theme = asked.partition(",")[0]
    plain = style_of(Frame(listed, carried=f"embed={theme}").get("/nowhere"))
    assert style_of(Frame(listed, carried=carried).get("/nowhere")) == plain


def test_the_paper_of_the_themes_is_what_accents_are_measured_against() -> None:
    style = (BUILT / "panel.css").read_text("utf-8")
    light, dark = re.findall(r"--paper:#([0-9a-f]+)", style)
    assert (light * 2, dark) == (_PAPERS["light"], _PAPERS["dark"])


# --- pages that are not listed --------------------------------------------------------------------


@pytest.mark.parametrize("site", ["cross-site", "same-site", ""])
def test_a_page_that_is_not_listed_gets_a_sentence_and_a_link(
    listed: Flask, database: Database, config: Config, site: str
) -> None:
    make_primary(database, config)
    around = {"HTTP_REFERER": "https://stranger.example.com/", "HTTP_HOST": PANEL}
    stranger = Browser(listed, **around)
    fetched: Any = {"Sec_Fetch_Dest": "iframe", "Sec_Fetch_Site": site} if site else {}
    refused = stranger.get("/?embed=1", **fetched)
    assert refused.status_code == 403
    assert "The page around this may not show the panel." in refused.text
    assert 'href="/" target="_blank">Open the panel in a tab</a>' in refused.text
    assert "frame-ancestors *" in refused.headers["Content-Security-Policy"]
    assert "National Store" not in refused.text
    assert "<form" not in refused.text


@pytest.mark.parametrize(
    ("referer", "fetched"),
    [
        (f"{HOST}/start", {"Sec_Fetch_Dest": "iframe", "Sec_Fetch_Site": "cross-site"}),
        ("https://other.example.com/", {"Sec_Fetch_Dest": "document"}),
        ("https://name-of-a-proxy/", {"Sec_Fetch_Dest": "iframe", "Sec_Fetch_Site": "same-origin"}),
        ("https://[", {"Sec_Fetch_Dest": "iframe", "Sec_Fetch_Site": "cross-site"}),
        ("https://a]b/", {}),
    ],
)
def test_other_pages_go_on_to_the_sign_in(listed: Flask, referer: str, fetched: Any) -> None:
    browser = Browser(listed, HTTP_REFERER=referer, HTTP_HOST=PANEL)
    answer = browser.get("/?embed=1", **fetched)
    assert answer.status_code == 303
    assert "frame-ancestors *" not in answer.headers.get("Content-Security-Policy", "")


def test_the_script_for_other_sites_is_small_and_kept_for_a_day(nobody: Browser) -> None:
    response = nobody.get("/static/embed.js", Accept_Encoding="br")
    assert response.data == (BUILT / "embed.js.br").read_bytes()
    assert len(response.data) + sum(len(f"{n}: {v}\r\n") for n, v in response.headers) < 1000
    assert "max-age=86400" in response.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://Intranet.example.org/", "https://intranet.example.org"),
        ("https://intranet.example.org:443", "https://intranet.example.org"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(written: str, origin: str, config: Config) -> None:
    environment = {"SYNC_PANEL_DATA_DIR": str(config.data_dir), "SYNC_PANEL_EMBED_ORIGINS": written}
    assert load(environment).embed_origins == (origin,)


@pytest.mark.parametrize(
    "written",
    ["*", "https://*.example.org", "https://a.org;script-src", "https://a.org/x", "a.org"],
)
def test_what_is_no_origin_stops_the_start(written: str, config: Config) -> None:
    environment = {"SYNC_PANEL_DATA_DIR": str(config.data_dir), "SYNC_PANEL_EMBED_ORIGINS": written}
    with pytest.raises(ConfigError, match="EMBED_ORIGINS"):
        load(environment)


# --- behind the intranet's own reverse proxy ------------------------------------------------------


class Below(Browser):
    """A browser that knows the panel below /sync."""

    def _open(
        self, method: str, path: str, htmx: bool, headers: dict[str, str], **rest: Any
    ) -> TestResponse:
        return super()._open(method, f"/sync{path}", htmx, headers, **rest)


@pytest.fixture(params=["by the setting", "by the proxy", "by the WSGI server"])
def below_sync(request: pytest.FixtureRequest, make_app: MakeApp) -> Browser:
    """The panel below /sync, which is told so in one of three ways."""
    if request.param == "by the setting":
        return Below(make_app(path_prefix="/sync"))
    if request.param == "by the WSGI server":
        return Browser(make_app(), SCRIPT_NAME="/sync")
    trusted = (ip_network("127.0.0.1"),)
    told = {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_PREFIX": "/sync"}
    return Below(make_app(trusted_proxies=trusted), **told)


@pytest.mark.parametrize("path", PAGES)
def test_every_address_has_the_prefix(
    below_sync: Browser, database: Database, config: Config, path: str
) -> None:
    make_primary(database, config)
    assert below_sync.sign_in(MANAGER, next=path).location == f"/sync{path}"
    assert below_sync.unlock().location == "/sync/#bar"
    addresses = ADDRESS.findall(below_sync.get(path).text)
    assert addresses
    assert [url for url in addresses if not url.startswith("/sync/")] == []
