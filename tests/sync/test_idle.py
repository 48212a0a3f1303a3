"""The idle exchange: nothing is written at once, nothing is lost, and whatever changes is heard."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from panel.models.runs import Peer
from panel.models.settings import Server, Settings
from panel.preferences.interval import set_interval
from panel.sync.loop import purge
from tests.support.cast import ASHA
from tests.support.clock import Clock
from tests.support.two_sides import PrimarySide, SatelliteSide, Tamper

# The row of kadavu at the primary.
ROW = 1


@pytest.fixture
def in_step(kadavu: SatelliteSide, time: Clock) -> SatelliteSide:
    """A satellite that has initialised, and asked until nothing of it was left to store."""
    for _ in range(3):
        time.pass_by(minutes=5)
        assert kadavu.sync().result == "well"
    return kadavu


@contextmanager
def being_written(primary: PrimarySide) -> Iterator[None]:
    """Keep everybody else from writing to the primary's settings, list and sequence."""
    with primary.database.writing() as session:
        session.get_one(Settings, 1, with_for_update=True)
        session.get_one(Server, ROW, with_for_update=True)
        session.execute(text("UPDATE clock SET seq = seq"))
        yield


def contact(primary: PrimarySide) -> tuple[datetime | None, datetime | None]:
    row = primary.row(7)
    return row.last_contact_at, row.last_success_at


@pytest.mark.both_databases
def test_a_satellite_in_step_waits_for_no_writer(
    primary: PrimarySide, in_step: SatelliteSide
) -> None:
    with being_written(primary):
        assert in_step.sync().result == "well"


@pytest.mark.both_databases
def test_its_contact_is_remembered_and_written_later(
    primary: PrimarySide, in_step: SatelliteSide, time: Clock
) -> None:
    before = contact(primary)
    time.pass_by(minutes=5)
    in_step.sync()
    assert contact(primary) == before
    primary.database.write_memories(5)
    assert contact(primary) == (time(), time())


def test_a_server_that_stops_writes_what_it_remembers(
    primary: PrimarySide, in_step: SatelliteSide, time: Clock
) -> None:
    time.pass_by(minutes=5)
    in_step.sync()
    primary.database.close()
    assert contact(primary) == (time(), time())


def test_a_later_contact_is_not_overwritten(
    primary: PrimarySide, in_step: SatelliteSide, time: Clock
) -> None:
    time.pass_by(minutes=5)
    in_step.sync()
    # As another process writes it, or an exchange that moves something.
    later = time() + timedelta(minutes=1)
    with primary.database.writing() as session:
        session.get_one(Server, ROW).last_contact_at = later
    at = time()
    primary.database.write_memories(5)
    assert contact(primary) == (later, at)


@pytest.mark.both_databases
@pytest.mark.parametrize("to", [None, 7])
def test_news_arrive(primary: PrimarySide, in_step: SatelliteSide, to: int | None) -> None:
    primary.put("news", {"n": 1}, to=to)
    assert in_step.sync().pulled == 1
    assert in_step.get("news") == {"n": 1}


def test_it_hears_at_once_what_keeps_it_from_syncing(
    primary: PrimarySide, in_step: SatelliteSide
) -> None:
    def told(row: type[Peer | Server | Settings], name: str, value: object) -> str:
        with primary.database.writing() as session:
            found = session.get_one(row, 1)
            before = getattr(found, name)
            setattr(found, name, value)
        reason = in_step.sync().reason
        with primary.database.writing() as session:
            setattr(session.get_one(row, 1), name, before)
        return reason

    assert told(Server, "url", "https://elsewhere.example.org") == "sync_disabled"
    assert told(Settings, "url", "https://elsewhere.example.org") == "sync_disabled"
    assert told(Settings, "name", "Another Store") == "identity_differs"
    assert told(Peer, "is_shared", True) == "two_machines"
    with primary.database.writing() as session:
        set_interval(session, ASHA, 0, session.get_one(Settings, 1).interval_version)
    assert in_step.sync().reason == "sync_paused"


def test_it_clears_the_refusal_of_its_last_call(
    primary: PrimarySide, in_step: SatelliteSide
) -> None:
    with primary.database.writing() as session:
        session.get_one(Peer, ROW).refusal = "identity_differs"
    in_step.sync()
    with primary.database.reading() as session:
        assert session.get_one(Peer, ROW).refusal == ""


@pytest.mark.both_databases
def test_changes_for_others_cost_it_nothing_until_the_next_day(
    primary: PrimarySide, in_step: SatelliteSide, levuka: SatelliteSide, time: Clock
) -> None:
    def cursor() -> int:
        with primary.database.reading() as session:
            return session.get_one(Peer, ROW).central_offered

    before = cursor()
    levuka.put_many(20)
    levuka.sync()
    for _ in range(2):
        time.pass_by(minutes=5)
        in_step.sync()
        with being_written(primary):
            assert in_step.sync().result == "well"
    assert cursor() == before
    time.pass_by(days=1)
    in_step.sync()
    assert cursor() > before


def test_tombstones_for_others_do_not_make_it_initialise(
    primary: PrimarySide, in_step: SatelliteSide, levuka: SatelliteSide, time: Clock
) -> None:
    levuka.put("gone", {"n": 1})
    levuka.sync()
    levuka.put("gone", None)
    levuka.sync()
    for _ in range(4):
        time.pass_by(days=1)
        in_step.sync()
        primary.database.write_memories(5)
    with primary.database.writing() as session:
        purge(session, 1)
    assert in_step.sync(tamper := Tamper()).result == "well"
    assert tamper.exchanges == 1
