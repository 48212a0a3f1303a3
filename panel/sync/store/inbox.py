"""The inbox of a satellite: received records, stored until their pull is complete."""

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, select, update
from sqlalchemy.orm import Session

from panel import clock
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Inbox, Record
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.messages import Stream
from panel.sync.store.apply import Rule
from panel.sync.store.quarantine import apply_or_quarantine
from panel.sync.store.sequence import lock_sequence, next_seqs

_AT_ONCE = 500
# In the order of the fields of Item.
_COLUMNS = (
    *(Inbox.position, Inbox.table_name, Inbox.record_id, Inbox.owner, Inbox.to),
    *(Inbox.version, Inbox.data),
)


def receive(session: Session, stream: Stream, items: Sequence[Item]) -> int:
    """Store ``items`` of ``stream``; return how many were not in the inbox before."""
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
    """Apply what was received of ``stream``, in order; return how many were quarantined."""
    refused = 0
    for items in read_batches(session, stream):
        refused += len(apply_or_quarantine(session, PRIMARY_SYNC_ID, items, rule).refused)
    return refused


def is_empty(session: Session, stream: Stream) -> bool:
    """Say whether no record of ``stream`` waits to be applied."""
    return session.scalar(select(Inbox.id).where(Inbox.stream == stream).limit(1)) is None


def clear_stream(session: Session, stream: Stream) -> None:
    """Delete what was received of ``stream``."""
    session.execute(delete(Inbox).where(Inbox.stream == stream))


def raise_sequence(session: Session) -> None:
    """Raise the sequence to the highest version that the primary handed back.

    Records that are written from now on then have a higher version than those.
    """
    query = select(func.max(Inbox.version)).where(Inbox.stream == Stream.RESTORE)
    highest = session.scalar(query) or 0
    sequence = lock_sequence(session)
    sequence.seq = max(sequence.seq, highest)


def delete_missing(session: Session, stream: Stream, own_sync_id: int) -> None:
    """Replace by tombstones the records of ``stream`` that an initialise did not deliver.

    The primary does not have them any more.
    """
    lock_sequence(session)
    query = select(Record.id).where(_foreign(stream, own_sync_id), ~Record.deleted)
    query = query.where(~is_delivered(stream))
    ids = session.scalars(query.order_by(Record.seq)).all()
    # Version 0: if the primary delivers it again, every version of it is higher.
    gone = {"deleted": True, "data": None, "size": 0, "version": 0, "changed_at": clock.now()}
    rows = [
        {"id": record_id, "seq": seq, **gone}
        for record_id, seq in zip(ids, next_seqs(session, len(ids)), strict=True)
    ]
    if rows:
        session.execute(update(Record), rows)


def is_delivered(stream: Stream) -> ColumnElement[bool]:
    """Return the condition of the stored records that are in the inbox of ``stream`` too."""
    return exists().where(
        Inbox.stream == stream,
        Inbox.table_name == Record.table_name,
        Inbox.record_id == Record.record_id,
    )


def read_batches(session: Session, stream: Stream) -> Iterator[list[Item]]:
    """Yield what was received of ``stream``, in order, in lists that fit into memory."""
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
