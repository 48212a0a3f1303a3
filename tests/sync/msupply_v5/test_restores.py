"""A site or the primary is restored from a backup: both notice over v5, and nothing is lost."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from panel import clock
from panel.db import Database
from panel.models.base import PRIMARY_SYNC_ID, Base
from panel.models.records import ChangeSequence, HistoryReason, Quarantined, Record
from panel.models.runs import Peer, Run
from panel.sync.loop import purge
from panel.sync.store.records import delete_record, put_record
from panel.sync.store.sequence import begin_generation, present_seq
from tests.support.remote_site import SITE_ID, RemoteSite, change_of, error_of, message_of
from tests.sync.msupply_v5.test_both_ours import Satellite, contents, new_satellite, put, satellite

# The queue of a site is SQL that a planner of each kind reads in its own way.
pytestmark = pytest.mark.both_databases

__all__ = ["new_satellite", "satellite"]


ANOTHER = 9

# Activity is kept as it was written.
TABLES = [table for table in Base.metadata.sorted_tables if table.name != "activity"]


class Backup:
    """All rows of a database as they were."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as session:
            self._rows: dict[str, list[dict[str, Any]]] = {
                table.name: [dict(row) for row in session.execute(select(table)).mappings()]
                for table in TABLES
            }

    def restore(self, noticed: bool = True) -> None:
        """Put the rows back; ``noticed`` begins a generation, as a start with a witness does."""
        with self._database.reading() as session:
            count = present_seq(session)
        with self._database.writing() as session:
            for table in reversed(TABLES):
                session.execute(delete(table))
            for table in TABLES:
                if rows := self._rows[table.name]:
                    session.execute(insert(table), rows)
        if noticed:
            with self._database.writing() as session:
                begin_generation(session, HistoryReason.RESTORED, count)


def change(database: Database, owner: int, record_id: str, name: str) -> None:
    with database.writing() as session:
        put_record(session, owner, "item", record_id, {"name": name})


def address(database: Database, record_id: str, name: str) -> None:
    """Let another satellite's record for the site be as it pushed it."""
    with database.writing() as session:
        put_record(session, ANOTHER, "item", record_id, {"name": name}, SITE_ID)


def refusal_of(database: Database) -> tuple[str, Any]:
    with database.reading() as session:
        peer = session.query(Peer).one()
        return peer.refusal, peer.refusal_values


def run_cycle(site: RemoteSite, cursor: int, *changes: Any) -> int:
    """Go through a whole cycle; return the new cursor."""
    site.get("site")
    site.push(*changes)
    cursor, _ = site.pull_central(cursor)
    site.pull_queued()
    return cursor


# --- a site of mSupply ----------------------------------------------------------------------------


def test_a_restored_site_is_told_to_initialise_and_the_row_says_why(
    site: RemoteSite, database: Database
) -> None:
    put(database, PRIMARY_SYNC_ID, "a", "b")
    site.get("site")
    site.initialise()
    early = run_cycle(site, 0)
    put(database, PRIMARY_SYNC_ID, "c")
    run_cycle(site, early, change_of("s1", {"quantity": 5}))

    site.get("site")
    site.push(change_of("s2", {"quantity": 6}))
    response = site.call("GET", f"central_records?cursor={early}&limit=500")
    assert error_of(response) == (409, "initialise_needed")
    assert "Delete the site's data folder" in message_of(response)
    assert refusal_of(database) == ("initialise_needed", {"reason": "site_restored"})
    with database.reading() as session:
        runs = session.scalars(select(Run.reason).where(Run.reason != "")).all()
    assert runs == ["initialise_needed"]
    # What it pushed is here already, and comes back.
    site.records.clear()
    site.get("site")
    assert site.initialise() == 2
    run_cycle(site, 0)
    assert set(site.records) == {"a", "b", "c", "s1", "s2"}
    assert refusal_of(database) == ("", None)


