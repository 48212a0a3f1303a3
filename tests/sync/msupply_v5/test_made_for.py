"""Records that the primary makes for a site, or addresses to it, belong to the site."""

import io
import json

import pytest

from panel.db import Database
from panel.errors import Invalid
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Quarantined, Record
from panel.models.runs import Peer, SiteCopy
from panel.models.settings import SyncProtocol
from panel.sync.store.jsonl import export_records, put_lines, write_lines
from panel.sync.store.records import (
    OwnedByAnother,
    OwnerInitialised,
    OwnerUnknown,
    Write,
    get_record,
    put_record,
    write_records,
)
from tests.support.remote_site import SITE_ID, RemoteSite, change_of


def make(database: Database, record_id: str, owner: int | None = None, quantity: int = 1) -> None:
    write = Write("stock", record_id, {"quantity": quantity}, owner=owner)
    with database.writing() as session:
        write_records(session, PRIMARY_SYNC_ID, [write])


def stored(database: Database, record_id: str) -> tuple[int, int | None, str | None]:
    with database.reading() as session:
        record = get_record(session, "stock", record_id)
        return record.owner, record.to, record.data


def test_what_a_site_acknowledged_is_its_own(site: RemoteSite, database: Database) -> None:
    with database.writing() as session:
        put_record(session, PRIMARY_SYNC_ID, "stock", "s1", {"quantity": 1}, SITE_ID)
    # Not before: until then it is the primary's.
    site.push(change_of("s1", {"quantity": 2}))
    with database.reading() as session:
        assert session.query(Quarantined).one().reason == "owned_by_another"
    make(database, "s1", quantity=3)
    site.pull_queued()
    site.push(change_of("s1", {"quantity": 4}))
    assert stored(database, "s1") == (SITE_ID, None, '{"quantity":4}')
    with database.reading() as session:
        assert session.query(Quarantined).count() == 0
    with pytest.raises(OwnedByAnother):
        make(database, "s1", quantity=5)
    # It is not told what it wrote, and gets it back when it is restored.
    assert site.pull_queued() == 0
    site.initialise()
    site.pull_queued()
    assert site.records["s1"] == {"quantity": 4}


def test_what_another_site_addressed_stays_that_sites(site: RemoteSite, database: Database) -> None:
    with database.writing() as session:
        put_record(session, 9, "stock", "s1", {"quantity": 1}, SITE_ID)
    site.pull_queued()
    assert stored(database, "s1")[0] == 9


def test_a_record_made_for_a_site_is_its_own_from_the_start(
    site: RemoteSite, database: Database
) -> None:
    make(database, "s1", SITE_ID)
    make(database, "s2", SITE_ID)
    assert stored(database, "s1") == (SITE_ID, None, '{"quantity":1}')
    # To a site that has initialised it is queued, to one that has not it is handed back.
    site.meet()
    assert set(site.records) == {"s1", "s2"}
    make(database, "s3", SITE_ID)
    assert site.pull_queued() == 1
    site.push(change_of("s3", {"quantity": 7}))
    assert stored(database, "s3") == (SITE_ID, None, '{"quantity":7}')
    assert site.pull_queued() == 0
    with database.reading() as session:
        assert session.query(SiteCopy).count() == 0
    assert site.initialise() == 3
    assert site.pull_queued() == 3


def test_what_the_site_writes_under_that_name_counts(site: RemoteSite, database: Database) -> None:
    make(database, "s1", SITE_ID)
    site.push(change_of("s1", {"quantity": 9}))
    assert stored(database, "s1") == (SITE_ID, None, '{"quantity":9}')


def test_made_again_it_changes_nothing_or_is_refused(database: Database) -> None:
    make(database, "s1", SITE_ID)
    make(database, "s1", SITE_ID)
    with pytest.raises(OwnedByAnother):
        make(database, "s1", SITE_ID, quantity=2)
    make(database, "mine")
    with pytest.raises(OwnedByAnother):
        make(database, "mine", SITE_ID)
    with database.reading() as session:
        assert [row.version for row in session.query(Record).order_by(Record.seq)] == [0, 2]


@pytest.mark.parametrize("owner", [0, -1, True, "7"])
def test_an_owner_is_a_sync_id(database: Database, owner: int) -> None:
    with pytest.raises(Invalid) as refused:
        make(database, "s1", owner)
    assert set(refused.value.problems) == {"owner"}


def test_nobody_makes_records_for_a_server_that_is_not_there(
    database: Database,
) -> None:
    with pytest.raises(OwnerUnknown):
        make(database, "s1", 99)
    with database.reading() as session:
        assert session.query(Record).count() == 0


@pytest.mark.usefixtures("site")
def test_a_satellite_that_would_not_hear_of_it_takes_none(database: Database) -> None:
    with database.writing() as session:
        server_id = session.query(Peer).count() or 1
        session.add(Peer(server_id=server_id, site_uuid="u", protocol=SyncProtocol.OWN))
    with pytest.raises(OwnerInitialised):
        make(database, "s1", SITE_ID)


def test_lines_name_the_owner(site: RemoteSite, database: Database) -> None:
    lines = [
        {"table": "stock", "id": "s1", "data": {"quantity": 1}, "owner": 7.0},
        {"table": "stock", "id": "s2", "data": {"quantity": 1}, "owner": 1},
    ]
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert put_lines(database, PRIMARY_SYNC_ID, io.BytesIO(text), lambda _: None) == (2, 2)
    assert stored(database, "s1")[0] == SITE_ID
    assert stored(database, "s2")[0] == PRIMARY_SYNC_ID
    site.meet()
    assert set(site.records) == {"s1"}


def test_an_export_of_a_primary_can_be_put_again(site: RemoteSite, database: Database) -> None:
    """It says whose each record is, and which stay at the primary."""
    patient = {"syncOutId": "1", "tableName": "name", "recordId": "p1", "action": "insert"}
    site.push({**patient, "recordData": {"type": "patient"}}, change_of("s1", {"quantity": 1}))
    make(database, "mine")
    file = io.BytesIO()
    with database.reading() as session:
        write_lines(export_records(session), file)
    file.seek(0)
    assert put_lines(database, PRIMARY_SYNC_ID, file, lambda _: None) == (3, 0)
