"""The pages beside the screen: people, activity and its download, signing in and out."""

import csv
import io
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import NewPage
from tests.browser.serving import Panel
from tests.browser.steps import fill, sign_in, sign_out
from tests.support.cast import OTHER, PASSWORD, USER, VIEWER


def _about(page: Page, name: str) -> Locator:
    """What is said of a person, and behind it the forms that change it."""
    return page.locator("#people details").filter(has=page.locator("b", has_text=name))


def _opened(page: Page, name: str) -> Locator:
    details = _about(page, name)
    if not details.get_by_label("New password", exact=True).is_visible():
        details.locator("summary").click()
    return details


def _to_people(page: Page) -> None:
    page.locator("summary", has_text=USER).click()
    page.get_by_role("link", name="People").click()
    expect(page.get_by_role("heading", name="People")).to_be_visible()


def test_a_person_is_added_and_comes_in(either_page: Page, new_page: NewPage, panel: Panel) -> None:
    page = either_page
    sign_in(page, panel)
    _to_people(page)
    page.locator("summary", has_text="Add a person").click()
    add = page.locator("form").filter(has=page.get_by_role("button", name="Add"))
    fill(add, {"Name": "chandra", "Password": "short"})
    add.get_by_role("button", name="Add").click()
    expect(add.get_by_role("alert")).to_contain_text("10")
    expect(add.get_by_label("Name", exact=True)).to_have_value("chandra")
    fill(add, {"Password": PASSWORD})
    add.get_by_label("edit preferences", exact=True).check()
    add.get_by_role("button", name="Add").click()
    expect(_about(page, "chandra")).to_contain_text("edit preferences")
    newcomer = new_page()
    sign_in(newcomer, panel, "chandra")
    expect(newcomer.get_by_role("button", name="Click to un-lock")).to_be_visible()


def test_permissions_are_taken_and_a_person_is_shut_out(
    either_page: Page, new_page: NewPage, panel: Panel
) -> None:
    page, theirs = either_page, new_page()
    sign_in(theirs, panel, OTHER)
    sign_in(page, panel)
    _to_people(page)
    _opened(page, OTHER).get_by_label("edit preferences", exact=True).uncheck()
    _opened(page, OTHER).get_by_role("button", name="Save").click()
    expect(_about(page, OTHER)).not_to_contain_text("view, edit")
    theirs.reload()
    expect(theirs.get_by_role("button", name="Click to un-lock")).to_have_count(0)
    _opened(page, OTHER).get_by_role("button", name="Disable").click()
    expect(_about(page, OTHER)).to_contain_text("disabled")
    theirs.reload()
    expect(theirs.get_by_role("heading", name="Sign in")).to_be_visible()
    _opened(page, OTHER).get_by_role("button", name="Enable").click()
    expect(_about(page, OTHER)).not_to_contain_text("disabled")


def test_the_last_manager_stays(either_page: Page, panel: Panel) -> None:
    page = either_page
    sign_in(page, panel)
    _to_people(page)
    _opened(page, USER).get_by_role("button", name="Disable").click()
    expect(page.get_by_role("alert").filter(has_text="manage")).to_be_visible()
    page.goto(panel.url)
    expect(page.locator("#servers")).to_be_visible()


def test_people_are_for_those_who_manage_them(page: Page, panel: Panel) -> None:
    sign_in(page, panel, VIEWER)
    answer = page.goto(f"{panel.url}people")
    assert answer
    assert answer.status == 403
    expect(page.get_by_text("You may not manage people here.")).to_be_visible()


def test_activity_is_filtered_and_downloaded(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_primary()
    panel.change_interval(45, OTHER)
    panel.change_interval(50, "=cmd")
    sign_in(page, panel)
    page.get_by_role("link", name="Activity").click()
    rows = page.locator("#activity tbody tr")
    expect(rows.filter(has_text="=cmd")).to_contain_text("45 → 50")
    page.get_by_label("Who", exact=True).fill(OTHER)
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("10 → 45")
    page.get_by_label("Who", exact=True).fill("")
    page.get_by_role("combobox").select_option("interval_changed")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    lines = list(csv.DictReader(_text(download.value.path())))
    assert [line["person"] for line in lines] == ["'=cmd", OTHER]
    assert lines[1]["became"] == '{"interval_minutes": 45}'


def _text(path: Path) -> io.StringIO:
    return io.StringIO(path.read_text("utf-8-sig"))


def test_older_activity_is_a_page_away(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_primary((number, f"Place {number}", "S") for number in range(2, 60))
    sign_in(page, panel)
    page.get_by_role("link", name="Activity").click()
    expect(page.locator("#activity tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("cell", name="set up").or_(page.get_by_text("Place 2"))).to_be_visible()
    page.get_by_role("link", name="Newest").click()
    expect(page.locator("#activity tbody tr")).to_have_count(50)


def test_signing_out_ends_the_session_and_the_unlock(either_page: Page, panel: Panel) -> None:
    page = either_page
    sign_in(page, panel)
    page.get_by_role("button", name="Click to un-lock").click()
    sign_out(page)
    page.goto(f"{panel.url}activity")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    # "b" lets nobody in: it tells the throttle that the name signed in from this browser before.
    assert {cookie.get("name") for cookie in page.context.cookies()} <= {"s", "b"}
    # After signing in again the page that was asked for comes, not the first one.
    fill(page.locator("main"), {"Name": USER, "Password": PASSWORD})
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Activity")).to_be_visible()


def test_a_wrong_password_keeps_the_name(either_page: Page, panel: Panel) -> None:
    page = either_page
    page.goto(panel.url)
    fill(page.locator("main"), {"Name": USER, "Password": "not this one"})
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").last).not_to_be_empty()
    expect(page.get_by_label("Name", exact=True)).to_have_value(USER)
    expect(page.get_by_label("Password", exact=True)).to_have_value("")
