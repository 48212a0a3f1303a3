"""Every state that the screen can be in, and how a person comes there."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser import data
from tests.browser.serving import Panel
from tests.browser.steps import begin, fill, open_new_row, row, save, sign_in, unlock
from tests.support.cast import OTHER, USER, VIEWER

State = Callable[[Page, Panel], None]


def signing_in(page: Page, panel: Panel) -> None:
    page.goto(panel.url)


def sign_in_refused(page: Page, panel: Panel) -> None:
    page.goto(panel.url)
    fill(page.locator("main"), {"Name": USER, "Password": "wrong"})
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").last).not_to_be_empty()


def stand_alone(page: Page, panel: Panel) -> None:
    sign_in(page, panel)


def stand_alone_unlocked(page: Page, panel: Panel) -> None:
    begin(page, panel)


def primary(page: Page, panel: Panel) -> None:
    data.busy_primary(panel)
    sign_in(page, panel)


def primary_without_satellites(page: Page, panel: Panel) -> None:
    panel.become_primary()
    sign_in(page, panel)


def primary_paused(page: Page, panel: Panel) -> None:
    panel.become_primary()
    panel.change_interval(0, OTHER)
    sign_in(page, panel)


def seen_by_a_viewer(page: Page, panel: Panel) -> None:
    data.busy_primary(panel)
    sign_in(page, panel, VIEWER)


def menu_open(page: Page, panel: Panel) -> None:
    primary(page, panel)
    page.locator("summary", has_text=USER).click()


def code_asked(page: Page, panel: Panel) -> None:
    primary(page, panel)
    page.get_by_role("button", name="Click to un-lock").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def code_wrong(page: Page, panel: Panel) -> None:
    primary(page, panel)
    unlock(page, "not-the-code")
    expect(page.get_by_text("This authorisation code is invalid.")).to_be_visible()


def codes_closed(page: Page, panel: Panel) -> None:
    primary(page, panel)
    for _ in range(6):
        unlock(page, "not-the-code")
        expect(
            page.get_by_role("dialog").get_by_label("Authorisation code", exact=True)
        ).to_have_value("")
    expect(page.get_by_text("Too many wrong tries.")).to_be_visible()


def unlocked(page: Page, panel: Panel) -> None:
    data.busy_primary(panel)
    begin(page, panel)


def interval_refused(page: Page, panel: Panel) -> None:
    primary(page, panel)
    page.get_by_label("Sync time interval", exact=True).fill("20000")
    save(page.locator("#interval"))
    expect(page.locator("#interval").get_by_role("alert")).to_be_visible()


def interval_of_another(page: Page, panel: Panel) -> None:
    primary(page, panel)
    panel.change_interval(45, OTHER)
    page.get_by_label("Sync time interval", exact=True).fill("20")
    save(page.locator("#interval"))
    expect(page.get_by_role("link", name="Take theirs")).to_be_visible()


def parameters_refused(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    form = page.locator("#parameters-form")
    fill(form, {"Sync ID": "one", "Sync request size": "3", "URL": "ftp://x"})
    save(form)
    expect(form.get_by_role("alert").first).to_be_visible()


def url_warned_of(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    form = page.locator("#parameters-form")
    fill(form, {"URL": "https://central.example.org"})
    save(form)
    expect(form.get_by_role("checkbox")).to_be_visible()


def password_removal_asked(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    page.locator("#p-password").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Remove the Password?")).to_be_visible()


def new_row(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    open_new_row(page)
    expect(page.locator("#new form")).to_be_visible()


def new_row_refused(page: Page, panel: Panel) -> None:
    new_row(page, panel)
    fill(page.locator("#new"), {"Sync ID": "8", "User name": "rotuma"})
    save(page.locator("#new"))
    expect(page.locator("#new").get_by_role("alert").first).to_be_visible()


def row_edited(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    row(page, 7).get_by_role("link", name="Edit").click()
    expect(page.locator("#rows form").first).to_be_visible()


def another_store_asked(page: Page, panel: Panel) -> None:
    row_edited(page, panel)
    data.put_record(panel, 7)
    form = page.locator("#rows form").first
    fill(form, {"Name": "Lautoka Hospital", "Store": "LTK-01"})
    save(form)
    expect(form.get_by_text("Is this the same store?")).to_be_visible()


def hardware_asked(page: Page, panel: Panel) -> None:
    row_edited(page, panel)
    page.locator(".acts").get_by_role("button", name="Clear").click()
    expect(page.get_by_text("Clear the Hardware ID of")).to_be_visible()


def lock_ran_out(page: Page, panel: Panel) -> None:
    row_edited(page, panel)
    panel.clock.pass_by(minutes=16)
    fill(page.locator("#rows form").first, {"Name": "Kadavu Hospital", "Password": "kava bowls"})
    save(page.locator("#rows form").first)
    expect(page.get_by_text("Locked. Give the authorisation code to save this")).to_be_visible()


def removal_asked(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    page.get_by_label("Rotuma Hospital", exact=True).check()
    page.get_by_role("checkbox", name="Taveuni").check()
    page.get_by_role("button", name="Remove the selected servers").click()
    expect(page.locator("#question")).to_contain_text("Remove 8 Rotuma Hospital, 11 Taveuni")


def nothing_selected(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    page.get_by_role("button", name="Remove the selected servers").click()
    expect(page.get_by_text("Select the servers to remove first.")).to_be_visible()


def removed(page: Page, panel: Panel) -> None:
    removal_asked(page, panel)
    page.locator("#question").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()


def disabled_by_urls(page: Page, panel: Panel) -> None:
    panel.become(1, "National Store", "NAT-01", url="https://central.example.org")
    panel.add_servers([(8, "Rotuma Hospital", "ROT-01"), (9, "Lau Clinic", "LAU-01")])
    panel.set_url(8, "https://rotuma.example.org")
    sign_in(page, panel)


def found_nothing(page: Page, panel: Panel) -> None:
    data.busy_primary(panel)
    sign_in(page, panel)
    page.get_by_label("find:", exact=True).fill("zzz")
    expect(page.get_by_text("No server has a word that begins with “zzz”.")).to_be_visible()


def long_list(page: Page, panel: Panel) -> None:
    panel.become_primary(data.many(120))
    begin(page, panel)
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("page 2 of 3")).to_be_visible()


def satellite(page: Page, panel: Panel) -> None:
    data.busy_satellite(panel)
    sign_in(page, panel)


def new_satellite(page: Page, panel: Panel) -> None:
    panel.become_satellite()
    sign_in(page, panel)


def satellite_unlocked(page: Page, panel: Panel) -> None:
    data.busy_satellite(panel)
    begin(page, panel)


def satellite_row_edited(page: Page, panel: Panel) -> None:
    satellite_unlocked(page, panel)
    row(page, 1).get_by_role("link", name="Edit").click()
    expect(page.locator("#rows form").first).to_be_visible()


def satellite_syncing(page: Page, panel: Panel) -> None:
    data.busy_satellite(panel)
    data.begin_run(panel)
    sign_in(page, panel)


def satellite_late(page: Page, panel: Panel) -> None:
    data.busy_satellite(panel)
    panel.clock.pass_by(days=2)
    sign_in(page, panel)


def satellite_refused(page: Page, panel: Panel) -> None:
    data.busy_satellite(panel)
    data.refuse(panel, "site_incorrect_password")
    data.set_aside(panel, 1)
    sign_in(page, panel)


def initialise_would_remove(page: Page, panel: Panel) -> None:
    data.busy_satellite(panel)
    data.put_record(panel, 1)
    data.refuse(panel, "removal_needs_consent", records=339, primary="National Store")
    begin(page, panel)
    asked = page.locator("#initialise")
    asked.get_by_role("button", name="Initialise").click()
    expect(asked).to_contain_text("339 records that are here are not at National Store")
    expect(asked.get_by_role("button", name="Remove")).to_be_visible()


def satellite_incomplete(page: Page, panel: Panel) -> None:
    panel.become(7, "Kadavu Health Centre", "KDV-01")
    sign_in(page, panel)


def connection_lost(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    panel.stop()
    save(page.locator("#parameters-form"))
    expect(page.get_by_text("Not saved: no connection. Try again.")).to_be_visible()


def signed_out_meanwhile(page: Page, panel: Panel) -> None:
    unlocked(page, panel)
    page.context.clear_cookies()
    save(page.locator("#parameters-form"))
    expect(page.get_by_text("You were signed out")).to_be_visible()


def people(page: Page, panel: Panel) -> None:
    sign_in(page, panel)
    page.goto(f"{panel.url}people")
    page.locator("summary", has_text=OTHER).click()


def people_refused(page: Page, panel: Panel) -> None:
    people(page, panel)
    page.locator("summary", has_text="Add a person").click()
    form = page.locator("details", has_text="Add a person").locator("form")
    fill(form, {"Name": OTHER, "Password": "short"})
    form.get_by_role("button", name="Add").click()
    expect(form.get_by_role("alert").first).to_be_visible()


def activity(page: Page, panel: Panel) -> None:
    data.busy_primary(panel)
    panel.change_interval(20, OTHER)
    sign_in(page, panel)
    page.get_by_role("link", name="Activity").click()
    expect(page.get_by_role("heading", name="Activity")).to_be_visible()


def activity_empty(page: Page, panel: Panel) -> None:
    activity(page, panel)
    page.get_by_label("Who", exact=True).fill("nobody of this name")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Nothing that fits.")).to_be_visible()


def runs(page: Page, panel: Panel) -> None:
    satellite(page, panel)
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()


def set_aside(page: Page, panel: Panel) -> None:
    satellite_refused(page, panel)
    page.get_by_role("link", name="2 records need a decision").click()
    expect(page.get_by_text("stock_line").first).to_be_visible()


def one_server(page: Page, panel: Panel) -> None:
    primary(page, panel)
    row(page, 7).get_by_role("link", name="up to date").click()
    expect(page.get_by_text("Last contact")).to_be_visible()


def nothing_there(page: Page, panel: Panel) -> None:
    sign_in(page, panel)
    page.goto(f"{panel.url}nowhere")


STATES: tuple[State, ...] = (
    *(signing_in, sign_in_refused, stand_alone, stand_alone_unlocked),
    *(primary, primary_without_satellites, primary_paused, seen_by_a_viewer, menu_open),
    *(code_asked, code_wrong, codes_closed, unlocked, interval_refused, interval_of_another),
    *(parameters_refused, url_warned_of, password_removal_asked),
    *(new_row, new_row_refused, row_edited, another_store_asked),
    *(hardware_asked, lock_ran_out),
    *(removal_asked, nothing_selected, removed, disabled_by_urls, found_nothing, long_list),
    *(satellite, new_satellite, satellite_unlocked, satellite_row_edited, satellite_syncing),
    *(satellite_late, satellite_refused, initialise_would_remove, satellite_incomplete),
    *(connection_lost, signed_out_meanwhile, people, people_refused, activity, activity_empty),
    *(runs, set_aside, one_server, nothing_there),
)
