"""The import and export of records as JSON Lines, in batches that fit into memory.

A line is a record as the API has it: ``{"table": …, "id": …, "data": {…}}``, with ``"to"`` where
it is addressed and ``"deleted": true`` in the place of data for a delete. On a
primary ``owner`` is the server for which the record is made. A satellite ignores it, and both
ignore ``version`` and ``changed_at``, so that another server can take an export.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from panel.db import Database
from panel.errors import Invalid, Refusal
from panel.i18n import say
from panel.models.records import Record
from panel.sync.protocol.json_reader import LARGEST_RECORD_BYTES, dump_json, load_json
from panel.sync.store.records import Write, write_records

# A transaction has at most this many records, and ends with the line that reaches these bytes.
BATCH_LINES, BATCH_BYTES = 5_000, 4 * 1024 * 1024
# Rows in memory during an export, each of at most 1 MiB.
_ROWS_AT_ONCE = 50
# JSON may write a character of one byte in six ("\u0041").
LONGEST_LINE_BYTES = 6 * LARGEST_RECORD_BYTES
_NAMES = {"table", "id", "data", "to", "deleted", "owner"}
_PASSED_OVER = {"version", "changed_at", "archived"}


class LineRefused(Refusal):
    """A line cannot be written, and none of its batch is; the batches before it were."""

    status = 422
    code = "line_refused"


@dataclass(frozen=True)
class Batch:
    """The writes of some lines, the number of each one's line, and of the last line, from 1."""

    writes: list[Write]
    numbers: list[int]
    last: int


def as_line(record: Record) -> dict[str, Any]:
    """Return a record as the JSON object of the API and of JSON Lines."""
    # Of an earlier server with the same Sync ID (panel.preferences.server_changes).
    archived = {"archived": True} if min(record.owner, record.to or 0) < 0 else {}
    return {
        "table": record.table_name,
        "id": record.record_id,
        "owner": abs(record.owner),
        "to": None if record.to is None else abs(record.to),
        **archived,
        "deleted": record.deleted,
        "version": record.version,
        "changed_at": record.changed_at.isoformat(),
        "data": None if record.data is None else load_json(record.data),
    }


def as_write(line: Any) -> Write:
    """Return the write that a line asks for. Raise :class:`Invalid` with the problem by field."""
    if not isinstance(line, dict):
        raise Invalid({"record": say("Must be a JSON object.")})
    unknown = sorted(line.keys() - _NAMES - _PASSED_OVER)
    if unknown:
        raise Invalid({unknown[0][:80]: say("There is no such field.")})
    deleted, data = line.get("deleted", False), line.get("data")
    # 1 and 1.0 equal True in Python, but not in JSON.
    if type(deleted) is not bool:
        raise Invalid({"deleted": say("Must be true or false.")})
    if deleted == (data is not None):
        raise Invalid({"data": say("Give either data or deleted, not both and not neither.")})
    to, owner = as_sync_id(line.get("to")), as_sync_id(line.get("owner"))
    return Write(line.get("table", ""), line.get("id", ""), data, to, owner)


def as_sync_id(value: Any) -> Any:
    """Return a whole number such as 7.0, which JSON allows, as an int; other values as they are."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def put_lines(
    database: Database, own_sync_id: int, file: BinaryIO, on_commit: Callable[[int], None]
) -> tuple[int, int]:
    """Write every line of ``file``; return the number of lines and of changed records.

    A batch of lines is a transaction, after which ``on_commit`` is called with the number of lines
    committed so far. Raise :class:`LineRefused`.
    """
    lines = changed = 0
    for batch in _batches(file):
        try:
            with database.writing() as session:
                changed += write_records(session, own_sync_id, batch.writes)
        except Refusal as refusal:
            _refuse(batch.numbers[(refusal.line or 1) - 1], refusal)
        lines = batch.last
        on_commit(lines)
    return lines, changed


def export_records(
    session: Session, table: str | None = None, *, archived: bool = False
) -> Iterator[Record]:
    """Yield the records that are not deleted, of one table or of all, by table and id.

    With ``archived`` only those of earlier servers, whose Sync ID another one has now.
    """
    query = select(Record).where(*_exported(table, archived))
    query = query.order_by(Record.table_name, Record.record_id)
    yield from session.scalars(query.execution_options(yield_per=_ROWS_AT_ONCE))


def count_records(session: Session, table: str | None = None, *, archived: bool = False) -> int:
    """Return how many records :func:`export_records` yields."""
    query = select(func.count()).select_from(Record).where(*_exported(table, archived))
    return session.scalars(query).one()


def _exported(table: str | None, archived: bool) -> list[ColumnElement[bool]]:
    conditions = [~Record.deleted]
    if table is not None:
        conditions.append(Record.table_name == table)
    if archived:
        conditions.append(or_(Record.owner < 0, Record.to < 0))
    return conditions


def write_lines(records: Iterable[Record], file: BinaryIO) -> int:
    """Write ``records`` to ``file``, one a line; return how many."""
    count = 0
    for record in records:
        line = dump_json(as_line(record))
        file.write(line.encode() + b"\n")
        count += 1
    return count


def _batches(file: BinaryIO) -> Iterator[Batch]:
    writes: list[Write] = []
    numbers: list[int] = []
    last, size, number = 0, 0, 0
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE_BYTES + 1), b""), 1):
        if not line.isspace():
            writes.append(_read_line(number, line))
            numbers.append(number)
        size += len(line)
        if len(writes) >= BATCH_LINES or size >= BATCH_BYTES:
            yield Batch(writes, numbers, number)
            writes, numbers, last, size = [], [], number, 0
    if number > last:
        yield Batch(writes, numbers, number)


def _read_line(number: int, line: bytes) -> Write:
    try:
        if len(line) > LONGEST_LINE_BYTES:
            raise Invalid({"record": say("Is longer than a record may be.")})
        return as_write(load_json(line, unique=True))
    except Refusal as refusal:
        _refuse(number, refusal)
    except (ValueError, RecursionError):
        _refuse(number, Invalid({"record": say("Must be JSON in UTF-8.")}))


def _refuse(number: int, refusal: Refusal) -> NoReturn:
    raise LineRefused(
        say("Line %(lines)s: %(reason)s", lines=number, reason=str(refusal))
    ) from refusal
