"""What the page is for a stand-alone server, a satellite, a primary; and for who may only look."""

from playwright.sync_api import Page, expect

from tests.browser import data
from tests.browser.serving import Panel
from tests.browser.steps import begin, fill, row, save, sign_in, sync_ids
from tests.support.cast import VIEWER


def test_a_stand_alone_server_may_ignore_this(either_page: Page, panel: Panel) -> None:
    page = either_page
    sign_in(page, panel)
    expect(page.get_by_text("This server synchronises with nobody.")).to_be_visible()
    expect(page.get_by_text("To start, give this server a Sync ID")).to_be_visible()
    expect(page.get_by_label("Sync time interval", exact=True)).to_be_disabled()
    expect(page.get_by_text("Give this server a Sync ID first.")).to_be_visible()


def test_from_stand_alone_to_primary_on_the_page(either_page: Page, panel: Panel) -> None:
    page = either_page
    begin(page, panel)
    form = page.locator("#parameters-form")
    fill(form, {"Sync ID": "1", "Name": "National Store", "Store": "NAT-01"})
    save(form)
    expect(page.locator("#who")).to_contain_text("National Store")
    expect(page.get_by_text("Not ready: no user name and password yet.")).to_be_visible()
    expect(page.get_by_text("These preferences can be ignored.")).to_have_count(0)
    expect(page.locator("#self")).to_contain_text("this server")
    expect(page.get_by_label("Sync time interval", exact=True)).to_be_enabled()
    expect(page.get_by_role("button", name="Add a server")).to_be_enabled()


def test_a_satellite_lists_its_primary_only(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_satellite()
    begin(page, panel)
    expect(sync_ids(page)).to_have_text(["1"])
    expect(row(page, 1)).to_contain_text("https://central.example.org")
    expect(page.get_by_role("button", name="Add a server")).to_be_disabled()
    # The URL is one and the same, wherever it is typed.
    row(page, 1).get_by_role("link", name="Edit").click()
    fill(page.locator("#rows form").first, {"URL": "hub.example.org"})
    save(page.locator("#rows form").first)
    expect(row(page, 1)).to_contain_text("https://hub.example.org")
    form = page.locator("#parameters-form")
    expect(form.get_by_label("URL", exact=True)).to_have_value("https://hub.example.org")
    assert panel.settings().url == "https://hub.example.org"
    assert panel.servers()[0].url == ""
    fill(form, {"URL": "https://central.example.org/sync"})
    save(form)
    expect(row(page, 1)).to_contain_text("https://central.example.org/sync")


def test_plain_http_is_warned_of(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_satellite()
    begin(page, panel)
    form = page.locator("#parameters-form")
    fill(form, {"URL": "http://central.example.org"})
    save(form)
    expect(form.get_by_text("everything on the way can be read and changed")).to_be_visible()
    assert panel.settings().url == "https://central.example.org"
    form.get_by_role("checkbox").check()
    save(form)
    expect(form.get_by_role("checkbox")).to_have_count(0)
    assert panel.settings().url == "http://central.example.org"


def test_urls_disable_a_primary_until_they_are_cleared(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become(1, "National Store", "NAT-01")
    panel.add_servers([(8, "Rotuma Hospital", "ROT-01")])
    begin(page, panel)
    form = page.locator("#parameters-form")
    fill(form, {"URL": "https://central.example.org"})
    save(form)
    expect(form.get_by_text("a URL here disables sync for all")).to_be_visible()
    form.get_by_role("checkbox").check()
    save(form)
    expect(page.get_by_text("Sync is disabled: this server")).to_be_visible()
    panel.set_url(8, "https://rotuma.example.org")
    page.reload()
    status = page.locator("#status")
    expect(status.get_by_text("URL of this server")).to_be_visible()
    expect(status.get_by_text("URL of 8 Rotuma Hospital")).to_be_visible()
    status.get_by_role("button", name="Clear").first.click()
    expect(status.get_by_text("URL of this server")).to_have_count(0)
    expect(form.get_by_label("URL", exact=True)).to_have_value("")
    status.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("Sync is disabled")).to_have_count(0)
    assert panel.settings().url == ""
    assert panel.servers()[0].url == ""
    # The form that stood open all the while is still good.
    fill(form, {"Store": "NAT-02"})
    save(form)
    expect(page.get_by_role("button", name="Save mine over it")).to_have_count(0)
    expect(page.locator("#self")).to_contain_text("NAT-02")


def test_a_hardware_id_is_cleared_after_a_question(either_page: Page, panel: Panel) -> None:
    page = either_page
    data.busy_primary(panel)
    begin(page, panel)
    row(page, 7).get_by_role("link", name="Edit").click()
    acts = page.locator(".acts")
    acts.get_by_role("button", name="Clear").click()
    expect(acts).to_contain_text("Clear the Hardware ID of Kadavu Health Centre?")
    assert panel.servers()[0].hardware_id
    acts.get_by_role("button", name="Clear").click()
    expect(acts.get_by_text("Hardware ID")).to_have_count(0)
    assert panel.servers()[0].hardware_id is None
    acts.get_by_role("button", name="Remove").click()
    expect(acts).to_contain_text("Remove the User name and Password of Kadavu Health Centre?")
    acts.get_by_role("button", name="Remove").click()
    expect(acts.get_by_role("button")).to_have_count(0)
    assert panel.servers()[0].password_hash is None


def test_the_shared_password_is_removed_after_a_question(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_primary()
    begin(page, panel)
    shared = page.locator("#p-password")
    shared.get_by_role("button", name="Remove").click()
    expect(shared).to_contain_text("Remove the Password?")
    shared.get_by_role("link", name="Keep").click()
    expect(shared).to_contain_text("Password: set")
    shared.get_by_role("button", name="Remove").click()
    expect(shared).to_contain_text("Remove the Password?")
    shared.get_by_role("button", name="Remove").click()
    expect(shared).to_be_empty()
    assert not panel.settings().has_password


def test_who_may_only_look_finds_nothing_to_press(either_page: Page, panel: Panel) -> None:
    page = either_page
    data.busy_primary(panel)
    panel.set_url(8, "https://rotuma.example.org")
    sign_in(page, panel, VIEWER)
    expect(page.get_by_text("Locked.")).to_be_visible()
    expect(page.get_by_label("Sync time interval", exact=True)).to_be_disabled()
    for name in ("Click to un-lock", "Save", "Clear", "Add", "Sync now"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    for name in ("Add a server", "Remove the selected servers"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_role("link", name="People")).to_have_count(0)


def test_who_may_only_look_at_a_satellite(page: Page, panel: Panel) -> None:
    data.busy_satellite(panel)
    sign_in(page, panel, VIEWER)
    for name in ("Sync now", "Initialise", "Test connection", "Click to un-lock"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