def test_a_request_that_comes_again_is_no_restore(site: RemoteSite, database: Database) -> None:
    put(database, PRIMARY_SYNC_ID, "a", "b", "c")
    small = RemoteSite(site.client, pull_limit=1)
    cursor = run_cycle(small, 0)
    site.get("central_records?cursor=1&limit=1")
    run_cycle(small, cursor)
    # The same cursor as before is the usual case.
    run_cycle(small, cursor)
    assert refusal_of(database) == ("", None)


def test_a_restored_primary_skips_no_number_and_says_what_may_be_missing(
    site: RemoteSite, database: Database
) -> None:
    put(database, PRIMARY_SYNC_ID, "a", "b")
    site_id = site.get("site")["id"]
    site.initialise()
    cursor = run_cycle(site, 0)
    backup = Backup(database)
    put(database, PRIMARY_SYNC_ID, "lost-1", "lost-2", "lost-3")
    cursor = run_cycle(site, cursor, change_of("mid", {"quantity": 5}))
    backup.restore()

    put(database, PRIMARY_SYNC_ID, *(f"new-{number}" for number in range(12)))
    cursor = run_cycle(site, cursor)
    assert len([one for one in site.records if one.startswith("new-")]) == 12
    assert site.get("site")["id"] == site_id
    code, values = refusal_of(database)
    assert (code, list(values)) == ("sent_to_lost_past", ["since"])
    # It stays until somebody has seen to it, or the site took what is here for all there is.
    run_cycle(site, cursor)
    assert refusal_of(database)[0] == "sent_to_lost_past"
    site.initialise()
    site.get("site")
    assert refusal_of(database) == ("", None)


def test_a_restore_of_the_primary_that_nobody_noticed_shows_by_the_cursor(
    site: RemoteSite, database: Database
) -> None:
    put(database, PRIMARY_SYNC_ID, "a")
    cursor = run_cycle(site, 0)
    backup = Backup(database)
    put(database, PRIMARY_SYNC_ID, "b", "c")
    cursor = run_cycle(site, cursor)
    backup.restore(noticed=False)
    # The numbers are used again, for other records.
    put(database, PRIMARY_SYNC_ID, "d", "e", "f")
    site.get("site")
    response = site.call("GET", f"central_records?cursor={cursor}&limit=500")
    assert error_of(response) == (409, "initialise_needed")
    assert "Ask whoever looks after the central server" in message_of(response)
    assert refusal_of(database) == ("initialise_needed", {"reason": "another_past"})


# --- a satellite of ours --------------------------------------------------------------------------


@pytest.mark.parametrize("witnessed", [False, True])
def test_a_restored_satellite_gets_back_what_it_pushed_and_got(
    satellite: Satellite, database: Database, witnessed: bool
) -> None:
    put(database, PRIMARY_SYNC_ID, "a")
    put(satellite.database, SITE_ID, "s1", "s2")
    satellite.sync()
    backup = Backup(satellite.database)
    put(satellite.database, SITE_ID, "s3")
    change(satellite.database, SITE_ID, "s1", "changed before the restore")
    with satellite.database.writing() as session:
        delete_record(session, SITE_ID, "item", "s2")
    satellite.sync()
    put(database, PRIMARY_SYNC_ID, "for-kadavu", to=SITE_ID)
    put(database, PRIMARY_SYNC_ID, "b")
    satellite.sync()
    whole = contents(database)
    backup.restore(noticed=witnessed)

    run = satellite.sync()
    assert (run.result, run.reason) == ("well", "")
    assert contents(satellite.database) == contents(database) == whole
    again = satellite.sync()
    assert (again.pushed, again.pulled) == (0, 0)


