"""A remote site goes through the whole cycle of v5, in its client's order."""

import gzip
import json
from typing import Any

import pytest
from sqlalchemy import delete

from panel.activity.log import Actor
from panel.db import Database
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Quarantined, Record
from panel.models.runs import Acknowledged, Peer, Run
from panel.models.settings import Server
from panel.operations.quarantine_acts import RetryResult, retry_record
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.sync.store.records import delete_record, get_record, put_record
from tests.support.cast import ASHA
from tests.support.remote_site import SITE_ID, Json, RemoteSite, change_of


def put_central(database: Database, *ids: str, to: int | None = None) -> None:
    with database.writing() as session:
        for one in ids:
            put_record(session, PRIMARY_SYNC_ID, "item", one, {"name": f"Item {one}"}, to)


def owned_by_site(database: Database, record_id: str) -> str | None:
    with database.reading() as session:
        record = get_record(session, "stock", record_id)
        assert record.owner == SITE_ID
        return record.data


def peer_of(database: Database) -> Peer:
    with database.reading() as session:
        return session.query(Peer).one()


def test_a_site_learns_who_it_is_and_its_id_stays_the_same(site: RemoteSite) -> None:
    first = site.get("site")
    assert first.pop("id")
    assert first == {
        "siteId": SITE_ID,
        "code": "KDV-01",
        "name": "Kadavu Health Centre",
        "initialisationStatus": "new",
        "isOmSupplyCentralServer": True,
        "omSupplyCentralServerUrl": "",
        "mSupplyCentralSiteId": 1,
    }
    assert site.get("site")["id"] == site.get("site")["id"]


@pytest.mark.both_databases
def test_the_whole_cycle_moves_everything_once(site: RemoteSite, database: Database) -> None:
    put_central(database, "a", "b", "c", "d")
    put_central(database, "for-kadavu", to=SITE_ID)
    with database.writing() as session:
        add_server(session, ASHA, ServerFields(9, "Levuka", "LEV-01"))
    put_central(database, "for-another", to=9)

    site.get("site")
    assert site.initialise() == 1
    site.push(change_of("s1", {"quantity": 5}), change_of("s2", {"quantity": 6}), batch=1)
    cursor, central = site.pull_central()
    assert (central, site.pull_queued()) == (4, 1)
    assert set(site.records) == {"a", "b", "c", "d", "for-kadavu"}
    assert owned_by_site(database, "s2") == '{"quantity":6}'
    assert site.get("site")["initialisationStatus"] == "completed"

    site.push()
    assert site.pull_central(cursor) == (cursor, 0)
    assert site.pull_queued() == 0


def test_batches_of_three_arrive_in_order(site: RemoteSite, database: Database) -> None:
    small = RemoteSite(site.client, pull_limit=3)
    put_central(database, *"abcdefgh")
    put_central(database, *"ijklmno", to=SITE_ID)
    small.initialise()
    assert small.pull_central()[1] == 8
    assert small.pull_queued() == 7
    assert "".join(small.records) == "abcdefghijklmno"


@pytest.mark.both_databases
def test_deletes_travel_both_ways(site: RemoteSite, database: Database) -> None:
    put_central(database, "a", "b")
    put_central(database, "c", to=SITE_ID)
    site.initialise()
    cursor, _ = site.pull_central()
    with database.writing() as session:
        delete_record(session, PRIMARY_SYNC_ID, "item", "a")
        delete_record(session, PRIMARY_SYNC_ID, "item", "c")
    site.push(change_of("s1", {"quantity": 5}), change_of("s1", None, "Delete"))
    site.pull_central(cursor)
    site.pull_queued()
    assert set(site.records) == {"b"}
    site.initialise()
    queued = site.get("queued_records?limit=500")["data"]
    assert ("s1", "delete") in [(change["recordId"], change["action"]) for change in queued]


@pytest.mark.both_databases
def test_a_restored_machine_gets_its_own_back(site: RemoteSite, database: Database) -> None:
    put_central(database, "for-kadavu", to=SITE_ID)
    site.initialise()
    site.pull_queued()
    site.push(change_of("s1", {"quantity": 5}), change_of("s2", {"quantity": 6}))
    with database.writing() as session:
        session.query(Server).one().hardware_id = None

    fresh = site.on_another_machine()
    assert fresh.get("site")["initialisationStatus"] == "new"
    assert fresh.initialise() == 3
    # The queue is prepared: with "started" a machine that begins anew would not ask again.
    assert fresh.get("site")["initialisationStatus"] == "completed"
    assert fresh.pull_queued() == 3
    assert fresh.records["s1"] == {"quantity": 5}
    assert fresh.get("site")["initialisationStatus"] == "completed"
    assert fresh.pull_queued() == 0


