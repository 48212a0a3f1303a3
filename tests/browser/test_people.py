"""People and Activity in a browser, with scripting and without."""

import csv

from playwright.sync_api import Page, expect

from tests.browser.serving import Panel
from tests.browser.steps import fill, sign_in, sign_out
from tests.support.cast import PASSWORD, USER, VIEWER


def open_people(page: Page) -> None:
    """By the menu under the own name."""
    page.locator("summary", has_text=USER).click()
    page.get_by_role("link", name="People").click()
    expect(page.get_by_role("heading", name="People")).to_be_visible()


def test_a_manager_lets_somebody_in_and_shuts_somebody_out(either_page: Page, panel: Panel) -> None:
    page = either_page
    sign_in(page, panel)
    open_people(page)
    page.get_by_text("Add a person").click()
    form = page.locator("form[action='/people']")
    fill(form, {"Name": VIEWER, "Password": f"{PASSWORD} of another"})
    form.get_by_role("button", name="Add").click()
    expect(form.get_by_text("There is a person of this name already.")).to_be_visible()
    expect(form.get_by_label("Name", exact=True)).to_be_focused()
    expect(form.get_by_label("Name", exact=True)).to_have_value(VIEWER)

    fill(form, {"Name": "maya", "Password": PASSWORD})
    form.get_by_label("edit preferences", exact=True).check()
    form.get_by_role("button", name="Add").click()
    maya = page.locator("section", has=page.locator("summary", has_text="maya"))
    expect(maya.locator("summary")).to_contain_text("view, edit preferences")

    vito = page.locator("section", has=page.locator("summary", has_text=VIEWER))
    vito.locator("summary").click()
    vito.get_by_role("button", name="Disable").click()
    expect(vito.locator("summary")).to_contain_text("disabled")

    page.get_by_role("link", name="Synchronisation").click()
    sign_out(page)
    sign_in(page, panel, "maya")
    expect(page.get_by_label("Sync time interval", exact=True)).to_be_visible()


def test_who_changed_the_own_password_goes_on(either_page: Page, panel: Panel) -> None:
    page = either_page
    sign_in(page, panel)
    open_people(page)
    own = page.locator("main section", has=page.locator("summary", has_text="this is you"))
    own.locator("summary").click()
    fill(own, {"New password": "another password", "Your own password": PASSWORD})
    own.get_by_role("button", name="Set password").click()
    expect(own.get_by_role("button", name="Set password")).to_be_hidden()
    vito = page.locator("section", has=page.locator("summary", has_text=VIEWER))
    vito.locator("summary").click()
    vito.get_by_role("button", name="Disable").click()
    expect(vito.locator("summary")).to_contain_text("disabled")


def test_with_scripting_the_focus_stays_with_the_person_who_was_changed(
    page: Page, panel: Panel
) -> None:
    sign_in(page, panel)
    open_people(page)
    vito = page.locator("section", has=page.locator("summary", has_text=VIEWER))
    vito.locator("summary").click()
    vito.get_by_label("manage people", exact=True).check()
    vito.get_by_role("button", name="Save").click()
    expect(vito.locator("summary")).to_contain_text("manage people")
    expect(vito.locator("summary")).to_be_focused()
    expect(page.locator("#said")).to_have_text("Saved.")


def test_activity_is_filtered_in_place_and_by_its_address(either_page: Page, panel: Panel) -> None:
    page = either_page
    sign_in(page, panel)
    page.get_by_role("link", name="Activity").first.click()
    expect(page.locator("tbody")).to_contain_text("set the authorisation code")
    page.get_by_label("What").select_option("signed in")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody")).not_to_contain_text("set the authorisation code")
    expect(page.locator("tbody")).to_contain_text("signed in")
    expect(page).to_have_url(f"{panel.url}activity?person=&what=signed_in&begin=&end=")
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    content = download.value.path().read_text("utf-8-sig")
    (row,) = csv.DictReader(content.splitlines())
    assert row["what"] == "signed_in"
