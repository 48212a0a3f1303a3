"""From the set-up link to Lock now: what a technician does on the first day, scripting or not."""

from playwright.sync_api import Page, expect

from panel.activity.log import EventKind
from panel.models.settings import Settings
from panel.preferences.shared_password import wire_password
from panel.security.hashes import verify_secret
from tests.browser.serving import Panel
from tests.browser.steps import (
    add_server,
    fill,
    open_new_row,
    row,
    save,
    sign_in,
    sign_out,
    sync_ids,
)
from tests.browser.steps import unlock as give_code
from tests.support.cast import CODE, PASSWORD, USER


def test_from_the_set_up_link_to_lock_now(either_page: Page, empty_panel: Panel) -> None:
    page, panel = either_page, empty_panel
    _give_sync_id(panel)
    _set_up(page, panel)
    sign_out(page)
    sign_in(page, panel)
    _change_interval(page, panel)
    _unlock_at_the_second_try(page)
    _fill_parameters(page, panel)
    for server in (
        (7, "Kadavu Health Centre", "KDV-01"),
        (8, "Rotuma Hospital", "ROT-01"),
        (9, "Lau Clinic", "LAU-01"),
    ):
        add_server(page, *server)
    _use_a_sync_id_twice(page)
    _edit_one(page)
    _remove_two(page)
    _undo(page)
    _type_until_the_lock_runs_out(page, panel)
    _lock_now(page)
    kinds = {happened.what for happened in panel.happened()}
    assert {
        EventKind.WRONG_CODE,
        EventKind.UNLOCKED,
        EventKind.REFUSED_LOCKED,
        EventKind.LOCKED_NOW,
    } <= kinds


def _give_sync_id(panel: Panel) -> None:
    """As ``sync-panel settings set sync_id=1`` does before anybody opens a browser."""
    with panel.database.writing() as session:
        session.get_one(Settings, 1).sync_id = 1


def _set_up(page: Page, panel: Panel) -> None:
    link = panel.set_up_link
    page.goto(link)
    page.get_by_label("Your name", exact=True).fill(USER)
    page.get_by_label("Password, at least 10 characters").fill(PASSWORD)
    page.get_by_label("Authorisation code, at least 10 characters").fill(CODE)
    page.get_by_role("button", name="Set up").click()
    expect(page).to_have_url(panel.url)
    expect(page.get_by_role("heading", name="Synchronisation", exact=True)).to_be_visible()
    assert page.request.get(link).status == 404


def _change_interval(page: Page, panel: Panel) -> None:
    page.get_by_label("Sync time interval", exact=True).fill("a while")
    page.locator("#interval").get_by_role("button", name="Save interval").click()
    expect(page.get_by_text("A whole number, in digits.")).to_be_visible()
    expect(page.get_by_label("Sync time interval", exact=True)).to_have_value("a while")
    page.get_by_label("Sync time interval", exact=True).fill("30")
    page.locator("#interval").get_by_role("button", name="Save interval").click()
    expect(page.get_by_text("A whole number, in digits.")).to_be_hidden()
    expect(page.get_by_label("Sync time interval", exact=True)).to_have_value("30")
    assert panel.settings().interval_minutes == 30


def _unlock_at_the_second_try(page: Page) -> None:
    expect(page.get_by_text("Locked. Changing these can do serious harm")).to_be_visible()
    expect(page.get_by_role("button", name="Add a server")).to_be_disabled()
    expect(page.get_by_role("button", name="Remove the selected servers")).to_be_disabled()
    give_code(page, "not-the-code")
    refusal = "This authorisation code is invalid. Everything stays read-only."
    expect(page.get_by_text(refusal)).to_be_visible()
    expect(page.locator("#parameters input[name=name]")).to_have_count(0)
    give_code(page)
    expect(page.get_by_text("Unlocked until")).to_be_visible()
    expect(page.get_by_text(refusal)).to_be_hidden()