# What it writes since the restore gets the numbers that the lost records had.
@pytest.mark.parametrize("since", [[], ["s2"]])
@pytest.mark.parametrize("syncs", [1, 2])
def test_pushes_alone_show_that_a_satellite_was_restored(
    satellite: Satellite, database: Database, syncs: int, since: list[str]
) -> None:
    satellite.sync()
    backup = Backup(satellite.database)
    put(satellite.database, SITE_ID, "s1")
    for _ in range(syncs):
        satellite.sync()
    backup.restore(noticed=False)
    put(satellite.database, SITE_ID, *since)
    satellite.sync()
    assert contents(satellite.database) == contents(database)
    assert set(contents(database)) == {"s1", *since}


def test_what_was_written_since_the_restore_counts_and_the_other_content_is_kept(
    satellite: Satellite, database: Database
) -> None:
    put(satellite.database, SITE_ID, "s1")
    satellite.sync()
    backup = Backup(satellite.database)
    change(satellite.database, SITE_ID, "s1", "pushed before the restore")
    satellite.sync()
    satellite.sync()
    backup.restore()
    change(satellite.database, SITE_ID, "s1", "written since")
    assert satellite.sync().result == "well"
    assert contents(satellite.database) == contents(database) == {"s1": '{"name":"written since"}'}
    with satellite.database.reading() as session:
        aside = session.query(Quarantined).one()
    assert (aside.reason, aside.data) == ("replaced", '{"name":"pushed before the restore"}')


@pytest.mark.parametrize("cut_after", range(1, 12))
def test_a_recovery_that_breaks_anywhere_ends_whole(
    satellite: Satellite, database: Database, cut_after: int
) -> None:
    put(database, PRIMARY_SYNC_ID, "a")
    put(satellite.database, SITE_ID, "s1")
    satellite.sync()
    backup = Backup(satellite.database)
    change(satellite.database, SITE_ID, "s1", "changed before the restore")
    put(satellite.database, SITE_ID, "s2")
    put(database, PRIMARY_SYNC_ID, "for-kadavu", to=SITE_ID)
    put(database, PRIMARY_SYNC_ID, "b")
    satellite.sync()
    satellite.sync()
    whole = contents(database)
    backup.restore()
    satellite.sync(exchanges=cut_after)
    assert satellite.sync().result == "well"
    assert contents(satellite.database) == contents(database) == whole


def test_a_restored_primary_gets_back_what_its_satellite_pushed(
    satellite: Satellite, database: Database
) -> None:
    put(database, PRIMARY_SYNC_ID, "a")
    put(satellite.database, SITE_ID, "s1", "s2")
    satellite.sync()
    backup = Backup(database)
    put(satellite.database, SITE_ID, "mid")
    change(satellite.database, SITE_ID, "s1", "changed since the backup")
    with satellite.database.writing() as session:
        delete_record(session, SITE_ID, "item", "s2")
    put(database, PRIMARY_SYNC_ID, "lost")
    satellite.sync()
    backup.restore()

    put(database, PRIMARY_SYNC_ID, *(f"new-{number}" for number in range(12)))
    run = satellite.sync()
    assert (run.result, run.reason) == ("well", "")
    assert contents(satellite.database) == contents(database)
    expected = {"a", "s1", "mid", *(f"new-{number}" for number in range(12))}
    assert set(contents(database)) == expected
    assert contents(database)["s1"] == '{"name":"changed since the backup"}'
    again = satellite.sync()
    assert (again.pushed, again.pulled) == (0, 0)


def test_what_another_satellite_owns_is_not_sent_back_to_a_restored_primary(
    satellite: Satellite, database: Database
) -> None:
    for one in ("t1", "t2"):
        address(database, one, "first")
    satellite.sync()
    backup = Backup(database)
    satellite.sync()
    backup.restore()
    # Meanwhile the other one changed the first, and the second is not here again yet.
    address(database, "t1", "second")
    with database.writing() as session:
        session.execute(delete(Record).where(Record.record_id == "t2"))

    assert satellite.sync().result == "well"
    assert contents(satellite.database) == contents(database) == {"t1": '{"name":"second"}'}
    address(database, "t2", "first")
    assert satellite.sync().result == "well"
    assert contents(satellite.database) == contents(database)
    assert set(contents(database)) == {"t1", "t2"}
    with database.reading() as session:
        assert session.query(Quarantined).count() == 0
        assert set(session.scalars(select(Record.owner))) == {ANOTHER}


