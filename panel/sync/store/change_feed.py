"""The feed of changed records in the order of ``seq``, for satellites and for applications.

A read stops at the ``seq`` that was the highest when it began, so that the cursor it returns never
passes a change that is not visible yet (PROTOCOL.md, *Order*).
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    and_,
    func,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.orm import Session

from panel.errors import Invalid, Refusal
from panel.i18n import say
from panel.models.records import ChangeSequence, Record
from panel.sync.store.sequence import last_common_seq, present_seq

# The most bytes of the records of one message: half of what a receiver accepts. The names of
# fields may be written once for each record, in at most 1.4 times the bytes that they have there.
LARGEST_BATCH_BYTES = 8 * 1024 * 1024
# The most bytes that a record's numbers, its place in the order and its brackets take in a batch.
_RECORD_BYTES = 100
_CENTRAL = literal_column('records.owner = 1 AND records."to" IS NULL', Boolean)
_WAITING = literal_column("records.waiting", Boolean)


@dataclass(frozen=True)
class Page:
    """Records in the order of ``seq``, the cursor to read on from, and whether more follow.

    ``size_bytes`` is what the records take in a batch, their names included.
    """

    records: Sequence[Record]
    cursor: int
    more: bool
    size_bytes: int = 0


def central(session: Session, cursor: int, limit: int, room_bytes: int | None = None) -> Page:
    """Return the page of central data after ``cursor``; the bounds are as in :func:`read`."""
    return read(session, central_records(), cursor, limit, room_bytes)


def addressed(
    session: Session,
    sync_id: int,
    cursor: int,
    limit: int,
    room_bytes: int | None = None,
) -> Page:
    """Return the page of records addressed to server ``sync_id`` after ``cursor``.

    The bounds are as in :func:`read`.
    """
    return read(session, Record.to == sync_id, cursor, limit, room_bytes)


def owned(
    session: Session,
    sync_id: int,
    cursor: int,
    limit: int,
    room_bytes: int | None = None,
) -> Page:
    """Return the page of records that server ``sync_id`` owns, tombstones too, after ``cursor``.

    The bounds are as in :func:`read`.
    """
    return read(session, Record.owner == sync_id, cursor, limit, room_bytes)


def everything(session: Session, cursor: int, limit: int) -> Page:
    """Return the page of all records, of every owner, after ``cursor``."""
    return read(session, true(), cursor, limit)


def central_records() -> ColumnElement[bool]:
    """Return the condition of central data: records of the primary that are not addressed."""
    # With the words of the partial index: a database uses the index only if they are the same.
    return _CENTRAL


def count(session: Session, which: ColumnElement[bool], cursor: int) -> int:
    """Return how many records that fulfil ``which`` have a ``seq`` above ``cursor``."""
    query = select(func.count()).select_from(Record).where(which, Record.seq > cursor)
    return session.scalar(query) or 0


def waiting(session: Session, limit: int, among: ColumnElement[bool] | None = None) -> Page:
    """Return the first ``limit`` of the records written here that still have to be pushed.

    ``among`` is a further condition.
    """
    return read(session, _WAITING if among is None else and_(_WAITING, among), 0, limit)


def count_waiting(session: Session, among: ColumnElement[bool] | None = None) -> int:
    """Return how many records still have to be pushed; ``among`` is a further condition."""
    # With the words of the partial index: a database uses the index only if they are the same.
    query = select(func.count()).select_from(Record).where(text("records.waiting"))
    return session.scalar(query if among is None else query.where(among)) or 0


def waiting_here(session: Session) -> tuple[int, datetime | None]:
    """Return how many records still have to be pushed, and when the first of them was written."""
    row = session.execute(_WAITING_HERE).one()
    return row[0], row[1]


# In the very words of the partial index, as above.
_waits = select(Record.changed_at).where(text("records.waiting")).order_by(Record.seq).limit(1)
_WAITING_HERE = select(
    select(func.count()).select_from(Record).where(text("records.waiting")).scalar_subquery(),
    _waits.scalar_subquery(),
)


def read(
    session: Session,
    which: ColumnElement[bool],
    cursor: int,
    limit: int,
    room_bytes: int | None = None,
) -> Page:
    """Return the page of records that fulfil ``which`` after ``cursor``.

    It has at most ``limit`` records, which take at most ``room_bytes`` in a batch (by default
    :data:`LARGEST_BATCH_BYTES`), but always one record if there is any. Raise ValueError for a
    ``limit`` below 1.
    """
    room_bytes = LARGEST_BATCH_BYTES if room_bytes is None else room_bytes
    until = present_seq(session)
    newer = select(Record).where(which, Record.seq > cursor, Record.seq <= until)
    last, more, size_bytes = _cut(session, newer, limit, room_bytes)
    if last is None:
        return Page([], max(cursor, until), False)
    query = newer.where(Record.seq <= last).order_by(Record.seq)
    records = session.scalars(query, execution_options={"populate_existing": True}).all()
    return Page(records, last if more else until, more, size_bytes)


class CursorEnded(Refusal):
    """Some changes after the cursor are not known any more: read again from the beginning."""

    status = 410
    code = "cursor_ended"

    def __init__(self) -> None:
        super().__init__(
            say(
                "This cursor is too old, or from a past that was lost when this server was "
                "restored from a backup. Begin without a cursor."
            )
        )


@dataclass(frozen=True)
class Changes:
    """Records in the order of their changes, tombstones too, and the cursor to read on from."""

    records: Sequence[Record]
    cursor: str
    more: bool


def changes(session: Session, since: str = "", limit: int = 500) -> Changes:
    """Return at most ``limit`` changes after the cursor ``since``, the oldest first.

    An empty ``since`` begins with the first change. A record appears once, as its newest version.
    Raise :class:`Invalid` (field ``since``) for a malformed cursor, and :class:`CursorEnded` for
    one from a lost past or from before purged tombstones.
    """
    sequence = session.get_one(ChangeSequence, 1, populate_existing=True)
    seq = _position(session, since, sequence) if since else 0
    page = everything(session, seq, limit)
    return Changes(page.records, _cursor(page.cursor, sequence), page.more)


# What moves with each change, and with each past that is lost.
CHANGE_MARK = select(ChangeSequence.seq, ChangeSequence.generation)


def _cut(
    session: Session, query: Select[Record], limit: int, room_bytes: int
) -> tuple[int | None, bool, int]:
    """Return the ``seq`` of the last record of a batch, whether more follow, and its bytes."""
    if limit < 1:
        raise ValueError("a batch has at least one record")
    columns = Record.seq, Record.size, Record.table_name, Record.record_id
    rows = query.with_only_columns(*columns).order_by(Record.seq).limit(limit + 1)
    last, total = None, 0
    for number, (seq, size, *names) in enumerate(session.execute(rows)):
        added = size + len(json.dumps(names, ensure_ascii=False).encode()) + _RECORD_BYTES
        if number == limit or (number and total + added > room_bytes):
            return last, True, total
        last, total = seq, total + added
    return last, False, total


def _cursor(seq: int, sequence: ChangeSequence) -> str:
    # With purged_seq: a low cursor of a first read is good until the next purge, since its reader
    # never had the records that were purged before.
    text = json.dumps([sequence.generation, seq, sequence.purged_seq], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(session: Session, cursor: str, sequence: ChangeSequence) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        generation, seq, purged_seq = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise Invalid({"since": say("Is not a cursor that was given out here.")}) from error
    if not isinstance(generation, str) or not isinstance(seq, int) or seq < 0:
        raise Invalid({"since": say("Is not a cursor that was given out here.")})
    complete = seq >= sequence.purged_seq or purged_seq == sequence.purged_seq
    if not complete or seq > last_common_seq(session, generation, sequence):
        raise CursorEnded
    return seq
