"""Initialise: a new or restored satellite takes over what its primary knows, then pushes the rest.

Everything is received first and applied at the end in one transaction: until then applications
work on with what they have, and a run that is cut off goes on where it was.
"""

import secrets

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from panel.models.records import Record
from panel.models.runs import InitialiseState, Link
from panel.sync.protocol.messages import Stream
from panel.sync.store import inbox
from panel.sync.store.apply import renewed_by, restored_to
from panel.sync.store.sequence import lock_sequence

_MARK_BYTES = 4


def begin(session: Session, own_sync_id: int) -> None:
    """Begin anew: nothing was received yet, and nothing is known to have reached the primary."""
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
    """Apply all that was received; return how many records were set aside."""
    inbox.raise_sequence(session)
    refused = inbox.apply_stream(session, Stream.RESTORE, restored_to(own_sync_id))
    for stream in (Stream.CENTRAL, Stream.ADDRESSED):
        refused += inbox.apply_stream(session, stream, renewed_by(own_sync_id))
        inbox.delete_missing(session, stream, own_sync_id)
    for stream in Stream:
        inbox.clear_stream(session, stream)
    # Applications that follow changes begin anew: their cursors may be of another past.
    lock_sequence(session).mark = secrets.token_hex(_MARK_BYTES)
    link = session.get_one(Link, 1)
    link.initialise, link.restore_cursor = InitialiseState.DONE, 0
    return refused
