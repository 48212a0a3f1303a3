"""Tables that several sites write: merged field by field, the last writer of a field wins."""

import json
from typing import Any

import pytest

from panel.db import Database
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Quarantined, Record
from panel.models.runs import Run
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.sync.store.records import delete_record, get_record, put_record
from tests.support.cast import ASHA
from tests.support.remote_site import PASSWORD, SITE_ID, RemoteSite, change_of

# The queue of a site is SQL that a planner of each kind reads in its own way.
pytestmark = pytest.mark.both_databases

OTHER_ID = 8


@pytest.fixture
def other(site: RemoteSite, database: Database) -> RemoteSite:
    """A second site of the same primary, on a machine of its own."""
    fields = ServerFields(OTHER_ID, "Labasa", "LAB-01", user_name="labasa", password=PASSWORD)
    with database.writing() as session:
        add_server(session, ASHA, fields)
    return RemoteSite(site.client, user_name="labasa", hardware_id="labasa's machine")


def put_central(database: Database, table: str, record_id: str, **data: Any) -> None:
    with database.writing() as session:
        put_record(session, PRIMARY_SYNC_ID, table, record_id, data)


def record_of(database: Database, table: str, record_id: str) -> tuple[int, Any]:
    with database.reading() as session:
        record = get_record(session, table, record_id)
        assert record.data is not None
        return record.owner, json.loads(record.data)


def pull(site: RemoteSite, cursor: int = 0) -> int:
    """Pull all there is; return the new cursor."""
    cursor, _ = site.pull_central(cursor)
    site.pull_queued()
    return cursor


def push(site: RemoteSite, table: str, record_id: str, **data: Any) -> None:
    site.push(change_of(record_id, data, table=table))


def set_aside(database: Database) -> int:
    with database.reading() as session:
        return session.query(Quarantined).count()


@pytest.mark.parametrize("table", ["clinician", "clinician_store_join", "barcode"])
def test_a_site_changes_a_central_record_and_all_get_it(
    site: RemoteSite, other: RemoteSite, database: Database, table: str
) -> None:
    put_central(database, table, "c1", code="A", note="only the central server knows this")
    cursor = pull(other)
    push(site, table, "c1", code="B", active=True)
    merged = {"code": "B", "note": "only the central server knows this", "active": True}
    assert record_of(database, table, "c1") == (PRIMARY_SYNC_ID, merged)
    assert set_aside(database) == 0
    pull(other, cursor)
    assert other.records["c1"] == merged


def test_a_record_that_one_site_made_is_changed_by_another_and_by_the_primary(
    site: RemoteSite, other: RemoteSite, database: Database
) -> None:
    push(site, "clinician", "c1", code="A", mobile="1")
    cursor = pull(site)
    push(other, "clinician", "c1", code="B")
    put_central(database, "clinician", "c2", code="C")
    pull(site, cursor)
    assert site.records == {"c1": {"code": "B", "mobile": "1"}, "c2": {"code": "C"}}
    with database.writing() as session:
        put_record(session, PRIMARY_SYNC_ID, "clinician", "c1", {"code": "D"})
    cursor = pull(other)
    assert other.records["c1"] == {"code": "D"}


def test_a_site_is_not_told_what_it_wrote_itself(site: RemoteSite) -> None:
    push(site, "barcode", "b1", gtin="1")
    push(site, "name", "p1", type="patient", first="Ana")
    assert site.pull_central() == (0, 0)
    assert site.pull_queued() == 0
    # But all of it is restored.
    site.initialise()
    pull(site)
    assert set(site.records) == {"b1", "p1"}


def test_a_patient_goes_only_to_the_sites_that_wrote_it(
    site: RemoteSite, other: RemoteSite, database: Database
) -> None:
    push(site, "name", "p1", type="patient", first="Ana", last="Vuki")
    pull(other)
    assert other.records == {}
    push(other, "name", "p1", type="patient", first="Anna")
    assert set_aside(database) == 0
    pull(site)
    assert site.records == {"p1": {"type": "patient", "first": "Anna", "last": "Vuki"}}
    # A change at the primary reaches both.
    with database.writing() as session:
        put_record(session, PRIMARY_SYNC_ID, "name", "p1", {"type": "patient", "first": "A."})
    pull(site)
    pull(other)
    assert site.records["p1"] == other.records["p1"] == {"type": "patient", "first": "A."}


def test_a_central_patient_stays_central(
    site: RemoteSite, other: RemoteSite, database: Database
) -> None:
    put_central(database, "name", "p1", type="patient", first="Ana")
    push(site, "name", "p1", first="Anna")
    pull(other)
    assert other.records == {"p1": {"type": "patient", "first": "Anna"}}


