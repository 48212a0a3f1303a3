"""The initialise of a new or restored satellite in our own protocol.

Everything is received first and applied at the end in one transaction: until then applications go
on with the records that they have, and a run after one that was cut off continues it (PROTOCOL.md,
*States of a satellite*).
"""

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from panel.models.records import Record
from panel.models.runs import InitialiseState, Link
from panel.sync.protocol.messages import Stream
from panel.sync.store import inbox
from panel.sync.store.apply import renewed_by, restored_to
from panel.sync.store.sequence import lock_sequence


def begin(session: Session, own_sync_id: int) -> None:
    """Start an initialise: clear cursors and inbox, and mark every own record as waiting."""
    link = session.get_one(Link, 1)
    link.initialise = InitialiseState.RUNNING
    link.checkpoint = link.next_checkpoint = ""
    link.central_cursor = link.addressed_cursor = link.restore_cursor = 0
    for stream in Stream:
        inbox.clear_stream(session, stream)
    lock_sequence(session)
    session.execute(
        update(Record).where(Record.owner == own_sync_id, text("NOT waiting")).values(waiting=True),
        execution_options={"synchronize_session": False},
    )


def finish(session: Session, own_sync_id: int) -> int:
    """Apply everything received, and return how many records were quarantined."""
    inbox.raise_sequence(session)
    refused = inbox.apply_stream(session, Stream.RESTORE, restored_to(own_sync_id))
    for stream in (Stream.CENTRAL, Stream.ADDRESSED):
        refused += inbox.apply_stream(session, stream, renewed_by(own_sync_id))
        inbox.delete_missing(session, stream, own_sync_id)
    for stream in Stream:
        inbox.clear_stream(session, stream)
    link = session.get_one(Link, 1)
    link.initialise, link.restore_cursor = InitialiseState.DONE, 0
    return refused
