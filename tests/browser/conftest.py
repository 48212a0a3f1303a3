"""A real Chromium, with scripting and without, on a desk and on a telephone.

Whatever a page complains about (an error in its script, something its Content-Security-Policy
refused) fails the test that showed the page.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from panel import clock
from panel.config import Config
from tests.browser import chromium
from tests.browser.serving import Panel
from tests.real.conftest import new_site as new_site
from tests.support.clock import RunningClock

DESK = {"width": 1100, "height": 900}
TELEPHONE = {"width": 360, "height": 740}

# No sandbox, since the tests may run as root; and nothing that calls home or looks for updates.
# Names resolve to this machine (….test stands for other sites) or not at all.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND,"
    " EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost",
)

HARMLESS = (
    # Said by Chromium of every answer that is an error, also of those that a test is about.
    "Failed to load resource: the server responded with a status of 4",
    # The focus stays where it is in the page around; what htmx brings is focused all the same.
    "Blocked autofocusing on a ",
)

# Nothing waits that long but what will fail, or a machine that has much else to do.
PATIENCE_MILLISECONDS = 20_000
expect.set_options(timeout=PATIENCE_MILLISECONDS)

NewPage = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    packages = chromium.missing()
    path = None if packages else chromium.find()
    if path is None:
        # A newcomer's `make test` passes with what can be had; CI goes without nothing.
        leave_out = pytest.fail if "CI" in os.environ else pytest.skip
        leave_out(chromium.advice(packages))
    return path


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


# The path first, since looking for it asks a Playwright of its own, and there can be but one.
@pytest.fixture(scope="session")
def browser(chromium_path: Path, playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium_path, args=list(ARGUMENTS))
    yield browser
    browser.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the pages of this test complained about; a test that expects one removes it."""
    heard: list[str] = []
    yield heard
    assert not heard, "\n".join(heard)


def forgive_lost_line(complaints: list[str]) -> None:
    """Take out what is said when a test stops its server."""
    expected = ("net::ERR_", "htmx:sendError", "htmx:afterRequest")
    complaints[:] = [one for one in complaints if not any(word in one for word in expected)]


@pytest.fixture
def new_page(browser: Browser, complaints: list[str]) -> Iterator[NewPage]:
    """Opens pages, each in a profile of its own; takes what Browser.new_context takes."""
    with ExitStack() as closing:

        def open_page(**options: Any) -> Page:
            context = browser.new_context(**{"viewport": DESK, **options})
            closing.callback(context.close)
            listen(context, complaints)
            return context.new_page()

        yield open_page


def listen(context: BrowserContext, complaints: list[str]) -> None:
    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(HARMLESS):
            complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def on_error(error: Any) -> None:
        complaints.append(f"uncaught: {_text(error.error)}")

    context.on("console", on_console)
    context.on("weberror", on_error)
    context.set_default_timeout(PATIENCE_MILLISECONDS)


def _text(error: Error) -> str:
    return error.stack or error.message


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A page with scripting, 1100 px wide."""
    return new_page()


@pytest.fixture
def plain_page(new_page: NewPage) -> Page:
    """The same with scripting off."""
    return new_page(java_script_enabled=False)


@pytest.fixture
def phone_page(new_page: NewPage) -> Page:
    """A page with scripting, 360 px wide, touched rather than clicked."""
    return new_page(viewport=TELEPHONE, has_touch=True, is_mobile=True)


@pytest.fixture
def plain_phone_page(new_page: NewPage) -> Page:
    return new_page(viewport=TELEPHONE, has_touch=True, is_mobile=True, java_script_enabled=False)


@pytest.fixture(params=["with script", "without script"])
def either_page(request: pytest.FixtureRequest, new_page: NewPage) -> Page:
    """A page with scripting on, then one with it off: the same test walks both."""
    return new_page(java_script_enabled=request.param == "with script")


@pytest.fixture
def empty_panel(
    config: Config, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Panel]:
    """The panel, serving, on a database in which nobody was added yet."""
    movable = RunningClock()
    monkeypatch.setattr(clock, "now", movable)
    panel = Panel(config, movable)
    panel.start()
    yield panel
    # Pages first: one that is still loading would complain that its server went away.
    for context in browser.contexts:
        context.close()
    panel.close()


@pytest.fixture
def panel(empty_panel: Panel) -> Panel:
    """The panel with its people and the code; stand-alone still."""
    empty_panel.add_people()
    return empty_panel