def test_what_a_restored_primary_wrote_since_is_kept_beside_what_the_site_has(
    satellite: Satellite, database: Database
) -> None:
    satellite.sync()
    put(database, PRIMARY_SYNC_ID, "for-kadavu", to=SITE_ID)
    backup = Backup(database)
    satellite.sync()
    change(satellite.database, SITE_ID, "for-kadavu", "the site's")
    satellite.sync()
    backup.restore()
    with database.writing() as session:
        data = {"name": "the primary's"}
        put_record(session, PRIMARY_SYNC_ID, "item", "for-kadavu", data, SITE_ID)

    assert satellite.sync().result == "well"
    assert (
        contents(database)
        == contents(satellite.database)
        == {"for-kadavu": '{"name":"the site\'s"}'}
    )
    with satellite.database.reading() as session:
        aside = session.query(Quarantined).one()
    assert (aside.reason, aside.data) == ("replaced", '{"name":"the primary\'s"}')


@pytest.mark.parametrize("noticed", [False, True])
@pytest.mark.parametrize("cut_after", [2, 4, 100])
def test_where_both_sides_were_restored_neither_content_is_lost(
    satellite: Satellite, database: Database, noticed: bool, cut_after: int
) -> None:
    satellite.sync()
    change(satellite.database, SITE_ID, "s1", "before the backup of the satellite")
    satellites = Backup(satellite.database)
    change(satellite.database, SITE_ID, "s1", "pushed before the backup of the primary")
    satellite.sync()
    primarys = Backup(database)
    put(database, PRIMARY_SYNC_ID, "lost")
    satellites.restore(noticed)
    primarys.restore()

    satellite.sync(exchanges=cut_after)
    assert satellite.sync().result == "well"
    assert contents(satellite.database) == contents(database)
    with satellite.database.reading() as session:
        aside = session.query(Quarantined).one()
    assert {contents(database)["s1"], aside.data} == {
        '{"name":"before the backup of the satellite"}',
        '{"name":"pushed before the backup of the primary"}',
    }


# --- tombstones -----------------------------------------------------------------------------------


@pytest.fixture
def old_delete(database: Database) -> Callable[[str], None]:
    def delete_long_ago(record_id: str) -> None:
        with database.writing() as session:
            delete_record(session, PRIMARY_SYNC_ID, "item", record_id)
            record = session.query(Record).filter_by(record_id=record_id).one()
            record.changed_at = clock.now() - timedelta(days=100)

    return delete_long_ago


def test_tombstones_stay_until_every_v5_site_has_read_them(
    site: RemoteSite, database: Database, old_delete: Callable[[str], None]
) -> None:
    put(database, PRIMARY_SYNC_ID, "a", "b", "c")
    cursor = run_cycle(site, 0)
    cursor = run_cycle(site, cursor)
    old_delete("a")
    for purged in (0, 4):
        with database.writing() as session:
            purge(session, keep_days=30)
        with database.reading() as session:
            assert session.get_one(ChangeSequence, 1).purged_seq == purged
        cursor = run_cycle(site, cursor)
    assert set(site.records) == {"b", "c"}


def test_a_site_that_never_read_anything_keeps_no_tombstone(
    site: RemoteSite, database: Database, old_delete: Callable[[str], None]
) -> None:
    put(database, PRIMARY_SYNC_ID, "a", "b")
    site.meet()
    old_delete("a")
    with database.writing() as session:
        purge(session, keep_days=30)
    with database.reading() as session:
        assert session.query(Record).count() == 1
