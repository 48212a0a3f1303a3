"""The queue of a v5 site: records addressed to it and, in an initialise, its own.

The queue is not a table. It consists of the records above two cursors of the :class:`Peer`, without
those acknowledged out of order; the ``syncOutId`` is the record's ``seq``. A record that changes
while it waits gets a new ``seq``, and so waits once, as its newest version.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select
from sqlalchemy.orm import Session

from panel.models.records import Record
from panel.models.runs import Acknowledged, Peer, SiteInitialisation
from panel.models.settings import Server
from panel.sync.store import change_feed
from panel.sync.store.sequence import present_seq

# The limit of values in a statement is 32 766 in SQLite, 999 in old versions.
_CHUNK = 500
# A number with this many digits may not fit into a BIGINT column.
_DIGITS = 19


def queued(session: Session, server: Server, peer: Peer, limit: int) -> list[Record]:
    """Return the oldest queued records, at most ``limit``."""
    return list(change_feed.read(session, _waits(server, peer), 0, limit).records)


def queue_length(session: Session, server: Server, peer: Peer) -> int:
    """Return how many records are queued."""
    return change_feed.count(session, _waits(server, peer), 0)


def begin_restore(session: Session, server: Server, peer: Peer) -> int:
    """Queue everything that the site owns or that is addressed to it; return how many records.

    Repeated before anything of it was acknowledged, it changes nothing.
    """
    if (
        peer.initialisation != SiteInitialisation.STARTED
        or peer.restore_cursor
        or _any_acknowledged(session, peer)
    ):
        _forget_acknowledged(session, peer)
        peer.restore_cursor = peer.addressed_cursor = peer.central_cursor = 0
        peer.restore_until = present_seq(session)
        peer.initialisation = SiteInitialisation.STARTED
    return queue_length(session, server, peer)


def acknowledge(session: Session, server: Server, peer: Peer, ids: Iterable[str]) -> int:
    """Remove these ``syncOutId`` from the queue, ignoring others; return how many were in it."""
    positions = sorted({int(text) for text in ids if _is_position(text)})
    dropped = 0
    for begin in range(0, len(positions), _CHUNK):
        dropped += _drop(session, server, peer, positions[begin : begin + _CHUNK])
    move_cursors(session, server, peer)
    return dropped


def move_cursors(session: Session, server: Server, peer: Peer) -> None:
    """Move the cursors up to the first queued record, and delete acknowledgements below them.

    The initialise is completed when the restore cursor has reached its end.
    """
    # Read before the queue: no record up to this seq is added to the queue after that.
    newest = present_seq(session)
    first = next(iter(queued(session, server, peer, 1)), None)
    passed = newest if first is None else first.seq - 1
    peer.addressed_cursor = max(peer.addressed_cursor, passed)
    if peer.initialisation == SiteInitialisation.STARTED:
        peer.restore_cursor = min(max(peer.restore_cursor, passed), peer.restore_until)
        if peer.restore_cursor >= peer.restore_until:
            peer.initialisation = SiteInitialisation.COMPLETED
    session.execute(
        delete(Acknowledged).where(
            Acknowledged.server_id == peer.server_id, Acknowledged.position <= passed
        )
    )


def _waits(server: Server, peer: Peer) -> ColumnElement[bool]:
    addressed = and_(Record.to == server.sync_id, Record.seq > peer.addressed_cursor)
    acknowledged = exists().where(
        Acknowledged.server_id == peer.server_id, Acknowledged.position == Record.seq
    )
    if peer.initialisation != SiteInitialisation.STARTED:
        return and_(addressed, Record.owner != server.sync_id, ~acknowledged)
    own = and_(
        Record.owner == server.sync_id,
        Record.seq > peer.restore_cursor,
        Record.seq <= peer.restore_until,
    )
    return and_(or_(own, and_(addressed, Record.owner != server.sync_id)), ~acknowledged)


def _drop(session: Session, server: Server, peer: Peer, positions: Sequence[int]) -> int:
    in_queue = select(Record.seq).where(Record.seq.in_(positions), _waits(server, peer))
    found = session.scalars(in_queue).all()
    session.add_all(Acknowledged(server_id=peer.server_id, position=seq) for seq in found)
    session.flush()
    return len(found)


def _is_position(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < _DIGITS


def _any_acknowledged(session: Session, peer: Peer) -> bool:
    mine = exists().where(Acknowledged.server_id == peer.server_id)
    return session.scalar(select(mine)) or False


def _forget_acknowledged(session: Session, peer: Peer) -> None:
    session.execute(delete(Acknowledged).where(Acknowledged.server_id == peer.server_id))
