"""The initialise of a satellite in our own protocol, and the recovery, which is a shorter one.

Everything is received first and applied at the end in one transaction: until then applications go
on with the records that they have, and a run after one that was cut off continues it (PROTOCOL.md,
*States of a satellite*). An initialise receives everything; a recovery, after one of the two sides
was restored from a backup, what came after the last number that both sides have in common.
"""

from collections.abc import Iterable

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import ChangeSequence, HistoryReason, Key, Record
from panel.models.runs import InitialiseState, Link
from panel.models.settings import find_listed
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import MOST_DOUBTS, Cursors, Disagreement, Stream
from panel.sync.satellite.push import common_of
from panel.sync.store import inbox
from panel.sync.store.apply import renewed_by, restored_to
from panel.sync.store.quarantine import expect_again, release_missing
from panel.sync.store.sequence import begin_generation, lock_sequence

NOTHING: Cursors = {Stream.CENTRAL: 0, Stream.ADDRESSED: 0}
# Fewer may be removed without a question, and so may a smaller part.
FEWEST_ASKED, LEAST_SHARE_ASKED = 20, 0.1


def begin(session: Session, common: Cursors) -> None:
    """Start from the numbers of the primary up to which both sides have the same."""
    link = session.get_one(Link, 1)
    link.initialise = InitialiseState.RUNNING
    link.checkpoint = link.next_checkpoint = ""
    link.central_common = link.central_cursor = common[Stream.CENTRAL]
    link.addressed_common = link.addressed_cursor = common[Stream.ADDRESSED]
    link.restore_cursor = min(common.values())
    link.doubt_key, link.removal_consent = None, 0
    for stream in Stream:
        inbox.clear_stream(session, stream, common.get(stream, link.restore_cursor))


def has_new_past(session: Session) -> bool:
    """Say whether this server began a generation of which the primary was not told."""
    link = session.get_one(Link, 1)
    present = session.get_one(ChangeSequence, 1).generation
    return link.initialise is InitialiseState.DONE and link.own_generation != present


def begin_from_here(session: Session) -> None:
    """Start from what this server knows of the primary: it was restored from a backup."""
    link = session.get_one(Link, 1)
    begin(session, _known(link) if link.generation else NOTHING)


def begin_from_common(session: Session, theirs: Disagreement) -> None:
    """Start from the last numbers that are certain to be the same on both sides.

    Where the primary is in the generation that is known here and does not know the checkpoint, this
    server may have been restored without noticing, or copied: from here on it uses other numbers.
    """
    link = session.get_one(Link, 1)
    present = session.get_one(ChangeSequence, 1).generation
    is_in_question = not theirs.knows_checkpoint and link.generation == theirs.generation
    if is_in_question and link.own_generation == present:
        begin_generation(session, HistoryReason.CLONE)
    last = theirs.history.get(link.generation, 0)
    common = {
        stream: min(number, last, theirs.offered.get(stream, 0))
        for stream, number in _known(link).items()
    }
    if min(common.values()) < max(theirs.purged, link.purged_remote_seq):
        # Tombstones are missing on one of the sides.
        common = NOTHING
    begin(session, common)


def _known(link: Link) -> Cursors:
    if link.initialise is not InitialiseState.DONE:
        # What was received since is not applied.
        return common_of(link)
    return {Stream.CENTRAL: link.central_cursor, Stream.ADDRESSED: link.addressed_cursor}


def next_doubts(session: Session, own_sync_id: int) -> list[Key]:
    """Return the next keys of which the primary is to say what it has; none if all are known.

    From the beginning everything is delivered, and nothing needs to be asked.
    """
    link = session.get_one(Link, 1)
    common, after = common_of(link), link.doubt_key or []
    if not any(common.values()):
        return []
    return inbox.doubted_keys(session, own_sync_id, common, after, MOST_DOUBTS)


def finish(session: Session, own_sync_id: int) -> int:
    """Apply everything received, and return how many records were quarantined.

    Raise SyncRefusal (removal_needs_consent) before anything is applied if more would be removed
    than a person agreed to.
    """
    link = session.get_one(Link, 1)
    common = common_of(link)
    lock_sequence(session)
    check_consent(session, inbox.FOREIGN, own_sync_id, common)
    reached = {Stream.CENTRAL: link.central_cursor, Stream.ADDRESSED: link.addressed_cursor}
    rule = restored_to(own_sync_id, link.written_since)
    expect_again(session, PRIMARY_SYNC_ID)
    refused = inbox.apply_stream(session, Stream.RESTORE, rule)
    _push_again(session, own_sync_id, min(common.values()))
    for stream in inbox.FOREIGN:
        refused += inbox.apply_stream(session, stream, renewed_by(own_sync_id))
        inbox.delete_missing(session, stream, own_sync_id, common[stream], reached[stream])
    release_missing(session, PRIMARY_SYNC_ID)
    for stream in Stream:
        inbox.clear_stream(session, stream)
    link.initialise, link.restore_cursor = InitialiseState.DONE, 0
    link.written_since, link.doubt_key, link.removal_consent = None, None, 0
    link.central_common = link.addressed_common = 0
    return refused


def check_consent(
    session: Session, streams: Iterable[Stream], own_sync_id: int, common: Cursors
) -> None:
    """Raise SyncRefusal if more of ``streams`` would be removed than a person agreed to.

    ``common`` is as :func:`inbox.count_missing` takes it.
    """
    missing, present = inbox.count_missing(session, streams, own_sync_id, common)
    is_small = missing <= max(FEWEST_ASKED, LEAST_SHARE_ASKED * present)
    if is_small or missing <= session.get_one(Link, 1).removal_consent:
        return
    primary = find_listed(session, PRIMARY_SYNC_ID)
    name = primary.name if primary else ""
    raise SyncRefusal("removal_needs_consent", records=missing, primary=name)


def _push_again(session: Session, own_sync_id: int, common: int) -> None:
    """Let own records go up that the primary may have lost, and did not hand back."""
    lost = inbox.in_doubt(common), ~inbox.is_delivered(Stream.RESTORE)
    session.execute(
        update(Record)
        .where(Record.owner == own_sync_id, text("NOT waiting"), *lost)
        .values(waiting=True),
        execution_options={"synchronize_session": False},
    )
