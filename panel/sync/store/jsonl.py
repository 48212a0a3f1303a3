"""Records as JSON Lines, in and out: one object a line, in batches that fit into memory.

A line is what the API calls a record: ``{"table": …, "id": …, "data": {…}}``, with ``"to"`` where
it is addressed and ``"deleted": true`` instead of data for a delete. What a line of ours says
besides (owner, when it changed) is passed over on the way in: an export can be put elsewhere.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.db import Database
from panel.errors import Invalid, Refusal
from panel.i18n import say
from panel.models.records import Record
from panel.sync.protocol.json_reader import LARGEST_RECORD_BYTES
from panel.sync.store.records import write_records
from panel.sync.store.write_checks import Write, check_write

# One commit for so many lines or so many bytes, whichever comes first.
BATCH_LINES, BATCH_BYTES = 500, 4 * 1024 * 1024
# So many rows are in memory at once on the way out, each of at most 1 MiB.
_ROWS_AT_ONCE = 50
# JSON may need six bytes for a character that takes one when it is kept ("\u0041").
LONGEST_LINE_BYTES = 6 * LARGEST_RECORD_BYTES
_NAMES = {"table", "id", "data", "to", "deleted"}
_PASSED_OVER = {"owner", "changed_at"}


class LineRefused(Refusal):
    """One line of a file, or one batch of lines, cannot be put; the batches before it were."""

    status = 422
    code = "line_refused"


@dataclass(frozen=True)
class Batch:
    """What some lines of a file ask for; the first and the last by their number from 1."""

    first: int
    last: int
    writes: list[Write]


def as_line(record: Record) -> dict[str, Any]:
    """Return a record as the API and JSON Lines show it."""
    return {
        "table": record.table_name,
        "id": record.record_id,
        "owner": record.owner,
        "to": record.to,
        "deleted": record.deleted,
        "changed_at": record.changed_at.isoformat(),
        "data": None if record.data is None else json.loads(record.data),
    }


def as_write(line: Any) -> Write:
    """Return what one line asks for. Raise :class:`Invalid`, a field a problem."""
    if not isinstance(line, dict):
        raise Invalid({"record": say("Must be a JSON object.")})
    unknown = sorted(line.keys() - _NAMES - _PASSED_OVER)
    if unknown:
        raise Invalid({"record": say("There is no field %(name)s.", name=unknown[0][:80])})
    deleted, data = line.get("deleted", False), line.get("data")
    # 1 and 1.0 are as good as true to Python, but not in JSON.
    if type(deleted) is not bool:
        raise Invalid({"deleted": say("Must be true or false.")})
    if deleted == (data is not None):
        raise Invalid({"data": say("Give either data or deleted, not both and not neither.")})
    return Write(line.get("table", ""), line.get("id", ""), data, as_sync_id(line.get("to")))


def as_sync_id(value: Any) -> Any:
    """Return a whole number as Python writes it: to JSON 7.0 is one too. The rest is left alone."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def put_lines(
    database: Database, own_sync_id: int, file: BinaryIO, told: Callable[[int], None]
) -> tuple[int, int]:
    """Put every line of ``file``; return how many lines it has and how many records changed.

    A batch of lines is a transaction: ``told`` hears how many lines are safely stored. Raise
    :class:`LineRefused`.
    """
    lines = changed = 0
    for batch in _batches(file, own_sync_id):
        try:
            with database.writing() as session:
                changed += write_records(session, own_sync_id, batch.writes)
        except Refusal as refusal:
            _refuse(batch.first, batch.last, refusal)
        lines = batch.last
        told(lines)
    return lines, changed


def export_records(session: Session, table: str | None = None) -> Iterator[Record]:
    """Yield every record that is not deleted, of one table or of all, a batch at a time."""
    query = select(Record).where(~Record.deleted).order_by(Record.table_name, Record.record_id)
    if table is not None:
        query = query.where(Record.table_name == table)
    yield from session.scalars(query.execution_options(yield_per=_ROWS_AT_ONCE))


def write_lines(records: Iterable[Record], file: BinaryIO) -> int:
    """Write each of ``records`` to ``file`` as a line; return how many."""
    count = 0
    for record in records:
        line = json.dumps(as_line(record), ensure_ascii=False, separators=(",", ":"))
        file.write(line.encode() + b"\n")
        count += 1
    return count


def _batches(file: BinaryIO, own_sync_id: int) -> Iterator[Batch]:
    writes: list[Write] = []
    first, size, number = 1, 0, 0
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE_BYTES + 1), b""), 1):
        if not line.isspace():
            writes.append(_read_line(number, line, own_sync_id))
        size += len(line)
        if len(writes) >= BATCH_LINES or size >= BATCH_BYTES:
            yield Batch(first, number, writes)
            writes, first, size = [], number + 1, 0
    if number >= first:
        yield Batch(first, number, writes)


def _read_line(number: int, line: bytes, own_sync_id: int) -> Write:
    try:
        if len(line) > LONGEST_LINE_BYTES:
            raise Invalid({"record": say("Is longer than a record may be.")})
        write = as_write(json.loads(line))
        # Checked again with its batch; here the number of its line is known.
        check_write(write, own_sync_id)
    except Refusal as refusal:
        _refuse(number, number, refusal)
    except (ValueError, RecursionError):
        _refuse(number, number, Invalid({"record": say("Must be JSON in UTF-8.")}))
    return write


def _refuse(first: int, last: int, refusal: Refusal) -> NoReturn:
    lines = str(first) if first == last else f"{first}-{last}"
    raise LineRefused(
        say("Line %(lines)s: %(reason)s", lines=lines, reason=str(refusal))
    ) from refusal
