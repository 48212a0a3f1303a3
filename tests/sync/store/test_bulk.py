"""Records as JSON Lines: what went out comes in again, and a bad line is named by its number."""

import io
import json
from typing import Any

import pytest
from sqlalchemy import Engine

from panel.db import Database
from panel.errors import Invalid
from panel.sync.store import jsonl
from panel.sync.store.jsonl import LineRefused, as_write, export_records, put_lines, write_lines
from panel.sync.store.records import get_record, put_record
from tests.support.records_api import WRITTEN_NUMBERS

OWN = 7


@pytest.fixture
def database(engine: Engine) -> Database:
    return Database(engine)


def file_of(*lines: dict[str, Any]) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def item(number: int, **others: Any) -> dict[str, Any]:
    return {"table": "item", "id": f"{number:04}", "data": {"quantity": number}, **others}


def put(database: Database, file: io.BytesIO) -> tuple[int, int]:
    return put_lines(database, OWN, file, lambda _: None)


def exported(database: Database, table: str | None = None) -> bytes:
    file = io.BytesIO()
    with database.reading() as session:
        write_lines(export_records(session, table), file)
    return file.getvalue()


@pytest.mark.both_databases
def test_what_was_exported_can_be_put(database: Database) -> None:
    put(database, file_of(item(1), item(2, to=9), {**item(3), "data": {"name": "Ä\u2028"}}))
    first = exported(database)
    assert put(database, io.BytesIO(first)) == (3, 0)
    assert exported(database) == first


@pytest.mark.both_databases
def test_more_lines_than_a_batch_all_arrive(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "BATCH_LINES", 3)
    told: list[int] = []
    file = file_of(*(item(number) for number in range(8)))
    assert put_lines(database, OWN, file, told.append) == (8, 8)
    assert told == [3, 6, 8]
    assert exported(database).count(b"\n") == 8


def test_a_delete_is_a_line_too(database: Database) -> None:
    put(database, file_of(item(1), item(2)))
    put(database, file_of({"table": "item", "id": "0001", "deleted": True}))
    assert [json.loads(line)["id"] for line in exported(database).splitlines()] == ["0002"]


def test_one_table_can_be_exported_alone(database: Database) -> None:
    put(database, file_of(item(1), {**item(2), "table": "stock"}))
    assert [json.loads(line)["id"] for line in exported(database, "stock").splitlines()] == ["0002"]


def test_numbers_are_exported_as_they_were_written(database: Database) -> None:
    data = f'{{"numbers":[{",".join(WRITTEN_NUMBERS)}]}}'
    put(database, io.BytesIO(f'{{"table": "item", "id": "1", "data": {data}}}'.encode()))
    assert data.encode() in exported(database)


def test_an_empty_file_is_no_error(database: Database) -> None:
    assert put(database, io.BytesIO()) == (0, 0)
    assert put(database, io.BytesIO(b"\n\n")) == (2, 0)


@pytest.mark.parametrize(
    "bad",
    [
        b"not JSON\n",
        b"[]\n",
        b'{"table": "item", "id": "1"}\n',
        b'{"table": "item", "id": "1", "data": []}\n',
        b'{"table": "item", "id": "1", "data": {}, "deleted": true}\n',
        b'{"table": "item", "id": "1", "deleted": 1}\n',
        b'{"table": "item", "id": "1", "deleted": 1.0}\n',
        b'{"table": "", "id": "1", "data": {}}\n',
        b'{"table": "item", "id": "1", "data": {"weight": NaN}}\n',
        b'{"table": "item", "id": "1", "data": {"weight": 1e400}}\n',
        b'{"table": "item", "id": "1", "data": {"weight": 1, "weight": 2}}\n',
        b'{"table": "item", "id": "1", "data": {}, "price": 3}\n',
        b'"\xff"\n',
    ],
)
def test_a_bad_line_is_named_and_its_batch_is_not_put(database: Database, bad: bytes) -> None:
    with pytest.raises(LineRefused, match=r"Line 2\b"):
        put(database, io.BytesIO(file_of(item(1)).getvalue() + bad))
    assert exported(database) == b""


def test_a_line_without_an_end_does_not_fill_the_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE_BYTES", 100)
    with pytest.raises(LineRefused, match=r"Line 1: .*longer"):
        put(database, io.BytesIO(b'{"table": "item", "id": "1", "data": {"x": "' + b"x" * 1000))


@pytest.mark.both_databases
def test_a_record_of_another_server_refuses_its_batch_only(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "BATCH_LINES", 2)
    with database.writing() as session:
        put_record(session, 1, "item", "0004", {"quantity": 0})
    with pytest.raises(LineRefused, match=r"Line 4: .*0004"):
        put(database, file_of(*(item(number) for number in range(1, 6))))
    with database.reading() as session:
        assert get_record(session, "item", "0002").owner == OWN
        assert get_record(session, "item", "0004").owner == 1
    assert b'"0003"' not in exported(database)


def test_fields_of_an_export_are_passed_over_and_others_refused() -> None:
    line = item(1, owner=3, version=4, changed_at="then", deleted=False)
    assert as_write(line).record_id == "0001"
    with pytest.raises(Invalid, match="price"):
        as_write(item(1, price=2))
