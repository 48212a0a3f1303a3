"""Real servers, a real line, and a person at each screen: the sync is seen, stopped and mended."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from panel.models.runs import Run
from panel.sync.store.change_feed import count_waiting
from tests.browser.conftest import NewPage
from tests.browser.steps import begin, row, save, sign_in
from tests.conftest import NewDatabase
from tests.real.conftest import NewSite
from tests.support.faulty_line import FaultyLine
from tests.support.line import OPEN, Shape
from tests.support.real_site import KADAVU, NATIONAL, Site, wait_until

RECORDS = 150
# Far away: each batch of ten takes about so long, and there are fifteen.
SLOW = Shape(round_trip_seconds=0.7)
POLL_MILLISECONDS = 5_000


@dataclass(frozen=True)
class Clinic:
    """A satellite that has synchronised once, its primary, and the line between them."""

    primary: Site
    satellite: Site
    line: FaultyLine

    def fill(self) -> None:
        """Let the satellite have something to send, in many small batches."""
        self.satellite.shrink_batches(10)
        with self.satellite.api() as api:
            api.put_many(
                [{"table": "stock", "id": str(one), "data": {"n": one}} for one in range(RECORDS)]
            )

    def run(self) -> Run:
        """Return the newest run."""
        with self.satellite.database.reading() as session:
            return session.scalars(select(Run).order_by(Run.id.desc()).limit(1)).one()

    def wait_until_sent(self, records: int) -> None:
        """Wait until the run that goes on has sent so many."""
        wait_until(lambda: self.run().pushed >= records, "records that are sent")

    def waiting(self) -> int:
        """Return how many records wait to be sent."""
        with self.satellite.database.reading() as session:
            return count_waiting(session)


@pytest.fixture
def clinic(new_site: NewSite, new_sqlite: NewDatabase) -> Iterator[Clinic]:
    primary = new_site(NATIONAL, new_sqlite(True), others=(KADAVU,))
    line = FaultyLine(primary.process.port)
    url = f"http://127.0.0.1:{line.port}/"
    satellite = new_site(KADAVU, new_sqlite(True), primary=primary, url=url)
    assert satellite.sync().result == "well"
    yield Clinic(primary, satellite, line)
    line.close()


def set_interval(page: Page, minutes: int) -> None:
    page.get_by_label("Sync time interval", exact=True).fill(str(minutes))
    save(page.locator("#interval"))


def sync_now(page: Page) -> None:
    page.get_by_role("button", name="Sync now").click()
    expect(page.locator("#run")).to_be_visible()


def test_a_run_is_seen_moving_stopped_by_0_and_finished_later(page: Page, clinic: Clinic) -> None:
    clinic.fill()
    clinic.line.shape(SLOW)
    page.clock.install()
    sign_in(page, clinic.satellite.process)
    sync_now(page)
    run, sent = page.locator("#run"), 0
    for _ in range(2):
        clinic.wait_until_sent(sent + 1)
        page.clock.run_for(POLL_MILLISECONDS)
        expect(run).to_contain_text(re.compile(rf"Syncing now: [1-9]\d* of {RECORDS}"))
        expect(run).not_to_contain_text(f"now: {sent} of")
        sent = int(re.findall(r"\d+", run.inner_text())[0])
    set_interval(page, 0)
    wait_until(lambda: clinic.run().result == "paused", "the end of the batch in hand")
    stopped = clinic.run()
    assert sent <= stopped.pushed < RECORDS
    assert clinic.waiting() == RECORDS - stopped.pushed
    page.clock.run_for(POLL_MILLISECONDS)
    expect(page.locator("#state")).to_contain_text("the interval is 0.")
    expect(run).to_have_count(0)
    clinic.line.shape(OPEN)
    set_interval(page, 10)
    expect(page.locator("#state")).not_to_contain_text("Paused")
    page.get_by_role("button", name="Sync now").click()
    wait_until(lambda: clinic.run().result == "well", "the rest of it")
    assert clinic.waiting() == 0
    assert clinic.run().pushed == RECORDS - stopped.pushed
    own = KADAVU.sync_id
    assert clinic.primary.rows(owner=own) == clinic.satellite.rows(owner=own)


def test_a_wrong_machine_is_refused_cleared_and_syncs_again(
    new_page: NewPage, clinic: Clinic
) -> None:
    satellite, at_clinic, at_primary = clinic.satellite, new_page(), new_page()
    satellite.process.stop()
    satellite.process.environment["SYNC_PANEL_HARDWARE_ID"] = "another-machine"
    satellite.process.start()
    at_clinic.clock.install()
    sign_in(at_clinic, satellite.process)
    sync_now(at_clinic)
    wait_until(lambda: clinic.run().result == "refused", "the refusal")
    at_clinic.clock.run_for(POLL_MILLISECONDS)
    refused = f"has another computer for {KADAVU.name}."
    expect(at_clinic.locator("#state")).to_contain_text(refused)

    begin(at_primary, clinic.primary.process)
    row(at_primary, KADAVU.sync_id).get_by_role("link", name="Edit").click()
    acts = at_primary.locator(".acts")
    acts.get_by_role("button", name="Clear").click()
    expect(acts).to_contain_text(f"Clear the Hardware ID of {KADAVU.name}?")
    acts.get_by_role("button", name="Clear").click()
    expect(acts.get_by_text("Hardware ID")).to_have_count(0)

    at_clinic.get_by_role("button", name="Sync now").click()
    wait_until(lambda: clinic.run().result == "well", "the sync of the new machine")
    at_clinic.clock.run_for(POLL_MILLISECONDS)
    expect(at_clinic.locator("#state")).to_contain_text("All well. Everything is safe")
    expect(row(at_clinic, 1)).to_contain_text("up to date")
    at_primary.reload()
    expect(row(at_primary, KADAVU.sync_id)).to_contain_text("another-…")
