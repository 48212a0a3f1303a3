"""The inbox of a satellite over v5: stored first, applied in order once the pull is complete."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, text, update
from sqlalchemy.orm import Session

from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import ChangeSequence, Inbox, Record
from panel.models.runs import InitialiseState, Link
from panel.sync.msupply_v5.client import Queued
from panel.sync.msupply_v5.codec import (
    ID_SEPARATOR,
    Change,
    SatelliteState,
    take_addressed,
    take_changes,
)
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import Stream
from panel.sync.satellite.initialise import NOTHING, check_consent
from panel.sync.store import inbox
from panel.sync.store.apply import pulled_by, renewed_by
from panel.sync.store.quarantine import REPLACED, keep_aside, note_unreadable
from panel.sync.store.records import find_records
from panel.sync.store.sequence import lock_sequence

# In the place of a checkpoint, which v5 lacks: the primary lost its present past, so that what was
# written here is right, or both sides lost theirs, so that nobody knows which is newer; and the
# central server has queued the initialise, after that or not.
_AGAIN, _BOTH_LOST = "v5 again", "v5 both"
_QUEUE_REQUESTED, _QUEUE_REQUESTED_AGAIN = "v5 asked", "v5 re-asked"
_QUEUE_REQUESTED_BOTH_LOST = "v5 both-ask"
_AFTER_REQUEST = {
    "": _QUEUE_REQUESTED,
    _AGAIN: _QUEUE_REQUESTED_AGAIN,
    _BOTH_LOST: _QUEUE_REQUESTED_BOTH_LOST,
}
# What has as many digits is no number of a primary.
_MARK_DIGITS = 19


def begin_initialise(session: Session) -> None:
    """Start an initialise, unless one is under way: clear the cursor and the inbox.

    Unlike in our own protocol, no record is marked as waiting to be pushed.
    """
    link = session.get_one(Link, 1)
    if link.initialise == InitialiseState.NEEDED:
        link.initialise, link.next_checkpoint = InitialiseState.RUNNING, ""
        link.checkpoint = link.checkpoint if link.checkpoint in _AFTER_REQUEST else ""
        link.central_cursor = link.addressed_cursor = link.removal_consent = 0
        for stream in Stream:
            inbox.clear_stream(session, stream)


def came_from_central(link: Link) -> bool:
    """Say whether what was received came over v5, so that its cursors are valid.

    Over our own protocol there is a checkpoint, and no ``site_uuid``.
    """
    if link.initialise == InitialiseState.DONE:
        return bool(link.site_uuid) and not link.checkpoint
    return link.checkpoint in (*_AFTER_REQUEST, *_AFTER_REQUEST.values())


def note_other_history(link: Link, site_id: str, *, is_restored: bool) -> None:
    """Initialise again if ``site_id`` says that the primary lost the past that is known here.

    Its numbers mean other records then, and it may lack what it had acknowledged. ``is_restored``
    says that this satellite lost its own past too.
    """
    known, _, known_generation = link.site_uuid.partition(ID_SEPARATOR)
    told, _, generation = site_id.partition(ID_SEPARATOR)
    is_same = known == told and generation in ("", known_generation)
    # A primary of an older version, or the first contact with a newer one, tells nothing.
    if known != told or is_same or not known_generation:
        return
    if link.initialise != InitialiseState.NEEDED:
        both_lost = is_restored or link.checkpoint in (_BOTH_LOST, _QUEUE_REQUESTED_BOTH_LOST)
        link.initialise = InitialiseState.NEEDED
        link.checkpoint = _BOTH_LOST if both_lost else _AGAIN


def is_same_site(link: Link, site_id: str) -> bool:
    """Say whether ``site_id`` is the one that the central server told before."""
    known, _, _ = link.site_uuid.partition(ID_SEPARATOR)
    return known in ("", site_id.partition(ID_SEPARATOR)[0])


def read_state(session: Session) -> SatelliteState | None:
    """Return how far this satellite is, for a primary of ours; None for another central server."""
    link = session.get_one(Link, 1)
    if link.initialise != InitialiseState.DONE or ID_SEPARATOR not in link.site_uuid:
        return None
    sequence = session.get_one(ChangeSequence, 1)
    return SatelliteState(
        link.central_cursor, link.addressed_cursor, link.sent_seq, sequence.generation
    )


def note_sent(session: Session, seq: int) -> None:
    """Note, before it is sent, the highest number of the own records in a batch."""
    link = session.get_one(Link, 1)
    link.sent_seq = max(link.sent_seq, seq)


def is_half_received(session: Session) -> bool:
    """Say whether a run was cut off before it applied what was queued for this site."""
    is_done = session.get_one(Link, 1).initialise == InitialiseState.DONE
    return is_done and not inbox.is_empty(session, Stream.ADDRESSED)


def is_queue_requested(session: Session) -> bool:
    """Say whether the central server was asked to queue this initialise."""
    return session.get_one(Link, 1).checkpoint in _AFTER_REQUEST.values()


def note_queue_requested(session: Session) -> None:
    """Record that the central server was asked to queue this initialise."""
    link = session.get_one(Link, 1)
    link.checkpoint = _AFTER_REQUEST.get(link.checkpoint, _QUEUE_REQUESTED)


def keep_central(session: Session, cursor: int, page: Queued) -> None:
    """Store a page of central data in the inbox; its ``ID``, which only rises, is its version.

    ``cursor`` is the one that was asked for. Raise BadMessage for cursors that do not rise.
    """
    if not all(map(_is_number, page.marks)):
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


def _is_number(mark: str) -> bool:
    return mark.isdecimal() and len(mark) < _MARK_DIGITS


def note_unusable(session: Session, page: Queued) -> int:
    """Quarantine the names of the changes that cannot be stored; return how many."""
    for change in page.unusable:
        note_unreadable(session, PRIMARY_SYNC_ID, change.key, str(change))
    return len(page.unusable)


def keep_queued(session: Session, page: Queued) -> None:
    """Store queued changes in the inbox, in the order of their arrival."""
    link, changes = session.get_one(Link, 1), page.changes
    numbers = [int(mark) for mark in page.marks if _is_number(mark)]
    link.addressed_cursor = max([link.addressed_cursor, *numbers])
    query = select(func.max(Inbox.position)).where(Inbox.stream == Stream.ADDRESSED)
    first = (session.scalar(query) or 0) + 1
    numbered = enumerate(changes, first)
    items = [
        Item(number, *change.key, change.owner, None, 0, change.data) for number, change in numbered
    ]
    inbox.receive(session, Stream.ADDRESSED, items)


def apply_received(session: Session, own_sync_id: int) -> int:
    """Apply a complete pull, and return how many records were quarantined."""
    refused = inbox.apply_stream(session, Stream.CENTRAL, pulled_by(own_sync_id))
    return refused + _apply_queued(session, own_sync_id, keeps_other=True)


def finish_initialise(session: Session, own_sync_id: int) -> int:
    """Apply what an initialise received, and return how many records were quarantined.

    Raise SyncRefusal (removal_needs_consent) before anything is applied if more records of other
    servers would be removed than a person agreed to.
    """
    lock_sequence(session)
    check_consent(session, inbox.FOREIGN, own_sync_id, NOTHING)
    refused = inbox.apply_stream(session, Stream.CENTRAL, renewed_by(own_sync_id))
    for stream in inbox.FOREIGN:
        inbox.delete_missing(session, stream, own_sync_id)
    link = session.get_one(Link, 1)
    both_lost = link.checkpoint == _QUEUE_REQUESTED_BOTH_LOST
    went_back = both_lost or link.checkpoint == _QUEUE_REQUESTED_AGAIN
    _mark_lacking_as_waiting(session, own_sync_id, went_back)
    refused += _apply_queued(session, own_sync_id, keeps_other=both_lost or not went_back)
    link.initialise, link.checkpoint = InitialiseState.DONE, ""
    link.removal_consent = 0
    return refused


def _mark_lacking_as_waiting(session: Session, own_sync_id: int, went_back: bool) -> None:
    """Mark the own records as waiting that a restored central server did not hand back.

    One that ``went_back`` has older contents too: it handed back another one than is here.
    """
    lock_sequence(session)
    is_lacking = and_(~Record.deleted, ~inbox.is_delivered(Stream.ADDRESSED))
    if went_back:
        is_lacking = or_(is_lacking, _is_delivered_otherwise())
    lacking = Record.owner == own_sync_id, text("NOT waiting"), is_lacking
    session.execute(
        update(Record).where(*lacking).values(waiting=True),
        execution_options={"synchronize_session": False},
    )


def _is_delivered_otherwise() -> ColumnElement[bool]:
    return exists().where(
        Inbox.stream == Stream.ADDRESSED,
        Inbox.table_name == Record.table_name,
        Inbox.record_id == Record.record_id,
        Inbox.data.is_distinct_from(Record.data),
    )


def _apply_queued(session: Session, own_sync_id: int, keeps_other: bool) -> int:
    """Apply the queue; ``keeps_other`` keeps aside the contents that give way to what waits.

    Of what the primary still owns they are kept aside in any case: it may have written them since.
    """
    refused = 0
    for items in inbox.read_batches(session, Stream.ADDRESSED):
        arrived = [Change("", item.table, item.record_id, item.data, item.owner) for item in items]
        addressed = [change for change in arrived if change.owner not in (0, PRIMARY_SYNC_ID)]
        refused += len(take_addressed(session, own_sync_id, addressed).refused)
        # What the primary addressed to this site belongs to the site from now on.
        changes = [change for change in arrived if change.owner in (0, PRIMARY_SYNC_ID)]
        others = [change for change in changes if keeps_other or change.owner]
        _keep_other_contents(session, own_sync_id, others)
        outcome = take_changes(session, PRIMARY_SYNC_ID, own_sync_id, changes, spare_waiting=True)
        refused += len(outcome.refused)
    for stream in Stream:
        inbox.clear_stream(session, stream)
    return refused


def _keep_other_contents(session: Session, own_sync_id: int, changes: Sequence[Change]) -> None:
    """Keep aside what the central server has of records that wait here to be pushed.

    What was written here counts, and replaces it there.
    """
    found = find_records(session, [(change.key, change.data) for change in changes])
    for change in changes:
        record = found.get(change.key)
        if record is not None and record.waiting and change.data not in (None, record.data):
            item = Item(0, *change.key, own_sync_id, None, 0, change.data)
            keep_aside(session, item, REPLACED)
