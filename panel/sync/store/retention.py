"""The retention of runs, tombstones, applicants, left-out records and removed servers."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from panel import clock
from panel.models.records import Quarantined, Record
from panel.models.runs import Acknowledged, Applicant, Peer, Run
from panel.models.settings import Server
from panel.sync.store.sequence import lock_sequence

# Bounded, since writers of records wait for the lock of the sequence meanwhile.
_TOMBSTONES_AT_ONCE = 2_000


def purge(session: Session, keep_days: int) -> bool:
    """Delete what is older than ``keep_days`` days; say whether tombstones are left to delete.

    A reader that has not read a purged tombstone has to initialise (``ChangeSequence.purged_seq``).
    """
    before = clock.now() - timedelta(days=keep_days)
    session.execute(delete(Run).where(Run.started_at < before))
    session.execute(delete(Applicant).where(Applicant.last_at < before))
    session.execute(delete(Quarantined).where(Quarantined.left_out_at < before))
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


def _purge_tombstones(session: Session, before: datetime) -> bool:
    # A tombstone that waits to be pushed is kept.
    old = text("records.deleted AND NOT records.waiting"), Record.changed_at < before
    sequence = lock_sequence(session)
    query = select(Record.seq).where(*old).order_by(Record.seq).limit(_TOMBSTONES_AT_ONCE)
    seqs = session.scalars(query).all()
    if seqs:
        sequence.purged_seq = max(sequence.purged_seq, seqs[-1])
        session.execute(delete(Record).where(*old, Record.seq <= seqs[-1]))
    return len(seqs) == _TOMBSTONES_AT_ONCE


def _purge_servers(session: Session, before: datetime) -> None:
    gone = select(Server.id).where(Server.removed_at < before)
    session.execute(delete(Peer).where(Peer.server_id.in_(gone)))
    session.execute(delete(Server).where(Server.removed_at < before))
