"""What somebody types stays, whatever else is pressed meanwhile."""

from playwright.sync_api import Page, expect

from tests.browser.serving import Panel
from tests.browser.steps import begin, fill, open_new_row, row, save, unlock

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


def test_an_edited_row_stays_open_while_the_list_is_sorted_and_searched(
    page: Page, panel: Panel
) -> None:
    panel.become_primary(ROWS)
    begin(page, panel)
    row(page, 8).get_by_role("link", name="Edit").click()
    form = page.locator("#rows form").first
    fill(form, {"Name": "Rotuma Hospital"})
    page.get_by_role("columnheader", name="Name").get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="Name")).to_have_attribute(
        "aria-sort", "ascending"
    )
    expect(form.get_by_label("Name", exact=True)).to_have_value("Rotuma Hospital")
    page.get_by_label("find:", exact=True).fill("7")
    expect(page.locator("#count")).to_contain_text("1 of 2")
    expect(row(page, 7)).to_be_visible()
    expect(form.get_by_label("Name", exact=True)).to_have_value("Rotuma Hospital")
    save(form)
    expect(row(page, 8)).to_contain_text("Rotuma Hospital")
    expect(page.locator("#rows > tr")).to_have_count(2)


def test_an_edited_row_stays_open_while_the_parameters_are_saved(page: Page, panel: Panel) -> None:
    panel.become_satellite()
    begin(page, panel)
    row(page, 1).get_by_role("link", name="Edit").click()
    form = page.locator("#rows form")
    fill(form, {"Name": "National Medical Stores"})
    parameters = page.locator("#parameters-form")
    fill(parameters, {"Store": "KDV-02"})
    save(parameters)
    expect(page.locator("#said")).to_have_text("Saved.")
    expect(form.get_by_label("Name", exact=True)).to_have_value("National Medical Stores")
    save(form)
    expect(row(page, 1)).to_contain_text("National Medical Stores")


def test_the_bar_says_by_itself_that_the_time_is_past(page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    page.clock.install()
    begin(page, panel)
    typed = page.locator("#parameters-form").get_by_label("Name", exact=True)
    typed.fill("Typed")
    panel.clock.pass_by(minutes=17)
    page.clock.fast_forward("17:00")
    expect(page.get_by_role("button", name="Click to un-lock")).to_be_visible()
    expect(typed).to_be_focused()
    expect(typed).to_have_value("Typed")
