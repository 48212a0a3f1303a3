"""The first pair of servers, as the README walks: from two empty ones to the first sync."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from panel.accounts import people
from tests.browser.conftest import NewPage
from tests.browser.looks import expect_accessible, expect_no_sideways_scrolling
from tests.browser.steps import add_server, begin, fill, save, sign_in
from tests.conftest import NewDatabase
from tests.real.conftest import LOOK, QUICK_LOOK_SECONDS
from tests.support.cast import CODE, PASSWORD, USER
from tests.support.processes import ForkedPanel
from tests.support.real_site import KADAVU, NATIONAL, TESTER, Site, wait_until

NewEmpty = Callable[[str], Site]


@pytest.fixture
def new_empty(tmp_path: Path, new_sqlite: NewDatabase) -> Iterator[NewEmpty]:
    """Makes servers that know their first person, and nothing else."""
    with ExitStack() as closing:

        def make(name: str) -> Site:
            folder = tmp_path / name
            folder.mkdir()
            constants = {LOOK: QUICK_LOOK_SECONDS}
            process = ForkedPanel(folder, database_url=new_sqlite(True), constants=constants)
            site = Site(KADAVU, process)
            closing.callback(site.close)
            with site.database.writing() as session:
                people.set_up(session, TESTER, USER, PASSWORD, CODE)
            process.start()
            return site

        yield make


@pytest.mark.parametrize("scripting", [True, False])
def test_two_empty_servers_become_a_pair(
    new_page: NewPage, new_empty: NewEmpty, tmp_path: Path, scripting: bool
) -> None:
    primary, satellite = new_empty("primary"), new_empty("satellite")
    page = new_page(java_script_enabled=scripting)
    begin(page, primary.process)
    page.get_by_role("link", name="This is the primary").click()
    expect(page.get_by_text("○ Sync ID 1 for the primary")).to_be_visible()
    make_primary(page)
    add_server(page, KADAVU.sync_id, KADAVU.name, KADAVU.store)
    file = make_setup(page, primary, tmp_path, scripting)

    there = new_page(java_script_enabled=scripting)
    sign_in(there, satellite.process)
    there.get_by_role("link", name="Join with a set-up").click()
    look(there, scripting)
    there.get_by_label("File", exact=True).set_input_files(file)
    there.get_by_label("Authorisation code").fill(CODE)
    there.get_by_role("button", name="Join").click()

    expect(there.locator("#who")).to_contain_text("Kadavu")
    see(there, f"All well. Everything is safe at {NATIONAL.name}.")


def make_primary(page: Page) -> None:
    page.locator("#state").get_by_role("link", name="Store").click()
    form = page.locator("#parameters-form")
    fill(form, {"Sync ID": "1", "Name": NATIONAL.name, "Store": NATIONAL.store})
    save(form)
    expect(page.get_by_text("✓ Store")).to_be_visible()


def make_setup(page: Page, primary: Site, folder: Path, scripting: bool) -> Path:
    page.get_by_role("link", name="a set-up for each satellite").click()
    page.get_by_label("URL at which the satellite reaches").fill(primary.process.url)
    page.get_by_role("button", name="Make a set-up").click()
    download = page.get_by_role("button", name="Download the file")
    expect(download).to_be_visible()
    look(page, scripting)
    with page.expect_download() as sent:
        download.click()
    sent.value.save_as(folder / sent.value.suggested_filename)
    return folder / "kadavu-health-centre.setup"


def look(page: Page, scripting: bool) -> None:
    """See that everybody can read the page; without scripting nothing can look at it."""
    if scripting:
        expect_accessible(page)
        expect_no_sideways_scrolling(page)


def see(page: Page, sentence: str) -> None:
    """Wait until the page says so, as somebody does who loads it again."""

    def is_said() -> bool:
        page.goto(page.url.partition("#")[0])
        return sentence in page.inner_text("body")

    wait_until(is_said, sentence)
