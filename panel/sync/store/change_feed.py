"""Reading records in the order in which they changed: for satellites and for applications.

Every reading stops at the count as it was when the reading began, so that the cursor it ends with
(that count, when there is no more) never passes a change that is not visible yet.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Boolean, ColumnElement, Select, func, literal_column, select, true
from sqlalchemy.orm import Session

from panel.errors import Invalid, Refusal
from panel.i18n import say
from panel.models.records import ChangeSequence, Record
from panel.sync.store.sequence import present_seq

# What one answer may carry, whatever the number of records: half of what a receiver takes.
LARGEST_BATCH_BYTES = 8 * 1024 * 1024
_CENTRAL = literal_column('records.owner = 1 AND records."to" IS NULL', Boolean)
_WAITING = literal_column("records.waiting", Boolean)


@dataclass(frozen=True)
class Page:
    """Some records in the order of ``seq``, where to read on, and whether there is more."""

    records: Sequence[Record]
    cursor: int
    more: bool


def central(session: Session, cursor: int, limit: int) -> Page:
    """Return the primary's own records for everybody, from beyond ``cursor``."""
    return read(session, central_records(), cursor, limit)


def addressed(session: Session, sync_id: int, cursor: int, limit: int) -> Page:
    """Return what is addressed to server ``sync_id``, from beyond ``cursor``."""
    return read(session, Record.to == sync_id, cursor, limit)


def owned(session: Session, sync_id: int, cursor: int, limit: int) -> Page:
    """Return what server ``sync_id`` owns, tombstones too, from beyond ``cursor``."""
    return read(session, Record.owner == sync_id, cursor, limit)


def everything(session: Session, cursor: int, limit: int) -> Page:
    """Return what changed here, from beyond ``cursor``, whoever wrote it."""
    return read(session, true(), cursor, limit)


def central_records() -> ColumnElement[bool]:
    """Return the condition of central data: the primary's own, addressed to nobody alone."""
    # In the very words of the partial index: a planner compares them literally.
    return _CENTRAL


def count(session: Session, which: ColumnElement[bool], cursor: int) -> int:
    """Return how many records of ``which`` are beyond ``cursor``."""
    query = select(func.count()).select_from(Record).where(which, Record.seq > cursor)
    return session.scalar(query) or 0


def waiting(session: Session, limit: int) -> Page:
    """Return what was written here and is not yet known to have reached the primary."""
    return read(session, _WAITING, 0, limit)


def count_waiting(session: Session) -> int:
    """Return how many records :func:`waiting` has in all."""
    return count(session, _WAITING, 0)


def read(session: Session, which: ColumnElement[bool], cursor: int, limit: int) -> Page:
    """Return the records of ``which`` from beyond ``cursor``: not more than an answer may carry."""
    until = present_seq(session)
    beyond = select(Record).where(which, Record.seq > cursor, Record.seq <= until)
    last, more = _cut(session, beyond, limit)
    if last is None:
        return Page([], max(cursor, until), False)
    query = beyond.where(Record.seq <= last).order_by(Record.seq)
    records = session.scalars(query, execution_options={"populate_existing": True}).all()
    return Page(records, last if more else until, more)


def _cut(session: Session, query: Select[Record], limit: int) -> tuple[int | None, bool]:
    """Return the ``seq`` of the last record of a batch, and whether more follow."""
    if limit < 1:
        raise ValueError("a batch has at least one record")
    sizes = query.with_only_columns(Record.seq, Record.size).order_by(Record.seq).limit(limit + 1)
    last, total = None, 0
    for number, (seq, size) in enumerate(session.execute(sizes)):
        total += size
        if number == limit or (number and total > LARGEST_BATCH_BYTES):
            return last, True
        last = seq
    return last, False


class CursorEnded(Refusal):
    """What came after the cursor is no longer known in full: read everything again."""

    status = 410
    code = "cursor_ended"

    def __init__(self) -> None:
        super().__init__(
            say("This cursor is too old, or older than an initialise. Begin without a cursor.")
        )


@dataclass(frozen=True)
class Changes:
    """Records in the order in which they changed here, tombstones too, and where to read on."""

    records: Sequence[Record]
    cursor: str
    more: bool


def changes(session: Session, since: str = "", limit: int = 500) -> Changes:
    """Return what changed after the cursor ``since`` (empty: from the beginning), oldest first.

    A record appears once, as its newest version. Raise Invalid for a cursor that none was given
    out like, :class:`CursorEnded` for one of too long ago: purged tombstones would be missed.
    """
    clock = session.get_one(ChangeSequence, 1, populate_existing=True)
    seq = _position(since, clock) if since else 0
    page = everything(session, seq, limit)
    return Changes(page.records, _cursor(page.cursor, clock), page.more)


def _cursor(seq: int, clock: ChangeSequence) -> str:
    # With what was purged by then: a first reading that takes long goes on from below it.
    text = json.dumps([clock.mark, seq, clock.purged_seq], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(cursor: str, clock: ChangeSequence) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        mark, seq, purged_seq = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise Invalid({"since": say("Is not a cursor that was given out here.")}) from error
    if not isinstance(seq, int) or seq < 0:
        raise Invalid({"since": say("Is not a cursor that was given out here.")})
    complete = seq >= clock.purged_seq or purged_seq == clock.purged_seq
    if mark != clock.mark or seq > clock.seq or not complete:
        raise CursorEnded
    return seq
