"""The keyboard alone: where the focus is after every swap, and what is said aloud."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import data
from tests.browser.serving import Panel
from tests.browser.steps import begin, fill, open_new_row, row, save, sign_in
from tests.support.cast import CODE

ROWS = [(7, "Kadavu Health Centre", "KDV-01"), (8, "Rotuma Hospital", "ROT-01")]


@pytest.fixture
def unlocked(page: Page, panel: Panel) -> Page:
    """The page of a primary of two satellites, unlocked."""
    panel.become_primary(ROWS)
    begin(page, panel)
    return page


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the focus is there."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not lead to {target}")


def test_everything_by_the_keyboard(page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    sign_in(page, panel)
    keyboard = page.keyboard
    tab_to(page, page.get_by_role("button", name="Click to un-lock"))
    keyboard.press("Enter")
    expect(
        page.get_by_role("dialog").get_by_label("Authorisation code", exact=True)
    ).to_be_focused()
    keyboard.type(CODE)
    keyboard.press("Enter")
    expect(page.locator("#bar")).to_be_focused()
    tab_to(page, row(page, 8).get_by_role("link", name="Edit"))
    keyboard.press("Enter")
    form = page.locator("#rows form")
    expect(form.get_by_label("Sync ID", exact=True)).to_be_focused()
    tab_to(page, form.get_by_label("Name", exact=True))
    keyboard.type("Rotuma Sub-divisional Hospital")
    keyboard.press("Enter")
    expect(row(page, 8)).to_contain_text("Rotuma Sub-divisional Hospital")
    expect(row(page, 8).get_by_role("link", name="Edit")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_label("Rotuma Sub-divisional Hospital", exact=True)).to_be_focused()
    keyboard.press("Space")
    page.get_by_role("button", name="Remove the selected servers").focus()
    keyboard.press("Enter")
    expect(page.locator("#question").get_by_role("button", name="Remove")).to_be_focused()
    keyboard.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    keyboard.press("Enter")
    expect(page.get_by_role("button", name="Add a server")).to_be_focused()
    expect(row(page, 8)).to_be_visible()


def test_escape_is_cancel(page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    sign_in(page, panel)
    page.get_by_role("button", name="Click to un-lock").click()
    expect(
        page.get_by_role("dialog").get_by_label("Authorisation code", exact=True)
    ).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Click to un-lock")).to_be_focused()


def test_cancel_gives_the_focus_back(unlocked: Page) -> None:
    page = unlocked
    edit = row(page, 8).get_by_role("link", name="Edit")
    edit.click()
    page.locator("#rows form").get_by_role("link", name="Cancel").click()
    expect(edit).to_be_focused()
    edit.click()
    expect(page.locator("#rows form").get_by_label("Sync ID", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(edit).to_be_focused()
    open_new_row(page).get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("button", name="Add a server")).to_be_focused()


def test_keeping_the_rows_gives_the_focus_back(unlocked: Page) -> None:
    page = unlocked
    page.get_by_label("Rotuma Hospital", exact=True).check()
    page.get_by_role("button", name="Remove the selected servers").click()
    page.get_by_role("link", name="Keep").click()
    expect(page.get_by_role("button", name="Remove the selected servers")).to_be_focused()
    expect(row(page, 8)).to_be_visible()


def test_what_was_saved_keeps_the_focus(unlocked: Page) -> None:
    page = unlocked
    said = page.get_by_role("status")
    page.get_by_label("Sync time interval", exact=True).fill("15")
    page.keyboard.press("Enter")
    expect(said.filter(has_text="Saved.")).to_be_visible()
    expect(page.locator("#interval button")).to_be_focused()
    fill(page.locator("#parameters-form"), {"Store": "NAT-02"})
    page.keyboard.press("Enter")
    expect(page.locator("#parameters-form").get_by_role("button", name="Save")).to_be_focused()
    expect(page.locator("#parameters-form").get_by_label("Store", exact=True)).to_have_value(
        "NAT-02"
    )
    form = open_new_row(page)
    fill(form, {"Sync ID": "9", "Name": "Lau Clinic", "Store": "LAU-01"})
    save(form)
    expect(row(page, 9).get_by_role("link", name="Edit")).to_be_focused()
    expect(said.filter(has_text="Added.")).to_be_visible()
    page.get_by_role("button", name="Lock now").click()
    expect(page.get_by_role("button", name="Click to un-lock")).to_be_focused()
    expect(said.filter(has_text="Locked.")).to_be_visible()


def test_what_was_refused_has_the_focus_and_its_reason(unlocked: Page) -> None:
    page = unlocked
    form = open_new_row(page)
    fill(form, {"Sync ID": "9", "Name": "Lau Clinic"})
    save(form)
    store = form.get_by_label("Store", exact=True)
    expect(store).to_be_focused()
    expect(store).to_have_attribute("aria-invalid", "true")
    expect(store).to_have_accessible_description("A server needs a Store.")
    expect(form.get_by_role("alert")).to_have_text("A server needs a Store.")
    page.get_by_label("Sync time interval", exact=True).fill("-1")
    save(page.locator("#interval"))
    interval = page.get_by_label("Sync time interval", exact=True)
    expect(interval).to_be_focused()
    expect(interval).to_have_accessible_description("Whole minutes from 0 to 10080.")


def test_a_question_has_the_focus_until_it_is_answered(page: Page, panel: Panel) -> None:
    data.busy_primary(panel)
    begin(page, panel)
    row(page, 7).get_by_role("link", name="Edit").click()
    acts = page.locator(".acts")
    clear = acts.get_by_role("button", name="Clear")
    clear.click()
    expect(acts.get_by_role("alert")).to_contain_text("Clear the Hardware ID of Kadavu")
    expect(clear).to_be_focused()
    acts.get_by_role("link", name="Keep").click()
    expect(acts.get_by_role("alert")).to_have_count(0)
    expect(clear).to_be_focused()
    clear.click()
    expect(acts.get_by_role("alert")).to_be_visible()
    clear.click()
    expect(clear).to_have_count(0)
    expect(page.locator("#rows form").get_by_role("button", name="Save")).to_be_focused()


def test_sorting_and_turning_pages_keep_the_focus(page: Page, panel: Panel) -> None:
    panel.become_primary(data.many(120))
    sign_in(page, panel)
    page.get_by_role("link", name="Name").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Name")).to_have_attribute(
        "aria-sort", "ascending"
    )
    expect(page.get_by_role("columnheader", name="Name").get_by_role("link")).to_be_focused()
    page.get_by_role("link", name="Next").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("page 2 of 3")).to_be_visible()
    expect(page.get_by_role("link", name="Next")).to_be_focused()
    page.get_by_label("find:", exact=True).fill("rot")
    expect(page.locator("#count")).to_contain_text("15 of 120")
    expect(page.get_by_label("find:", exact=True)).to_be_focused()
