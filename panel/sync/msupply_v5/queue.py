"""The queue of a v5 site: records addressed to it and, in an initialise, its own.

The queue is not a table. It consists of the records above two cursors of the :class:`Peer`, without
those acknowledged out of order; the ``syncOutId`` is the record's ``seq``. A record that changes
while it waits gets a new ``seq``, and so waits once, as its newest version.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from sqlalchemy import ColumnElement, Update, and_, delete, exists, not_, or_, select, update
from sqlalchemy.orm import Session, aliased

from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Record
from panel.models.runs import Acknowledged, Peer, SiteCopy, SiteInitialisation
from panel.models.settings import Server
from panel.sync.store import change_feed
from panel.sync.store.records import save_rows
from panel.sync.store.sequence import lock_sequence, next_seqs, present_seq

# The limit of values in a statement is 32 766 in SQLite, 999 in old versions.
_CHUNK = 500
# A number with this many digits may not fit into a BIGINT column.
_DIGITS = 19


def queued(session: Session, server: Server, peer: Peer, limit: int) -> list[Record]:
    """Return the oldest queued records, at most ``limit``, and as many as fit into an answer."""
    pages = [
        change_feed.read(session, _waits(server, peer), 0, limit),
        change_feed.read(session, _copies(server), 0, limit),
    ]
    # What is beyond the end of an incomplete page would overtake the rest of that page.
    until = min((page.cursor for page in pages if page.more), default=None)
    found = {record.seq: record for page in pages for record in page.records}
    oldest = [found[seq] for seq in sorted(found) if until is None or seq <= until]
    return _fitting(oldest[:limit])


def queue_length(session: Session, server: Server, peer: Peer) -> int:
    """Return how many records are queued."""
    waits = _waits(server, peer)
    only_copies = and_(_copies(server), ~waits)
    return change_feed.count(session, waits, 0) + change_feed.count(session, only_copies, 0)


def begin_restore(session: Session, server: Server, peer: Peer) -> int:
    """Queue everything that the site owns or that is addressed to it; return how many records.

    Repeated before anything of it was acknowledged, it changes nothing.
    """
    is_untouched = not peer.restore_cursor and not _any_acknowledged(session, peer)
    if not (is_restoring(peer) and is_untouched):
        _forget_acknowledged(session, peer)
        session.execute(_copies_of(server).values(known_seq=0))
        peer.restore_cursor = peer.addressed_cursor = 0
        peer.restore_until = present_seq(session)
    peer.central_cursor = peer.asked_cursor = peer.addressed_offered = 0
    peer.own_generation, peer.sent_seq = "", 0
    # The site takes what is here for all there is.
    peer.lacking_since = None
    # As soon as the queue is prepared: a site whose restore was interrupted asks for everything
    # again only if it is told that the one before is complete.
    peer.initialisation = SiteInitialisation.COMPLETED
    return queue_length(session, server, peer)


def set_back(session: Session, server: Server, peer: Peer, central: int, queued: int) -> None:
    """Queue again what a satellite sent or got since it had these numbers: it was restored."""
    _forget_acknowledged(session, peer)
    since = _copies_of(server).where(SiteCopy.known_seq > queued)
    session.execute(since.values(known_seq=queued))
    begin = peer.restore_cursor if is_restoring(peer) else central
    # What it had sent has higher numbers here than what it had read before.
    peer.restore_cursor, peer.restore_until = min(begin, central), present_seq(session)
    peer.addressed_cursor = min(peer.addressed_cursor, queued)
    peer.central_cursor = peer.asked_cursor = central


def acknowledge(session: Session, server: Server, peer: Peer, ids: Iterable[str]) -> int:
    """Remove these ``syncOutId`` from the queue, ignoring others; return how many were in it."""
    positions = sorted({int(text) for text in ids if is_position(text)})
    lock_sequence(session)
    dropped = 0
    for begin in range(0, len(positions), _CHUNK):
        dropped += _drop(session, server, peer, positions[begin : begin + _CHUNK])
    move_cursors(session, server, peer)
    return dropped


def is_restoring(peer: Peer) -> bool:
    """Say whether records of its own still wait for the site."""
    return peer.restore_cursor < peer.restore_until


def move_cursors(session: Session, server: Server, peer: Peer) -> None:
    """Move the cursors up to the first queued record, and delete acknowledgements below them.

    The initialise is completed when the restore cursor has reached its end.
    """
    # Read before the queue: no record up to this seq is added to the queue after that.
    newest = present_seq(session)
    first = next(iter(queued(session, server, peer, 1)), None)
    passed = newest if first is None else first.seq - 1
    peer.addressed_cursor = max(peer.addressed_cursor, passed)
    if is_restoring(peer):
        peer.restore_cursor = min(max(peer.restore_cursor, passed), peer.restore_until)
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
    if not is_restoring(peer):
        return and_(addressed, Record.owner != server.sync_id, ~acknowledged)
    own = and_(
        Record.owner == server.sync_id,
        Record.seq > peer.restore_cursor,
        Record.seq <= peer.restore_until,
    )
    return and_(or_(own, and_(addressed, Record.owner != server.sync_id)), ~acknowledged)


def _copies(server: Server) -> ColumnElement[bool]:
    """Return the condition of what changed since the site got its copy of it.

    Central data is no part of the queue: a copy of it only says what the site itself wrote.
    """
    newest = aliased(Record)
    behind = select(SiteCopy.record_id).join(newest, newest.id == SiteCopy.record_id)
    behind = behind.where(SiteCopy.server_id == server.id, SiteCopy.known_seq < newest.seq)
    is_central = Record.owner == PRIMARY_SYNC_ID, Record.to.is_(None)
    return and_(Record.id.in_(behind), not_(and_(*is_central)))


def is_known(server: Server) -> ColumnElement[bool]:
    """Return the condition of what the site has just as it is."""
    copy = SiteCopy.server_id == server.id, SiteCopy.record_id == Record.id
    return exists().where(*copy, SiteCopy.known_seq == Record.seq)


def _copies_of(server: Server) -> Update:
    fast = {"synchronize_session": False}
    return update(SiteCopy).where(SiteCopy.server_id == server.id).execution_options(**fast)


def _fitting(records: Sequence[Record]) -> list[Record]:
    sums = accumulate(record.size for record in records)
    fitting = sum(total <= change_feed.LARGEST_BATCH_BYTES for total in sums)
    return list(records[: max(fitting, 1)])


def _drop(session: Session, server: Server, peer: Peer, positions: Sequence[int]) -> int:
    waits = or_(_waits(server, peer), _copies(server))
    query = select(Record.id, Record.seq, Record.owner, Record.to)
    found = session.execute(query.where(Record.seq.in_(positions), waits)).all()
    session.add_all(Acknowledged(server_id=peer.server_id, position=row.seq) for row in found)
    session.flush()
    if found:
        peer.addressed_offered = max(peer.addressed_offered, *(row.seq for row in found))
    ids = [row.id for row in found]
    own_seq = select(Record.seq).where(Record.id == SiteCopy.record_id).scalar_subquery()
    copies = _copies_of(server).where(SiteCopy.record_id.in_(ids))
    session.execute(copies.values(known_seq=own_seq))
    _hand_over(session, server, ids)
    return len(found)


def _hand_over(session: Session, server: Server, ids: Sequence[int]) -> None:
    """Let the site write from now on what was meant for it alone and has arrived there."""
    meant = Record.owner == PRIMARY_SYNC_ID, Record.to == server.sync_id
    received = session.scalars(select(Record.id).where(Record.id.in_(ids), *meant)).all()
    # With new numbers, as if the site had sent them: a restored site gets them back.
    rows = [
        {"id": row_id, "owner": server.sync_id, "to": None, "seq": seq}
        for row_id, seq in zip(received, next_seqs(session, len(received)), strict=True)
    ]
    save_rows(session, rows)
    own = select(Record.id).where(Record.id.in_(ids), Record.owner == server.sync_id)
    session.execute(
        delete(SiteCopy).where(SiteCopy.server_id == server.id, SiteCopy.record_id.in_(own))
    )


def is_position(text: str) -> bool:
    """Say whether ``text`` is a number that a record can have."""
    return text.isascii() and text.isdigit() and len(text) < _DIGITS


def _any_acknowledged(session: Session, peer: Peer) -> bool:
    mine = exists().where(Acknowledged.server_id == peer.server_id)
    return session.scalar(select(mine)) or False


def _forget_acknowledged(session: Session, peer: Peer) -> None:
    session.execute(delete(Acknowledged).where(Acknowledged.server_id == peer.server_id))
