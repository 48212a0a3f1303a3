"""Records of applications: what is written is found again, and the rules of writing hold."""

import math
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from panel import clock
from panel.db import Database
from panel.errors import Invalid, NotFound
from panel.models.records import Record
from panel.sync.protocol.json_reader import DEEPEST, LARGEST_RECORD_BYTES
from panel.sync.store import records
from panel.sync.store.records import Write

pytestmark = pytest.mark.both_databases

KADAVU, LEVUKA = 7, 8


def put(database: Database, record_id: str, data: dict[str, Any], to: int | None = None) -> Record:
    with database.writing() as session:
        return records.put_record(session, KADAVU, "item", record_id, data, to)


def test_what_is_put_is_got_and_listed_until_it_is_deleted(database: Database) -> None:
    put(database, "a", {"name": "Amoxicillin ✓", "stock": 1.5, "nested": {"b": [1, None]}})
    put(database, "b", {"name": "Ibuprofen"})
    put(database, "a", {"name": "Amoxicillin", "note": "\x00"})
    with database.writing() as session:
        assert [r.record_id for r in records.list_records(session, "item")[0]] == ["a", "b"]
        assert [r.record_id for r in records.list_records(session, "item", "a")[0]] == ["b"]
        assert records.get_record(session, "item", "a").data == (
            '{"name":"Amoxicillin","note":"\\u0000"}'
        )
        records.delete_record(session, KADAVU, "item", "a")
    with database.reading() as session:
        assert [r.record_id for r in records.list_records(session, "item")[0]] == ["b"]
        with pytest.raises(NotFound):
            records.get_record(session, "item", "a")


def test_what_is_the_same_as_before_changes_nothing(database: Database) -> None:
    first = put(database, "a", {"stock": 1})
    assert put(database, "a", {"stock": 1}).seq == first.seq
    assert put(database, "a", {"stock": 2}).seq == first.seq + 1


def test_of_what_is_here_only_what_may_be_the_same_comes_into_memory(database: Database) -> None:
    put(database, "long", {"stock": "x" * 10_000})
    put(database, "a", {"stock": 1})
    long, a = ("item", "long"), ("item", "a")
    with database.reading() as session:
        found = records.find_records(session, [(long, None), (a, '{"stock":7}')])
        assert (found[long].data, found[a].data) == (records.DIFFERENT_TEXT, '{"stock":1}')


def test_a_delete_again_is_no_error_and_of_nothing_is(database: Database) -> None:
    put(database, "a", {})
    with database.writing() as session:
        records.delete_record(session, KADAVU, "item", "a")
        records.delete_record(session, KADAVU, "item", "a")
        with pytest.raises(NotFound):
            records.delete_record(session, KADAVU, "item", "never")


def test_writes_of_one_record_in_one_batch_leave_the_last(database: Database) -> None:
    with database.writing() as session:
        changed = records.write_records(
            session,
            KADAVU,
            [
                Write("item", "a", {"n": 1}),
                Write("item", "b", {"n": 1}),
                Write("item", "a", None),
                Write("item", "a", {"n": 3}),
            ],
        )
        assert changed == 2
        assert [r.data for r in records.list_records(session, "item")[0]] == ['{"n":3}', '{"n":1}']


def test_only_the_owner_writes(database: Database) -> None:
    put(database, "a", {"n": 1})
    for data in ({"n": 2}, None):
        with pytest.raises(records.OwnedByAnother), database.writing() as session:
            records.write_records(session, LEVUKA, [Write("item", "a", data)])
    with database.reading() as session:
        assert records.get_record(session, "item", "a").owner == KADAVU


def test_a_record_stays_addressed_as_it_was_even_after_its_end(database: Database) -> None:
    put(database, "a", {"n": 1}, to=LEVUKA)
    assert put(database, "a", {"n": 2}).to == LEVUKA
    with pytest.raises(records.AddressFixed):
        put(database, "a", {"n": 3}, to=9)
    with database.writing() as session:
        records.delete_record(session, KADAVU, "item", "a")
    with pytest.raises(records.AddressFixed):
        put(database, "a", {"n": 3}, to=9)
    put(database, "everybody's", {})
    with pytest.raises(records.AddressFixed):
        put(database, "everybody's", {}, to=LEVUKA)


