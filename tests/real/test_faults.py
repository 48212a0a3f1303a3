"""A line that breaks in every way: the screen says why, and once it is good all has arrived."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex

import pytest
from sqlalchemy import delete

from panel.models.runs import Run
from tests.conftest import CopyOf
from tests.real.conftest import sites_in
from tests.support.faulty_line import Answer, Cut, Fault, FaultyLine, Stall, page
from tests.support.line import CLINIC, OPEN
from tests.support.real_site import KADAVU, NATIONAL, Site
from tests.support.screen import Screen

RECORDS = 25


@dataclass(frozen=True)
class Clinic:
    """A satellite and its primary, with a line between them that the test may spoil."""

    primary: Site
    satellite: Site
    line: FaultyLine
    screen: Screen

    def fill(self, photo_bytes: int = 50) -> None:
        """Give both sides something to send that no compression makes short."""
        for site, table in ((self.primary, "items"), (self.satellite, "stock")):
            size = photo_bytes if site is self.primary else 50
            with site.api() as api:
                api.put_many(
                    [
                        {"table": table, "id": str(number), "data": {"photo": token_hex(size)}}
                        for number in range(RECORDS)
                    ]
                )

    def ends_well(self) -> None:
        """Check that, the line being good, one run brings everything to both sides."""
        self.line.mend()
        run = self.satellite.sync()
        assert (run.result, run.reason) == ("well", "")
        assert self.primary.rows(owner=KADAVU.sync_id) == self.satellite.rows(owner=KADAVU.sync_id)
        assert self.primary.central() == self.satellite.central()
        assert len(self.satellite.rows()) == 2 * RECORDS
        assert self.satellite.sync().pushed == 0
        assert "All well." in self.screen.words()


@pytest.fixture(scope="module", params=[60.0])
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_copy: CopyOf
) -> Iterator[Clinic]:
    """A primary and a satellite for all tests of this module.

    The parameter says after how many seconds without a byte the satellite gives the line up.
    """
    folder = tmp_path_factory.mktemp("clinic")
    with sites_in(folder) as new_site:
        primary = new_site(NATIONAL, sqlite_copy(folder / "primary.sqlite3"), others=(KADAVU,))
        line = FaultyLine(primary.process.port)
        satellite = new_site(
            KADAVU,
            sqlite_copy(folder / "satellite.sqlite3"),
            primary=primary,
            url=f"http://127.0.0.1:{line.port}/",
            constants={"panel.sync.transport.http.SILENCE_SECONDS": request.param},
        )
        yield Clinic(primary, satellite, line, Screen(satellite.process.url))
        line.close()


@pytest.fixture
def clinic(servers: Clinic) -> Iterator[Clinic]:
    """The servers of the module, with a good line and no runs that the screen could show."""
    assert servers.satellite.sync().result == "well"
    with servers.satellite.database.writing() as session:
        session.execute(delete(Run))
    yield servers
    servers.line.shape(OPEN)
    servers.line.mend()


PORTAL = page("200 OK", "text/html", "<h1>Welcome to the hotel</h1>")
AWAY = page("302 Found\r\nLocation: https://portal.example.org/", "text/html", "")

FAULTS = {
    "cut before a byte came": (Cut(0), "The line to 127.0.0.1 broke."),
    "cut in the answer's head": (Cut(30), "The line to 127.0.0.1 broke."),
    "cut in the answer's body": (Cut(300), "The line to 127.0.0.1 broke."),
    "cut before a byte left": (Cut(0, up=True), "The line to 127.0.0.1 broke."),
    "cut in the request": (Cut(200, up=True), "The line to 127.0.0.1 broke."),
    "a proxy without a server": (
        page("502 Bad Gateway", "text/html", "<h1>Bad gateway</h1>"),
        "The primary had a problem of its own (HTTP 502).",
    ),
    "a server out of order": (
        page("500 Internal Server Error", "application/json", "{}"),
        "The primary had a problem of its own (HTTP 500).",
    ),
    "a portal": (PORTAL, "Something answers at this address, but it is no sync server."),
    "a portal elsewhere": (AWAY, "The address leads elsewhere, to https://portal.example.org/."),
    "garbage": (
        Answer(bytes(range(256))),
        "Something answers at this address, but it is no sync server.",
    ),
    "garbage in a body": (
        page("200 OK\r\nContent-Encoding: br", "application/json", "\x01garbage"),
        "Something answers at this address, but it is no sync server.",
    ),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_broken_line_is_named_and_does_no_harm(clinic: Clinic, fault: Fault, reason: str) -> None:
    clinic.fill()
    clinic.line.spoil(fault)
    run = clinic.satellite.sync()
    assert run.result == "failed"
    assert "no connection" in clinic.screen.words()
    assert reason in clinic.screen.words()
    assert reason in clinic.screen.words("/runs")
    clinic.ends_well()


@pytest.mark.parametrize("servers", [2.0], indirect=True)
@pytest.mark.parametrize("after_bytes", [0, 250])
def test_a_line_without_a_byte_is_given_up_and_does_no_harm(
    clinic: Clinic, after_bytes: int
) -> None:
    clinic.fill()
    clinic.line.spoil(Stall(after_bytes))
    assert clinic.satellite.sync().result == "failed"
    assert "127.0.0.1 did not answer in time." in clinic.screen.words()
    clinic.ends_well()


def test_a_primary_that_is_down_is_named_and_does_no_harm(clinic: Clinic) -> None:
    clinic.fill()
    clinic.line.refuse()
    assert clinic.satellite.sync().result == "failed"
    assert "127.0.0.1 cannot be reached, or nothing listens there." in clinic.screen.words()
    clinic.ends_well()


def test_an_answer_that_is_lost_again_and_again_doubles_nothing(clinic: Clinic) -> None:
    """The primary takes what was pushed every time, and the satellite never hears of it."""
    clinic.fill()
    clinic.line.spoil(Cut(0))
    for _ in range(3):
        assert clinic.satellite.sync().result == "failed"
    clinic.ends_well()


@pytest.mark.parametrize("servers", [4.0], indirect=True)
def test_a_slow_line_is_no_fault(clinic: Clinic) -> None:
    """50 kbit/s and 800 ms: an answer takes longer than the line may be silent, and arrives."""
    clinic.fill(photo_bytes=1_200)
    clinic.line.shape(CLINIC)
    run = clinic.satellite.sync()
    assert (run.result, run.reason) == ("well", "")
    assert run.ended_at is not None
    assert run.ended_at - run.started_at > timedelta(seconds=4)
    clinic.line.shape(OPEN)
    clinic.ends_well()
