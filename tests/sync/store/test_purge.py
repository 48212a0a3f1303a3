"""What is older than the kept days goes, and nothing that somebody still needs."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from panel import clock
from panel.db import Database
from panel.models.records import ChangeSequence, Record
from panel.models.runs import Applicant, Peer, Run
from panel.models.settings import Server
from panel.sync.loop import purge
from panel.sync.store import records
from panel.sync.store.records import Write

pytestmark = pytest.mark.both_databases

PRIMARY, SATELLITE = 1, 7
KEPT = timedelta(days=90)


def write(database: Database, own_sync_id: int, *writes: Write) -> None:
    with database.writing() as session:
        records.write_records(session, own_sync_id, writes)


def later(monkeypatch: pytest.MonkeyPatch, delta: timedelta) -> None:
    then = clock.now() + delta
    monkeypatch.setattr(clock, "now", lambda: then)


def count(database: Database, table: type) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def purged_seq(database: Database) -> int:
    with database.writing() as session:
        purge(session, KEPT.days)
    with database.reading() as session:
        return session.get_one(ChangeSequence, 1).purged_seq


def test_old_tombstones_go_and_it_is_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, PRIMARY, *(Write("item", key, {}) for key in "abc"))
    write(database, PRIMARY, Write("item", "a", None))
    later(monkeypatch, KEPT + timedelta(hours=1))
    write(database, PRIMARY, Write("item", "b", None))
    assert purged_seq(database) == 4
    assert count(database, Record) == 2
    assert purged_seq(database) == 4


def test_a_tombstone_that_waits_to_be_pushed_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, SATELLITE, Write("item", "a", {}), Write("item", "a", None))
    later(monkeypatch, 2 * KEPT)
    assert purged_seq(database) == 0
    assert count(database, Record) == 1


def test_old_runs_applicants_and_removed_servers_go(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    keys = {"name_key": "", "store_key": "", "user_name_key": ""}
    with database.writing() as session:
        for number in (2, 3):
            server = Server(id=number, sync_id=number, name="", store="", **keys)
            session.add(server)
            session.flush()
            session.add(Peer(server_id=number, site_uuid=str(number)))
        server.removed_at = now
        session.add(Run(other=2, started_at=now, ended_at=now))
        session.add(
            Applicant(
                sync_id=9, name="", store="", hardware_id="", address="", first_at=now, last_at=now
            )
        )
    purged_seq(database)
    assert [count(database, table) for table in (Server, Peer, Run, Applicant)] == [2, 2, 1, 1]
    later(monkeypatch, KEPT + timedelta(hours=1))
    purged_seq(database)
    assert [count(database, table) for table in (Server, Peer, Run, Applicant)] == [1, 1, 0, 0]
