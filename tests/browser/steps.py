"""What a person does on the screen, step by step, with scripting or without."""

from collections.abc import Mapping
from typing import Protocol

from playwright.sync_api import Frame, Locator, Page, expect

from tests.support.cast import CODE, PASSWORD, USER

# The panel has a tab to itself, or stands in a frame of another page.
Place = Page | Frame


class Served(Protocol):
    """A server, in a thread of the test or in a process of its own."""

    url: str


def sign_in(page: Page, panel: Served, name: str = USER) -> None:
    """Come to the page, by way of the sign-in."""
    page.goto(panel.url)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#servers")).to_be_visible()


def sign_out(page: Page, name: str = USER) -> None:
    """Leave, by the menu under the person's name."""
    page.locator("summary", has_text=name).click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def unlock(page: Place, code: str = CODE) -> None:
    """Give a code to the lock."""
    dialog = page.get_by_role("dialog", name="Authorisation code")
    if not dialog.is_visible():
        page.get_by_role("button", name="Click to un-lock").click()
    dialog.get_by_label("Authorisation code", exact=True).fill(code)
    dialog.get_by_role("button", name="OK").click()


def begin(page: Page, panel: Served) -> None:
    """Sign in and unlock: where most of what may go wrong begins."""
    sign_in(page, panel)
    unlock(page)
    expect(page.get_by_text("Unlocked until")).to_be_visible()


def row(page: Place, sync_id: int) -> Locator:
    """The row of the list with this Sync ID, while it is text."""
    cell = page.get_by_role("cell", name=str(sync_id), exact=True)
    return page.locator("#rows > tr").filter(has=cell)


def sync_ids(page: Page) -> Locator:
    """The column of Sync IDs, from the first row on."""
    return page.locator("#rows > tr:not([hidden]) > td:nth-child(2)")


def open_new_row(page: Place) -> Locator:
    """Press +, and return the row of fields."""
    page.get_by_role("button", name="Add a server").click()
    return page.locator("#new form")


def fill(form: Locator, typed: Mapping[str, str]) -> None:
    """Type into the fields of a form, by their names on the screen."""
    for label, text in typed.items():
        form.get_by_label(label, exact=True).fill(text)


def save(form: Locator) -> None:
    """Press the form's Save."""
    form.get_by_role("button", name="Save").click()


def add_server(page: Place, sync_id: int, name: str, store: str) -> None:
    """Add a server by hand, and see it in the list."""
    form = open_new_row(page)
    fill(form, {"Sync ID": str(sync_id), "Name": name, "Store": store})
    save(form)
    expect(row(page, sync_id)).to_contain_text(name)
