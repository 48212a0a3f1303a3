"""The list of servers: sorted both ways, searched, turned page by page, and found again by Back."""

import re

from playwright.sync_api import Page, expect

from tests.browser import data
from tests.browser.serving import Panel
from tests.browser.steps import sign_in, sync_ids


def test_sorting_both_ways(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_primary(
        [(7, "Kadavu", "C-1"), (8, "Rotuma", "A-1"), (10, "Ba", "D-1"), (9, "Lau", "B-1")]
    )
    sign_in(page, panel)
    expect(sync_ids(page)).to_have_text(["7", "8", "9", "10"])
    for column, ascending in (
        ("Name", ["10", "7", "9", "8"]),
        ("Store", ["8", "9", "7", "10"]),
        ("Sync ID", ["7", "8", "9", "10"]),
    ):
        head = page.get_by_role("columnheader", name=column)
        head.get_by_role("link").click()
        expect(head).to_have_attribute("aria-sort", "ascending")
        expect(sync_ids(page)).to_have_text(ascending)
        head.get_by_role("link").click()
        expect(head).to_have_attribute("aria-sort", "descending")
        expect(sync_ids(page)).to_have_text(ascending[::-1])


def test_finding_by_the_beginning(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_primary(
        [(7, "Kadavu", "KDV-01"), (70, "Rotuma", "ROT-01"), (8, "Rotuma North", "KDV-07")]
    )
    sign_in(page, panel)
    expect(page.locator("#count")).to_contain_text("3 of 3")
    for typed, found in (("rot", ["8", "70"]), ("KDV-", ["7", "8"]), ("7", ["7", "70"])):
        page.get_by_label("find:", exact=True).fill(typed)
        page.get_by_label("find:", exact=True).press("Enter")
        expect(sync_ids(page)).to_have_text(found)
        expect(page.locator("#count")).to_contain_text(f"{len(found)} of 3")
    page.get_by_label("find:", exact=True).fill("tuma")
    page.get_by_label("find:", exact=True).press("Enter")
    expect(page.get_by_text("No server has a word that begins with “tuma”.")).to_be_visible()
    expect(page.locator("#count")).to_contain_text("0 of 3")


def test_pages_of_fifty(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_primary(data.many(120))
    sign_in(page, panel)
    expect(sync_ids(page)).to_have_count(50)
    expect(page.get_by_role("link", name="Previous")).to_have_count(0)
    for number, last in ((2, "101"), (3, "121")):
        page.get_by_role("link", name="Next").click()
        expect(page.get_by_text(f"page {number} of 3")).to_be_visible()
        expect(sync_ids(page).last).to_have_text(last)
    expect(page.get_by_role("link", name="Next")).to_have_count(0)
    page.get_by_role("link", name="Previous").click()
    expect(sync_ids(page).first).to_have_text("52")
    page.get_by_role("link", name="Store").click()
    expect(page.get_by_text("page 1 of 3")).to_be_visible()


def test_back_restores_the_whole_page_at_its_place(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_primary(data.many(120))
    sign_in(page, panel)
    page.get_by_label("find:", exact=True).fill("rot")
    page.get_by_label("find:", exact=True).press("Enter")
    expect(page.locator("#count")).to_contain_text("15 of 120")
    page.get_by_role("link", name="Name").click()
    expect(page).to_have_url(re.compile("sort=name"))
    expect(page).to_have_url(re.compile("find=rot"))
    found = sync_ids(page).all_text_contents()
    page.get_by_role("link", name="Activity").click()
    expect(page.get_by_role("heading", name="Activity")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Servers to synchronise with")).to_be_visible()
    expect(page.get_by_label("find:", exact=True)).to_have_value("rot")
    expect(sync_ids(page)).to_have_text(found)


def test_back_from_a_filter_of_activity_is_a_whole_page(page: Page, panel: Panel) -> None:
    panel.become_primary()
    sign_in(page, panel)
    page.get_by_role("link", name="Activity").click()
    for name in ("asha", "nobody"):
        page.get_by_label("Who", exact=True).fill(name)
        page.get_by_role("button", name="Show").click()
        expect(page).to_have_url(re.compile(f"person={name}"))
    page.go_back()
    expect(page.get_by_role("heading", name="Activity")).to_be_visible()
    expect(page.get_by_role("link", name="Synchronisation")).to_be_visible()
    expect(page.get_by_role("cell", name="asha").first).to_be_visible()
