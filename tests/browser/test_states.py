"""Every state of the screen: readable by everybody, and on a small telephone too."""

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import DESK, TELEPHONE, forgive_lost_line
from tests.browser.looks import (
    expect_accessible,
    expect_contrast,
    expect_no_sideways_scrolling,
)
from tests.browser.serving import Panel
from tests.browser.states import STATES, State
from tests.browser.steps import sign_in

DANGLING = """() => [...document.querySelectorAll('[aria-describedby]')]
  .filter((field) => !document.getElementById(field.getAttribute('aria-describedby'))?.textContent)
  .map((field) => field.outerHTML)"""


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_state(page: Page, panel: Panel, complaints: list[str], state: State) -> None:
    state(page, panel)
    expect_no_sideways_scrolling(page)
    assert page.evaluate(DANGLING) == []
    expect_accessible(page)
    page.emulate_media(color_scheme="dark")
    page.evaluate("document.documentElement.dir = 'rtl'")
    expect_no_sideways_scrolling(page)
    expect_contrast(page)
    forgive_lost_line(complaints)


@pytest.mark.parametrize("size", [DESK, TELEPHONE], ids=["desk", "telephone"])
def test_the_menu_is_as_wide_as_its_words(page: Page, panel: Panel, size: ViewportSize) -> None:
    panel.become_primary()
    sign_in(page, panel)
    page.set_viewport_size(size)
    page.locator(".menu summary").click()
    box = page.get_by_role("button", name="Sign out").bounding_box()
    assert box
    assert box["width"] > box["height"]
    expect_no_sideways_scrolling(page)


def test_the_set_up_page(page: Page, empty_panel: Panel) -> None:
    page.goto(empty_panel.set_up_link)
    page.get_by_label("Your name", exact=True).fill("asha")
    page.get_by_label("Password, at least 10 characters").fill("short")
    page.get_by_label("Authorisation code, at least 10 characters").fill("short")
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_role("alert").last).to_be_visible()
    expect_no_sideways_scrolling(page)
    expect_accessible(page)
