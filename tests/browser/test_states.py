"""Every state of the screen: readable by everybody, and on a small telephone too."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import forgive_lost_line
from tests.browser.serving import Panel
from tests.browser.states import STATES, State

NARROW = (360, 320)
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth
  return [...document.querySelectorAll('body *')]
    .filter((element) => element.getBoundingClientRect().right > width + 1)
    .map((element) => element.outerHTML.slice(0, 120))
}"""
SCROLLS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
DANGLING = """() => [...document.querySelectorAll('[aria-describedby]')]
  .filter((field) => !document.getElementById(field.getAttribute('aria-describedby'))?.textContent)
  .map((field) => field.outerHTML)"""


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_state(page: Page, panel: Panel, complaints: list[str], state: State) -> None:
    state(page, panel)
    _expect_no_sideways_scrolling(page)
    assert page.evaluate(DANGLING) == []
    _expect_accessible(page)
    page.emulate_media(color_scheme="dark")
    _expect_accessible(page, {"runOnly": ["color-contrast"]})
    forgive_lost_line(complaints)


def _expect_accessible(page: Page, options: dict[str, list[str]] | None = None) -> None:
    found = Axe().run(page, options={"resultTypes": ["violations"], **(options or {})})
    assert found.violations_count == 0, found.generate_report()


def _expect_no_sideways_scrolling(page: Page) -> None:
    wide = page.viewport_size
    assert wide
    for width in NARROW:
        page.set_viewport_size({"width": width, "height": 740})
        assert not page.evaluate(SCROLLS), f"{width} px: {page.evaluate(OVERFLOW)}"
    page.set_viewport_size(wide)


def test_the_set_up_page(page: Page, empty_panel: Panel) -> None:
    page.goto(empty_panel.set_up_link)
    page.get_by_label("Your name", exact=True).fill("asha")
    page.get_by_label("Password, at least 8 characters").fill("short")
    page.get_by_label("Authorisation code, at least 8 characters").fill("short")
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_role("alert").last).to_be_visible()
    _expect_no_sideways_scrolling(page)
    _expect_accessible(page)
