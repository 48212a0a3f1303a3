"""Keeps the tables of the exchange small: what is older than the kept days goes."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from panel import clock
from panel.models.records import Quarantined, Record
from panel.models.runs import Acknowledged, Applicant, Peer, Run
from panel.models.settings import Server
from panel.sync.store.sequence import lock_sequence

# Whoever writes records waits until they are gone.
_TOMBSTONES_AT_ONCE = 2_000


def purge(session: Session, keep_days: int) -> bool:
    """Remove runs, tombstones, applicants and removed servers older than ``keep_days``.

    Return whether there are more tombstones than one transaction should remove. Whoever did not
    read one in all that time is told to initialise (``Clock.purged_seq``).
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
    # One that waits to be pushed is kept, however old.
    old = text("records.deleted AND NOT records.waiting"), Record.changed_at < before
    own_count = lock_sequence(session)
    query = select(Record.seq).where(*old).order_by(Record.seq).limit(_TOMBSTONES_AT_ONCE)
    seqs = session.scalars(query).all()
    if seqs:
        own_count.purged_seq = max(own_count.purged_seq, seqs[-1])
        session.execute(delete(Record).where(*old, Record.seq <= seqs[-1]))
    return len(seqs) == _TOMBSTONES_AT_ONCE


def _purge_servers(session: Session, before: datetime) -> None:
    gone = select(Server.id).where(Server.removed_at < before)
    session.execute(delete(Peer).where(Peer.server_id.in_(gone)))
    session.execute(delete(Server).where(Server.removed_at < before))
