"""The inbox of a satellite over v5: stored first, applied in order once the pull is complete."""

from collections.abc import Sequence

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Inbox, Record
from panel.models.runs import InitialiseState, Link
from panel.sync.msupply_v5.client import Queued
from panel.sync.msupply_v5.codec import Change, take_changes
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import Stream
from panel.sync.store import inbox
from panel.sync.store.apply import pulled_by, renewed_by
from panel.sync.store.quarantine import note_unreadable
from panel.sync.store.sequence import lock_sequence

# In the place of a checkpoint, which v5 lacks: the central server has queued the initialise.
_QUEUE_REQUESTED = "v5 asked"


def begin_initialise(session: Session) -> None:
    """Start an initialise, unless one is under way: clear the cursor and the inbox.

    Unlike in our own protocol, no record is marked as waiting to be pushed.
    """
    link = session.get_one(Link, 1)
    if link.initialise == InitialiseState.NEEDED:
        link.initialise, link.checkpoint, link.next_checkpoint = InitialiseState.RUNNING, "", ""
        link.central_cursor = 0
        for stream in Stream:
            inbox.clear_stream(session, stream)


def came_from_central(link: Link) -> bool:
    """Say whether what was received came over v5, so that its cursors are valid.

    Over our own protocol there is a checkpoint, and no ``site_uuid``.
    """
    if link.initialise == InitialiseState.DONE:
        return bool(link.site_uuid) and not link.checkpoint
    return link.checkpoint in ("", _QUEUE_REQUESTED)


def is_queue_requested(session: Session) -> bool:
    """Say whether the central server was asked to queue this initialise."""
    return session.get_one(Link, 1).checkpoint == _QUEUE_REQUESTED


def note_queue_requested(session: Session) -> None:
    """Record that the central server was asked to queue this initialise."""
    session.get_one(Link, 1).checkpoint = _QUEUE_REQUESTED


def keep_central(session: Session, cursor: int, page: Queued) -> None:
    """Store a page of central data in the inbox; its ``ID``, which only rises, is its version.

    ``cursor`` is the one that was asked for. Raise BadMessage for cursors that do not rise.
    """
    if not all(mark.isdecimal() for mark in page.marks):
        raise BadMessage("a central record without its cursor")
    positions = [int(mark) for mark in page.marks]
    if positions != sorted(positions) or (positions and positions[0] <= cursor):
        raise BadMessage("central records out of order")
    items = [
        Item(int(change.mark), *change.key, PRIMARY_SYNC_ID, None, int(change.mark), change.data)
        for change in page.changes
    ]
    inbox.receive(session, Stream.CENTRAL, items)
    if positions:
        session.get_one(Link, 1).central_cursor = positions[-1]


def note_unusable(session: Session, page: Queued) -> int:
    """Quarantine the names of the changes that cannot be stored; return how many."""
    for change in page.unusable:
        note_unreadable(session, PRIMARY_SYNC_ID, change.key, str(change))
    return len(page.unusable)


def keep_queued(session: Session, changes: Sequence[Change]) -> None:
    """Store queued changes in the inbox, in the order of their arrival."""
    query = select(func.max(Inbox.position)).where(Inbox.stream == Stream.ADDRESSED)
    first = (session.scalar(query) or 0) + 1
    numbered = enumerate(changes, first)
    items = [Item(number, *change.key, 0, None, 0, change.data) for number, change in numbered]
    inbox.receive(session, Stream.ADDRESSED, items)


def apply_received(session: Session, own_sync_id: int) -> int:
    """Apply a complete pull, and return how many records were quarantined."""
    refused = inbox.apply_stream(session, Stream.CENTRAL, pulled_by(own_sync_id))
    return refused + _apply_queued(session, own_sync_id)


def finish_initialise(session: Session, own_sync_id: int) -> int:
    """Apply what an initialise received, and return how many records were quarantined."""
    refused = inbox.apply_stream(session, Stream.CENTRAL, renewed_by(own_sync_id))
    inbox.delete_missing(session, Stream.CENTRAL, own_sync_id)
    _mark_lacking_as_waiting(session, own_sync_id)
    refused += _apply_queued(session, own_sync_id)
    link = session.get_one(Link, 1)
    link.initialise, link.checkpoint = InitialiseState.DONE, ""
    return refused


def _mark_lacking_as_waiting(session: Session, own_sync_id: int) -> None:
    """Mark the own records as waiting that a restored central server did not hand back."""
    lock_sequence(session)
    handed_back = inbox.is_delivered(Stream.ADDRESSED)
    lacking = Record.owner == own_sync_id, ~Record.deleted, text("NOT waiting"), ~handed_back
    session.execute(
        update(Record).where(*lacking).values(waiting=True),
        execution_options={"synchronize_session": False},
    )


def _apply_queued(session: Session, own_sync_id: int) -> int:
    refused = 0
    for items in inbox.read_batches(session, Stream.ADDRESSED):
        changes = [Change("", item.table, item.record_id, item.data) for item in items]
        outcome = take_changes(session, PRIMARY_SYNC_ID, own_sync_id, changes, spare_waiting=True)
        refused += len(outcome.refused)
    for stream in Stream:
        inbox.clear_stream(session, stream)
    return refused
