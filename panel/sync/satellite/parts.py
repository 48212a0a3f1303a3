"""The satellite's side of records that go in parts (PROTOCOL.md, *Parts*)."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Link, Run
from panel.sync.protocol.column_codec import HIGHEST_VERSION
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import LARGEST_PART_BYTES, LargeRecord, Stream
from panel.sync.satellite.push import Sent
from panel.sync.satellite.schedule import Progress, count_bytes
from panel.sync.store import inbox, parts
from panel.sync.transport import exchange_client
from panel.sync.transport.batch_size import grown
from panel.sync.transport.http import LinkFault, Transport

_CURSORS = {
    Stream.RESTORE: "restore_cursor",
    Stream.CENTRAL: "central_cursor",
    Stream.ADDRESSED: "addressed_cursor",
}


def send(line: Transport, progress: Progress, sent: Sent, have: int) -> None:
    """Send what the primary does not have of the record in ``sent``, after ``have`` bytes.

    Raise SyncRefusal or LinkFault.
    """
    large = sent.request.large
    while large and have < large.size:
        with progress.step() as (session, _):
            at_once = session.get_one(Link, 1).largest_up or large.size
        piece = sent.content[have : have + at_once]
        before = have
        with _pieces_marked():
            have = exchange_client.put_piece(line, sent.settings.token, large, have, piece)
        if have <= before:
            raise SyncRefusal("part_ended")
        with progress.step() as (_, run):
            count_bytes(run, line.meter)
        progress.has_moved = True


def fetch(
    line: Transport, progress: Progress, sent: Sent, large: LargeRecord, is_doubt: bool
) -> None:
    """Get the rest of a record that the primary named, and store it as received.

    ``is_doubt`` says that its key was in doubt: no stream goes on with it. Raise SyncRefusal or
    LinkFault.
    """
    with progress.step() as (session, _):
        have = parts.open_part(session, PRIMARY_SYNC_ID, large)
    while have < large.size:
        with progress.step() as (session, _):
            at_once = session.get_one(Link, 1).largest_down or LARGEST_PART_BYTES
        length = min(at_once, large.size - have)
        with _pieces_marked(length):
            piece = exchange_client.get_piece(line, sent.settings.token, large, have, length)
        with progress.step() as (session, run):
            parts.append(session, PRIMARY_SYNC_ID, large.digest, have, piece)
            count_bytes(run, line.meter)
        have += length
        progress.has_moved = True
    with progress.step() as (session, run):
        is_whole = _store(session, run, large, is_doubt)
    if not is_whole:
        raise LinkFault("not_a_sync_server")


@contextmanager
def _pieces_marked(bytes_down: int = 0) -> Iterator[None]:
    try:
        yield
    except LinkFault as fault:
        fault.is_piece, fault.bytes_down = True, bytes_down
        raise


def _store(session: Session, run: Run, large: LargeRecord, is_doubt: bool) -> bool:
    """Store a part that is whole as received; return whether it is what was named."""
    try:
        items = parts.take(session, PRIMARY_SYNC_ID, large, HIGHEST_VERSION)
    except BadMessage:
        items = None
    parts.drop(session, PRIMARY_SYNC_ID)
    if not items or items[0].position != large.position or large.stream is None:
        return False
    run.pulled += inbox.receive(session, large.stream, items)
    run.to_pull = max(run.to_pull, run.pulled)
    link = session.get_one(Link, 1)
    if is_doubt:
        link.doubt_key = list(items[0].key)
    else:
        setattr(link, _CURSORS[large.stream], large.position)
    link.largest_down = grown(link.largest_down, large.size)
    return True