def test_a_restore_that_is_interrupted_and_begun_anew_is_whole(site: RemoteSite) -> None:
    """A data folder is deleted after one acknowledged batch, and the same machine begins again."""
    site.push(*(change_of(f"s{number}", {"quantity": number}) for number in range(9)))
    assert site.initialise() == 9
    batch = site.get("queued_records?limit=4")["data"]
    site.acknowledge(*(change["syncOutId"] for change in batch))

    site.records.clear()
    assert site.get("site")["initialisationStatus"] == "completed"
    assert site.initialise() == 9
    assert site.pull_queued() == 9
    assert len(site.records) == 9


def test_initialise_repeated_does_not_begin_again(site: RemoteSite, database: Database) -> None:
    site.push(change_of("s1", {"quantity": 5}))
    assert site.initialise() == 1
    until = peer_of(database).restore_until
    put_central(database, "a")
    assert site.initialise() == 1
    assert peer_of(database).restore_until == until


def test_what_is_not_acknowledged_comes_again(site: RemoteSite, database: Database) -> None:
    put_central(database, "a", "b", to=SITE_ID)
    first = site.get("queued_records?limit=500")
    assert site.get("queued_records?limit=500") == first
    assert first["queueLength"] == 2


@pytest.mark.both_databases
def test_acknowledgements_may_come_in_any_order_and_again(
    site: RemoteSite, database: Database
) -> None:
    put_central(database, "a", "b", "c", to=SITE_ID)
    ids = [change["syncOutId"] for change in site.get("queued_records?limit=500")["data"]]
    site.acknowledge(ids[2])
    left = site.get("queued_records?limit=500")
    assert [change["recordId"] for change in left["data"]] == ["a", "b"]
    assert left["queueLength"] == 2
    site.acknowledge(ids[2], ids[0], "never given out", "99999999", "9" * 40)
    left = site.get("queued_records?limit=500")
    assert [change["recordId"] for change in left["data"]] == ["b"]
    site.acknowledge(ids[1])
    assert site.pull_queued() == 0
    with database.reading() as session:
        assert session.query(Acknowledged).count() == 0


def test_no_more_is_acknowledged_at_once_than_an_answer_has(
    site: RemoteSite, database: Database
) -> None:
    put_central(database, "a", to=SITE_ID)
    ids = [str(number) for number in range(5_001)]
    assert site.call("POST", "acknowledged_records", {"syncIDs": ids}).status_code == 400
    assert site.pull_queued() == 1


def test_what_was_acknowledged_before_it_was_queued_still_comes(
    site: RemoteSite, database: Database
) -> None:
    put_central(database, "a", to=SITE_ID)
    site.acknowledge(*(str(number) for number in range(100)))
    put_central(database, "b", to=SITE_ID)
    assert site.pull_queued() == 1
    assert set(site.records) == {"b"}


def test_a_record_that_changes_while_it_waits_comes_once(
    site: RemoteSite, database: Database
) -> None:
    put_central(database, "a", "b", to=SITE_ID)
    (first, _) = site.get("queued_records?limit=500")["data"]
    with database.writing() as session:
        put_record(session, PRIMARY_SYNC_ID, "item", "a", {"name": "Renamed"})
    site.acknowledge(first["syncOutId"])
    assert site.pull_queued() == 2
    assert site.records["a"] == {"name": "Renamed"}


@pytest.mark.both_databases
def test_a_batch_sent_again_changes_nothing(site: RemoteSite, database: Database) -> None:
    batch = {"queueLength": 1, "data": [change_of("s1", {"quantity": 5})]}
    site.post("queued_records", batch)
    with database.reading() as session:
        before = get_record(session, "stock", "s1")
    site.post("queued_records", batch)
    with database.reading() as session:
        after = get_record(session, "stock", "s1")
    assert (after.seq, after.version) == (before.seq, before.version)


@pytest.mark.parametrize("action", ["insert", "Insert", "update", "Update", "UPDATE"])
def test_actions_are_understood_in_any_case(
    site: RemoteSite, database: Database, action: str
) -> None:
    site.push(change_of("s1", {"quantity": 5}, action))
    assert owned_by_site(database, "s1") == '{"quantity":5}'


@pytest.mark.both_databases
def test_of_one_batch_the_last_change_of_a_record_counts(
    site: RemoteSite, database: Database
) -> None:
    site.push(*(change_of("s1", {"quantity": number}, "Update") for number in (3, 4, 3)))
    assert owned_by_site(database, "s1") == '{"quantity":3}'


@pytest.mark.parametrize("action", ["merge", "Merge"])
def test_a_merge_deletes_what_went_into_another(
    site: RemoteSite, database: Database, action: str
) -> None:
    site.push(change_of("keep", {"quantity": 5}), change_of("gone", {"quantity": 1}))
    site.push(change_of("keep", {"mergeIdToKeep": "keep", "mergeIdToDelete": "gone"}, action))
    assert owned_by_site(database, "keep") == '{"quantity":5}'
    site.initialise()
    answer = site.get("queued_records?limit=500")
    assert [(one["recordId"], one["action"]) for one in answer["data"]] == [
        ("keep", "update"),
        ("gone", "delete"),
    ]


