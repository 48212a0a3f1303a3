"""The inbox of a satellite: received records, stored until their pull is complete."""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import (
    ColumnElement,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    union,
    update,
)
from sqlalchemy.orm import Session

from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Inbox, Key, Quarantined, Record
from panel.sync.protocol.batch_codec import Item, item_of
from panel.sync.protocol.messages import Cursors, Stream
from panel.sync.store.apply import Rule
from panel.sync.store.quarantine import REMOVED, apply_or_quarantine, keep_aside
from panel.sync.store.records import seen_at
from panel.sync.store.sequence import lock_sequence, next_seqs

# The streams of records that other servers own.
FOREIGN = (Stream.CENTRAL, Stream.ADDRESSED)
_AT_ONCE = 500
# In the order of the fields of Item.
_COLUMNS = (
    *(Inbox.position, Inbox.table_name, Inbox.record_id, Inbox.owner, Inbox.to),
    *(Inbox.version, Inbox.data),
)


def receive(session: Session, stream: Stream, items: Sequence[Item]) -> int:
    """Store ``items`` of ``stream`` in the inbox; return how many of them are new there."""
    positions = [item.position for item in items]
    known: set[int] = set()
    for start in range(0, len(items), _AT_ONCE):
        query = select(Inbox.position).where(Inbox.stream == stream)
        known |= set(
            session.scalars(query.where(Inbox.position.in_(positions[start : start + _AT_ONCE])))
        )
    new = {item.position: _row(stream, item) for item in items if item.position not in known}
    if new:
        session.execute(insert(Inbox), list(new.values()))
    return len(new)


def apply_stream(session: Session, stream: Stream, rule: Rule) -> int:
    """Apply the received records of ``stream`` in order; return how many were quarantined."""
    refused = 0
    for items in read_batches(session, stream):
        refused += len(apply_or_quarantine(session, PRIMARY_SYNC_ID, items, rule).refused)
    return refused


def is_empty(session: Session, stream: Stream) -> bool:
    """Say whether no record of ``stream`` waits to be applied."""
    return session.scalar(select(Inbox.id).where(Inbox.stream == stream).limit(1)) is None


def clear_stream(session: Session, stream: Stream, beyond: int = 0) -> None:
    """Delete the received records of ``stream`` whose position is higher than ``beyond``."""
    session.execute(delete(Inbox).where(Inbox.stream == stream, Inbox.position > beyond))


def count_missing(
    session: Session, streams: Iterable[Stream], own_sync_id: int, common: Cursors
) -> tuple[int, int]:
    """Return how many records :func:`delete_missing` would delete, and how many there are in all.

    ``common`` maps each of ``streams`` to the number that :func:`in_doubt` takes.
    """
    missing = present = 0
    for stream in streams:
        query = select(func.count()).select_from(Record)
        query = query.where(_foreign(stream, own_sync_id), ~Record.deleted)
        present += session.scalar(query) or 0
        lacking = query.where(in_doubt(common.get(stream, 0)), ~is_delivered(stream))
        missing += session.scalar(lacking) or 0
    return missing, present


def delete_missing(
    session: Session, stream: Stream, own_sync_id: int, common: int = 0, cursor: int | None = None
) -> None:
    """Replace by tombstones the records of ``stream`` that an initialise did not deliver.

    These are the records in doubt (``common`` is as :func:`in_doubt` takes it), which the primary
    does not have any more. ``cursor`` is the number that its sequence had then. Their contents are
    kept in the quarantine.
    """
    lock_sequence(session)
    query = select(Record.id).where(_foreign(stream, own_sync_id), ~Record.deleted)
    query = query.where(in_doubt(common), ~is_delivered(stream))
    ids = session.scalars(query.order_by(Record.seq)).all()
    for start in range(0, len(ids), _AT_ONCE):
        some = select(Record).where(Record.id.in_(ids[start : start + _AT_ONCE]))
        for record in session.scalars(some.execution_options(populate_existing=True)):
            keep_aside(session, item_of(record), REMOVED)
            session.expunge(record)
    # Version 0, so that any version is higher if the primary delivers the record again.
    gone = {"deleted": True, "data": None, "size": 0, "version": 0, "remote_seq": cursor}
    changed_at = seen_at(session)
    rows = [
        {"id": record_id, "seq": seq, "changed_at": changed_at, **gone}
        for record_id, seq in zip(ids, next_seqs(session, len(ids)), strict=True)
    ]
    if rows:
        session.execute(update(Record), rows)


def in_doubt(common: int) -> ColumnElement[bool]:
    """Return the condition of the records that the primary may not have in its present past.

    ``common`` is the number of the primary's sequence up to which both sides have the same records.
    """
    return or_(Record.remote_seq.is_(None), Record.remote_seq > common)


def doubted_keys(
    session: Session, own_sync_id: int, common: Cursors, after: Sequence[str], limit: int
) -> list[Key]:
    """Return the next ``limit`` keys, in their order, about which the primary is to be asked.

    Their records are in doubt and were not delivered, or the primary sent a record under them that
    could not be applied. ``common`` is as in :func:`count_missing`. ``after`` is the last key that
    was asked about, empty at the beginning.
    """
    stored = select(Record.table_name, Record.record_id)
    queries = [
        stored.where(
            _foreign(stream, own_sync_id), in_doubt(common.get(stream, 0)), ~is_delivered(stream)
        )
        for stream in FOREIGN
    ]
    sent = select(Quarantined.table_name, Quarantined.record_id)
    queries.append(sent.where(Quarantined.source == PRIMARY_SYNC_ID))
    keys = union(*queries).subquery()
    query = select(keys.c.table_name, keys.c.record_id)
    if after:
        query = query.where(tuple_(keys.c.table_name, keys.c.record_id) > tuple_(*after))
    query = query.order_by(keys.c.table_name, keys.c.record_id).limit(limit)
    return [(row.table_name, row.record_id) for row in session.execute(query)]


def stream_of(item: Item, own_sync_id: int) -> Stream:
    """Return the stream in which the primary sends ``item`` to this satellite."""
    if item.owner == own_sync_id:
        return Stream.RESTORE
    return Stream.CENTRAL if item.to is None else Stream.ADDRESSED


def is_delivered(stream: Stream) -> ColumnElement[bool]:
    """Return the condition of the stored records that are in the inbox of ``stream`` too."""
    return exists().where(
        Inbox.stream == stream,
        Inbox.table_name == Record.table_name,
        Inbox.record_id == Record.record_id,
    )


def read_batches(session: Session, stream: Stream) -> Iterator[list[Item]]:
    """Yield the received records of ``stream`` in order, in lists that fit into memory."""
    last = 0
    while True:
        query = select(*_COLUMNS).where(Inbox.stream == stream, Inbox.position > last)
        rows = session.execute(query.order_by(Inbox.position).limit(_AT_ONCE)).all()
        if not rows:
            return
        yield [Item(*row) for row in rows]
        last = rows[-1].position


def _foreign(stream: Stream, own_sync_id: int) -> ColumnElement[bool]:
    if stream is Stream.CENTRAL:
        return and_(Record.owner == PRIMARY_SYNC_ID, Record.to.is_(None))
    return and_(Record.owner != own_sync_id, Record.to == own_sync_id)


def _row(stream: Stream, item: Item) -> dict[str, object]:
    return {
        "stream": stream,
        "position": item.position,
        "table_name": item.table,
        "record_id": item.record_id,
        "owner": item.owner,
        "to": item.to,
        "version": item.version,
        "deleted": item.data is None,
        "data": item.data,
    }