def test_a_facility_is_the_primarys_alone(site: RemoteSite, database: Database) -> None:
    put_central(database, "name", "n1", type="facility", name="Kadavu")
    push(site, "name", "n1", type="facility", name="Mine")
    assert record_of(database, "name", "n1")[1]["name"] == "Kadavu"
    assert set_aside(database) == 1


def test_a_patients_join_takes_the_patient_to_the_stores_site(
    site: RemoteSite, other: RemoteSite, database: Database
) -> None:
    put_central(database, "store", "labasa-store", sync_id_remote_site=OTHER_ID)
    pull(other)
    join = {"name_ID": "p1", "store_ID": "labasa-store", "inactive": False}
    site.push(
        change_of("p1", {"type": "patient", "first": "Ana"}, table="name"),
        change_of("j1", join, table="name_store_join"),
    )
    pull(other)
    assert {"p1", "j1"} <= set(other.records)
    # From now on what is written of this patient goes there too.
    push(site, "om_document", "d1", owner_name_ID="p1", data='{"dose":1}')
    push(site, "nameInsuranceJoin", "i1", nameID="p1")
    pull(other)
    assert other.records["d1"] == {"owner_name_ID": "p1", "data": {"dose": 1}}
    assert other.records["i1"] == {"nameID": "p1"}
    push(other, "name", "p1", type="patient", phone="7")
    pull(site)
    assert site.records["p1"] == {"type": "patient", "first": "Ana", "phone": "7"}


def test_an_inactive_join_takes_nobody_anywhere(
    site: RemoteSite, other: RemoteSite, database: Database
) -> None:
    put_central(database, "store", "labasa-store", sync_id_remote_site=OTHER_ID)
    join = {"name_ID": "p1", "store_ID": "labasa-store", "inactive": True}
    push(site, "name", "p1", type="patient")
    push(site, "name_store_join", "j1", **join)
    pull(other)
    assert set(other.records) == {"labasa-store"}


def test_an_activity_log_stays_its_sites_own(
    site: RemoteSite, other: RemoteSite, database: Database
) -> None:
    push(site, "om_activity_log", "l1", type="user_logged_in")
    assert record_of(database, "om_activity_log", "l1")[0] == SITE_ID
    pull(other)
    assert other.records == {}


def test_a_delete_reaches_those_who_have_it(
    site: RemoteSite, other: RemoteSite, database: Database
) -> None:
    push(site, "name", "p1", type="patient", first="Ana")
    push(other, "name", "p1", type="patient", phone="7")
    pull(site)
    with database.writing() as session:
        delete_record(session, PRIMARY_SYNC_ID, "name", "p1")
    pull(site)
    pull(other)
    assert site.records == other.records == {}


def test_the_same_again_changes_nothing(site: RemoteSite, database: Database) -> None:
    push(site, "clinician", "c1", code="A", mobile="1")
    with database.reading() as session:
        before = session.query(Record).one().seq
    push(site, "clinician", "c1", mobile="1", code="A")
    push(site, "clinician", "c1", code="A")
    push(site, "clinician", "c2")
    site.push(change_of("gone", None, "Delete", table="clinician"))
    with database.reading() as session:
        assert get_record(session, "clinician", "c1").seq == before
        assert session.query(Run).order_by(Run.id).first() is not None


def test_of_one_batch_the_changes_of_a_record_are_merged_in_order(
    site: RemoteSite, database: Database
) -> None:
    site.push(
        change_of("c1", {"code": "A", "mobile": "1"}, table="clinician"),
        change_of("c1", None, "Delete", table="clinician"),
        change_of("c1", {"code": "B"}, table="clinician"),
    )
    assert record_of(database, "clinician", "c1") == (PRIMARY_SYNC_ID, {"code": "B"})


def test_what_would_be_too_large_when_merged_is_set_aside(
    site: RemoteSite, database: Database
) -> None:
    push(site, "clinician", "c1", one="x" * 600_000)
    push(site, "clinician", "c1", two="y" * 600_000)
    assert set(record_of(database, "clinician", "c1")[1]) == {"one"}
    assert set_aside(database) == 1
    push(site, "clinician", "c1", two="y")
    assert set_aside(database) == 0


def test_a_satellite_of_ours_alone_writes_what_it_owns(
    site: RemoteSite, other: RemoteSite, database: Database
) -> None:
    """Its records are opaque, and it counts their versions itself."""
    ours = RemoteSite(site.client, app_name="Sync Panel")
    push(ours, "clinician", "c1", code="A")
    assert record_of(database, "clinician", "c1")[0] == SITE_ID
    push(other, "clinician", "c1", code="B")
    assert record_of(database, "clinician", "c1") == (SITE_ID, {"code": "A"})
    assert set_aside(database) == 1