@pytest.mark.both_databases
def test_a_record_that_cannot_be_taken_holds_up_nothing(
    site: RemoteSite, database: Database
) -> None:
    with database.writing() as session:
        put_record(session, PRIMARY_SYNC_ID, "stock", "s2", {"quantity": 100})
    site.push(*(change_of(one, {"quantity": 5}) for one in ("s1", "s2", "s3")))
    assert owned_by_site(database, "s1")
    assert owned_by_site(database, "s3")
    with database.reading() as session:
        aside = session.query(Quarantined).one()
        assert get_record(session, "stock", "s2").owner == PRIMARY_SYNC_ID
    assert (aside.source, aside.record_id, aside.reason) == (SITE_ID, "s2", "owned_by_another")


def nested(depth: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(depth):
        data = {"in": data}
    return data


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        (change_of("bad", {"price": float("nan")}), "bad"),
        (change_of("bad", {"half": "\ud800"}), "bad"),
        (change_of("bad", nested(100)), "bad"),
        (change_of("bad", {"long": "x" * 1024 * 1024}), "bad"),
        (change_of("bad", None), "bad"),
        (change_of("", {"n": 1}), ""),
        (change_of("b\x00d", {"n": 1}), "b?d"),
        (change_of("b" * 256, {"n": 1}), "b" * 255),
        ({**change_of("bad", {"n": 1}), "tableName": ""}, "bad"),
    ],
)
def test_a_record_that_nobody_could_keep_holds_up_nothing(
    site: RemoteSite, database: Database, bad: Json, shown: str
) -> None:
    site.push(change_of("s1", {"quantity": 5}), bad, change_of("s3", {"quantity": 5}))
    # Tried again at each push, were there anything to try.
    site.push()
    assert owned_by_site(database, "s1")
    assert owned_by_site(database, "s3")
    with database.writing() as session:
        assert session.query(Record).count() == 2
        aside = session.query(Quarantined).one()
        assert (aside.record_id, aside.reason, aside.tries) == (shown, "unreadable", 1)
        assert (aside.data, aside.deleted) == (None, False)
        assert retry_record(session, Actor("asha"), aside.id) is RetryResult.REFUSED
        assert session.query(Run).one().set_aside == 1


def test_a_record_that_was_put_right_is_no_longer_set_aside(
    site: RemoteSite, database: Database
) -> None:
    right, wrong = change_of("s1", {"quantity": 5}), change_of("s1", {"quantity": float("inf")})
    site.push(wrong, right)
    with database.reading() as session:
        assert session.query(Quarantined).count() == 0
    site.push(wrong)
    with database.reading() as session:
        assert session.query(Quarantined).count() == 1
    site.push(change_of("s1", {"quantity": 6}))
    with database.reading() as session:
        assert session.query(Quarantined).count() == 0
    assert owned_by_site(database, "s1") == '{"quantity":6}'


def test_the_primary_knows_what_waits_there_and_when_all_was_well(
    site: RemoteSite, database: Database
) -> None:
    changes = [change_of(f"s{number}", {"quantity": number}) for number in range(5)]
    site.post("queued_records", {"queueLength": 5, "data": changes[:2]})
    assert peer_of(database).waiting_there == 3
    site.push(*changes[2:])
    with database.reading() as session:
        assert session.query(Server).one().last_success_at is None
    site.pull_queued()
    with database.reading() as session:
        server, run = session.query(Server).one(), session.query(Run).one()
    assert server.last_success_at is not None
    assert (run.protocol, run.pushed, run.result) == ("v5", 5, "well")
    assert run.bytes_up > sum(len(json.dumps(change)) for change in changes)
    assert run.bytes_down > 0
    peer = peer_of(database)
    assert (peer.waiting_there, peer.app_name, peer.app_version, peer.protocol) == (
        0,
        "Open mSupply Desktop",
        "2.9.1",
        "v5",
    )


def test_an_idle_cycle_leaves_no_run_behind(site: RemoteSite, database: Database) -> None:
    site.get("site")
    site.push()
    site.pull_central()
    site.pull_queued()
    with database.reading() as session:
        assert session.query(Run).count() == 0


def test_the_cursor_of_the_answer_is_never_below_the_one_asked(
    site: RemoteSite, database: Database
) -> None:
    put_central(database, "a", "b")
    cursor, _ = site.pull_central()
    with database.writing() as session:
        session.execute(delete(Record).where(Record.record_id == "b"))
    answer = site.get(f"central_records?cursor={cursor}&limit=10")
    assert answer == {"maxCursor": cursor, "data": []}


def test_large_answers_are_compressed_for_who_asks(site: RemoteSite, database: Database) -> None:
    put_central(database, *(f"{number:04}" for number in range(200)))
    response = site.call("GET", "central_records?cursor=0&limit=500")
    assert response.headers["Content-Encoding"] == "gzip"
    plain = gzip.decompress(response.data)
    assert len(plain) > 5 * len(response.data)
    assert len(json.loads(plain)["data"]) == 200
