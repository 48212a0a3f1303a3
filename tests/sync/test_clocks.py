"""Clocks that are wrong: both sides hear of it, and nothing is kept for a shorter time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from sqlalchemy import update

from panel import clock
from panel.models.records import ChangeSequence
from panel.models.runs import Link, Loop
from panel.models.settings import Server
from panel.status.history import read_peer_status
from panel.status.state import read_state
from panel.sync.loop import purge
from tests.conftest import NewDatabase
from tests.support.clock import Clock
from tests.support.two_sides import PrimarySide, SatelliteSide, Side, Tamper

KEEP_DAYS = 90


@pytest.fixture
def primary(new_database: NewDatabase) -> Iterator[PrimarySide]:
    primary = PrimarySide(new_database(True))
    primary.add(7, "Kadavu Health Centre", "KDV-01")
    yield primary
    primary.close()


@pytest.fixture
def kadavu(new_sqlite: NewDatabase, primary: PrimarySide) -> Iterator[SatelliteSide]:
    satellite = SatelliteSide(new_sqlite(True), primary)
    yield satellite
    satellite.close()


def purge_daily(side: Side, time: Clock) -> int:
    """Purge as the loop does, and return the number up to which tombstones are gone."""
    with side.database.writing() as session:
        purge(session, KEEP_DAYS)
        session.execute(update(Loop).values(purged_at=time.now))
        return session.get_one(ChangeSequence, 1).purged_seq


@pytest.mark.both_databases
def test_a_delete_by_a_clock_that_stood_in_the_past_is_kept_its_time(
    primary: PrimarySide, time: Clock
) -> None:
    right = time.now
    primary.put("a", {"n": 1})
    purge_daily(primary, time)
    time.now = datetime(2000, 1, 1, tzinfo=UTC)
    primary.put("a", None)
    time.now = right + timedelta(hours=2)
    assert purge_daily(primary, time) == 0
    for _ in range(KEEP_DAYS - 1):
        time.pass_by(days=1)
        assert purge_daily(primary, time) == 0
    time.pass_by(days=2)
    assert purge_daily(primary, time) == 2


def test_a_delete_that_arrives_is_kept_as_long(
    primary: PrimarySide, kadavu: SatelliteSide, time: Clock
) -> None:
    right = time.now
    kadavu.put("a", {"n": 1})
    kadavu.sync()
    kadavu.put("a", None)
    time.now = datetime(2000, 1, 1, tzinfo=UTC)
    kadavu.sync()
    time.now = right
    assert purge_daily(primary, time) == 0


def test_an_hour_in_the_future_ages_nothing(primary: PrimarySide, time: Clock) -> None:
    primary.put("a", {"n": 1})
    primary.put("a", None)
    purge_daily(primary, time)
    right = time.now
    time.pass_by(days=730)
    assert purge_daily(primary, time) == 0
    time.now = right + timedelta(hours=1)
    assert purge_daily(primary, time) == 0


def test_a_clock_before_this_release_purges_nothing(time: Clock) -> None:
    assert datetime(2000, 1, 1, tzinfo=UTC) < clock.RELEASED_AT < time.now


@pytest.mark.both_databases
def test_a_success_in_the_future_is_none(
    primary: PrimarySide, kadavu: SatelliteSide, time: Clock
) -> None:
    right = time.now
    time.pass_by(days=730)
    kadavu.sync()
    time.now = right
    with primary.database.reading() as session:
        counts = read_state(session, time.now).counts
    assert (counts.total, counts.up_to_date, counts.very_late, counts.not_seen) == (1, 0, 0, 1)
    with kadavu.database.reading() as session:
        state = read_state(session, time.now)
    assert (state.severity, str(state.sentence)) == (
        "late",
        "The last success is dated in the future: a clock was wrong then.",
    )
    kadavu.sync()
    with primary.database.reading() as session:
        assert read_state(session, time.now).counts.up_to_date == 1


class Dated(Tamper):
    """The primary's answers are dated; by default by the right clock."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.headers["Date"] = format_datetime(at.astimezone(UTC), usegmt=True)


def sentences(primary: PrimarySide, kadavu: SatelliteSide, now: datetime) -> tuple[str, str]:
    with kadavu.database.reading() as session:
        here = read_state(session, now).clock
    with primary.database.reading() as session:
        there = read_peer_status(session, session.query(Server).one().id).clock
    return str(here or ""), str(there or "")


@pytest.mark.both_databases
def test_a_clock_that_differs_is_told_on_both_sides(
    primary: PrimarySide, kadavu: SatelliteSide, time: Clock
) -> None:
    kadavu.sync(Dated(time.now - timedelta(seconds=110)))
    kadavu.sync(Dated(time.now - timedelta(seconds=110)))
    assert sentences(primary, kadavu, time.now) == ("", "")
    slow = Dated(time.now + timedelta(minutes=35))
    kadavu.sync(slow)
    kadavu.sync(slow)
    here, there = sentences(primary, kadavu, time.now)
    assert here.startswith("The clock of this server is 35 minutes behind the primary's")
    assert there.startswith("Its clock is 35 minutes behind this server's")
    with kadavu.database.reading() as session:
        told_at = session.get_one(Link, 1).clock_told_at
    time.pass_by(hours=1)
    kadavu.sync(Dated(time.now + timedelta(minutes=35)))
    with kadavu.database.reading() as session:
        assert session.get_one(Link, 1).clock_told_at == told_at
    kadavu.sync(Dated(time.now))
    kadavu.sync(Dated(time.now))
    assert sentences(primary, kadavu, time.now) == ("", "")
