"""The retention of runs, tombstones, applicants, left-out records and removed servers."""

from datetime import datetime, timedelta

from sqlalchemy import case, delete, func, select, text
from sqlalchemy.orm import Session

from panel import clock
from panel.models.records import Quarantined, Record
from panel.models.runs import Acknowledged, Applicant, Link, Loop, Peer, Run
from panel.models.settings import Server, SyncProtocol
from panel.sync.store import parts
from panel.sync.store.quarantine import KEPT_SOURCE
from panel.sync.store.sequence import lock_sequence

# Bounded, since writers of records wait for the lock of the sequence meanwhile.
_TOMBSTONES_AT_ONCE = 2_000
_LONGEST_STEP = timedelta(days=2)


def purge(session: Session, keep_days: int) -> bool:
    """Delete what is older than ``keep_days`` days; say whether tombstones are left to delete.

    A reader that has not read a purged tombstone has to initialise (``ChangeSequence.purged_seq``).
    """
    before = purge_clock(session) - timedelta(days=keep_days)
    session.execute(delete(Run).where(Run.started_at < before))
    session.execute(delete(Applicant).where(Applicant.last_at < before))
    session.execute(delete(Quarantined).where(Quarantined.left_out_at < before))
    kept = Quarantined.source == KEPT_SOURCE, Quarantined.last_at < before
    session.execute(delete(Quarantined).where(*kept))
    parts.drop_old(session)
    _purge_servers(session, before)
    session.execute(
        delete(Acknowledged).where(
            Acknowledged.position
            <= select(Peer.addressed_cursor)
            .where(Peer.server_id == Acknowledged.server_id)
            .scalar_subquery()
        )
    )
    return _purge_tombstones(session, before)


def purge_clock(session: Session) -> datetime:
    """Return the time that ages are counted by: it goes on by two days from purge to purge.

    So a clock that stands years ahead for an hour does not age everything that is kept.
    """
    now, purged_at = clock.now(), session.scalar(select(Loop.purged_at))
    return now if purged_at is None or purged_at > now else min(now, purged_at + _LONGEST_STEP)


def _purge_tombstones(session: Session, before: datetime) -> bool:
    # A tombstone that waits to be pushed is kept.
    sequence = lock_sequence(session)
    passed = passed_by_v5_sites(session)
    # Nobody tells such a site to initialise but a person, who deletes its data there.
    until = sequence.seq if passed is None else passed
    old = (
        text("records.deleted AND NOT records.waiting"),
        Record.changed_at < before,
        Record.seq <= until,
    )
    query = select(Record.seq).where(*old).order_by(Record.seq).limit(_TOMBSTONES_AT_ONCE)
    seqs = session.scalars(query).all()
    if seqs:
        sequence.purged_seq = max(sequence.purged_seq, seqs[-1])
        purged = select(func.max(Record.remote_seq)).where(*old, Record.seq <= seqs[-1])
        link = session.get_one(Link, 1)
        link.purged_remote_seq = max(link.purged_remote_seq, session.scalar(purged) or 0)
        session.execute(delete(Record).where(*old, Record.seq <= seqs[-1]))
    return len(seqs) == _TOMBSTONES_AT_ONCE


def passed_by_v5_sites(session: Session) -> int | None:
    """Return the number up to which every v5 site has read; None if no such site has read any."""
    both = case(
        (Peer.central_cursor < Peer.addressed_cursor, Peer.central_cursor),
        else_=Peer.addressed_cursor,
    )
    query = select(func.min(both)).join(Server, Server.id == Peer.server_id)
    # One that has not asked from beyond the beginning has nothing that could be deleted.
    reads = Peer.protocol == SyncProtocol.V5, Peer.asked_cursor > 0, Server.removed_at.is_(None)
    passed: int | None = session.scalar(query.where(*reads))
    return passed


def _purge_servers(session: Session, before: datetime) -> None:
    gone = select(Server.id).where(Server.removed_at < before)
    session.execute(delete(Peer).where(Peer.server_id.in_(gone)))
    session.execute(delete(Server).where(Server.removed_at < before))
