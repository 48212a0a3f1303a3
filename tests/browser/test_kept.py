"""What somebody types stays, whatever else is pressed meanwhile."""

from playwright.sync_api import Page, expect

from tests.browser.serving import Panel
from tests.browser.steps import begin, fill, open_new_row, row, unlock

ROWS = [(7, "Kadavu", "KDV-01"), (8, "Rotuma", "ROT-01")]


def test_plus_pressed_again_leaves_the_new_row_as_it_is(page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    begin(page, panel)
    form = open_new_row(page)
    fill(form, {"Sync ID": "9", "Name": "Lau"})
    with page.expect_response("**/servers/new*"):
        open_new_row(page)
    expect(form.get_by_label("Name", exact=True)).to_have_value("Lau")


def test_a_lock_that_ran_out_is_opened_beside_typed_parameters(page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    begin(page, panel)
    typed = page.locator("#parameters-form").get_by_label("Name", exact=True)
    for press in ("Edit", "+", "Click to un-lock"):
        typed.fill(f"Typed before {press}")
        panel.clock.pass_by(minutes=16)
        if press == "Edit":
            row(page, 8).get_by_role("link", name="Edit").click()
        else:
            page.get_by_role("button", name="Add a server").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        if press == "Click to un-lock":
            page.get_by_role("link", name="Cancel").click()
            expect(page.get_by_role("dialog")).to_be_hidden()
        unlock(page)
        expect(page.get_by_text("Unlocked until")).to_be_visible()
        expect(typed).to_have_value(f"Typed before {press}")