DEEP: dict[str, Any] = {}
for _ in range(100_000):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("write", "fields"),
    [
        (Write("", "a", {}), {"table"}),
        (Write("t" * 101, "i" * 256, {}), {"table", "id"}),
        (Write("item\n", "a\x00", {}), {"table", "id"}),
        (Write("item", "\ud800", {}), {"id"}),
        (Write("item", "a", {}, to=KADAVU), {"to"}),
        (Write("item", "a", {}, to=0), {"to"}),
        (Write("item", "a", {}, to=True), {"to"}),
        (Write("item", "a", [1]), {"data"}),  # type: ignore[arg-type]
        (Write("item", "a", {"n": math.nan}), {"data"}),
        (Write("item", "a", {"n": math.inf}), {"data"}),
        (Write("item", "a", {"n": "\udfff"}), {"data"}),
        (Write("item", "a", {"n": object()}), {"data"}),
        (Write("item", "a", {"n": "x" * LARGEST_RECORD_BYTES}), {"data"}),
        (Write("item", "a", DEEP), {"data"}),
    ],
)
def test_what_is_no_record_is_refused_with_its_fields(
    database: Database, write: Write, fields: set[str]
) -> None:
    with pytest.raises(Invalid) as invalid, database.writing() as session:
        records.write_records(session, KADAVU, [Write("item", "good", {}), write])
    assert invalid.value.problems.keys() == fields
    with database.reading() as session:
        assert records.list_records(session, "item") == ([], False)


def test_the_largest_record_fits(database: Database) -> None:
    longest = "x" * (LARGEST_RECORD_BYTES - len('{"n":""}'))
    assert put(database, "i" * 255, {"n": longest}).size == LARGEST_RECORD_BYTES


def test_only_a_satellites_own_records_wait(database: Database) -> None:
    assert put(database, "a", {}).waiting
    with database.writing() as session:
        assert not records.put_record(session, 1, "item", "central", {}).waiting


def test_many_at_once(database: Database) -> None:
    writes = [Write("item", f"{number:05}", {"n": number}) for number in range(2_000)]
    with database.writing() as session:
        assert records.write_records(session, KADAVU, writes) == len(writes)
    with database.writing() as session:
        assert records.write_records(session, KADAVU, writes) == 0
        assert len(records.list_records(session, "item", limit=5_000)[0]) == len(writes)


def test_a_foreign_record_is_read_like_any_other(database: Database) -> None:
    with database.writing() as session:
        session.execute(
            insert(Record),
            {
                "table_name": "item", "record_id": "c", "owner": 1, "version": 5, "seq": 9,
                "data": "{}", "changed_at": clock.now(),
            },
        )  # fmt: skip
        assert records.get_record(session, "item", "c").owner == 1


def nested(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels - 1):
        data = {"in": data}
    return data


def test_what_one_reader_could_not_read_is_not_kept(database: Database) -> None:
    put(database, "deep", nested(DEEPEST))
    with pytest.raises(Invalid, match="Cannot be written"):
        put(database, "too deep", nested(DEEPEST + 1))


def test_records_are_found_by_the_index_however_many_keys(database: Database) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("plans by what it knows of the data")
    keys = [("item", f"{n}") for n in range(500)] + [("store", "a"), ("store", "b")]
    with database.reading() as session:
        query = select(Record.id).where(records.keys_in(session, keys))
        words = str(query.compile(session.get_bind(), compile_kwargs={"literal_binds": True}))
        plan = [row[-1] for row in session.execute(text(f"EXPLAIN QUERY PLAN {words}"))]
    assert not any(step.startswith("SCAN records") for step in plan)
    assert any("table_name=? AND record_id=?" in step for step in plan)