def _fill_parameters(page: Page, panel: Panel) -> None:
    form = page.locator("#parameters-form")
    typed = {"Name": "National Store", "Store": "NAT-01", "User name": "sync"}
    fill(form, {**typed, "Password": "tides & shoals", "Sync request size": "7"})
    save(form)
    expect(form.get_by_text("Automatic (empty), or from 10 to 5000 records.")).to_be_visible()
    expect(form.get_by_label("Store", exact=True)).to_have_value("NAT-01")
    # The password comes back neither readable nor lost.
    expect(form.get_by_label("Password", exact=True)).to_have_value("")
    assert "tides and winds" not in page.content()
    fill(form, {"Sync request size": "500"})
    save(form)
    expect(page.locator("#who")).to_contain_text("National Store")
    settings = panel.settings()
    assert (settings.store, settings.request_size) == ("NAT-01", 500)
    assert verify_secret(settings.password_hash or "", wire_password("tides & shoals"))


def _use_a_sync_id_twice(page: Page) -> None:
    form = open_new_row(page)
    typed = {"Sync ID": "8", "Name": "Vanua Balavu", "Store": "VBU-01"}
    fill(form, typed)
    save(form)
    expect(form.get_by_text("8 Rotuma Hospital has this Sync ID already.")).to_be_visible()
    for label, text in typed.items():
        expect(form.get_by_label(label, exact=True)).to_have_value(text)
    fill(form, {"Sync ID": "12"})
    save(form)
    expect(row(page, 12)).to_contain_text("Vanua Balavu")
    expect(page.locator("#count")).to_contain_text("4 of 4")


def _edit_one(page: Page) -> None:
    row(page, 9).get_by_role("link", name="Edit").click()
    form = page.locator("#rows form")
    fill(form, {"Store": "LAU-02"})
    save(form)
    expect(row(page, 9)).to_contain_text("LAU-02")
    expect(row(page, 9)).to_contain_text("Lau Clinic")


def _remove_two(page: Page) -> None:
    page.get_by_label("Kadavu Health Centre", exact=True).check()
    page.get_by_label("Lau Clinic", exact=True).check()
    page.get_by_role("button", name="Remove the selected servers").click()
    question = page.locator("#question")
    expect(question).to_contain_text("Remove 7 Kadavu Health Centre, 9 Lau Clinic?")
    expect(page.locator("#count")).to_contain_text("4 of 4")
    question.get_by_role("button", name="Remove").click()
    expect(page.locator("#count")).to_contain_text("2 of 2")
    expect(row(page, 7)).to_have_count(0)


def _undo(page: Page) -> None:
    expect(page.get_by_text("Removed: 7 Kadavu Health Centre, 9 Lau Clinic.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#count")).to_contain_text("4 of 4")
    page.reload()
    expect(sync_ids(page)).to_have_text(["7", "8", "9", "12"])


def _type_until_the_lock_runs_out(page: Page, panel: Panel) -> None:
    row(page, 8).get_by_role("link", name="Edit").click()
    form = page.locator("#rows form").first
    fill(form, {"Name": "Rotuma Sub-divisional Hospital"})
    fill(form, {"User name": "rotuma", "Password": "kava bowls"})
    panel.clock.pass_by(minutes=16)
    save(form)
    expect(page.get_by_text("Locked. Give the authorisation code to save this")).to_be_visible()
    assert "kava" not in page.content()
    assert panel.servers()[1].name == "Rotuma Hospital"
    form.get_by_label("Authorisation code", exact=True).fill("not-the-code")
    form.get_by_role("button", name="OK").click()
    expect(form.get_by_text("This authorisation code is invalid.")).to_be_visible()
    form.get_by_label("Authorisation code", exact=True).fill(CODE)
    form.get_by_role("button", name="OK").click()
    expect(row(page, 8)).to_contain_text("Rotuma Sub-divisional Hospital")
    expect(page.get_by_text("Unlocked until")).to_be_visible()
    assert verify_secret(panel.servers()[1].password_hash or "", wire_password("kava bowls"))


def _lock_now(page: Page) -> None:
    page.get_by_role("button", name="Lock now").click()
    expect(page.get_by_role("button", name="Click to un-lock")).to_be_visible()
    expect(page.get_by_role("button", name="Add a server")).to_be_disabled()
    expect(row(page, 8).get_by_role("link", name="Edit")).to_be_hidden()
    expect(page.locator("#parameters input[name=name]")).to_have_count(0)
