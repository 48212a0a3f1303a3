"""The gap-free sequence of changes on this server.

Numbers are allocated under the lock of the one ChangeSequence row, which is held until the commit.
So they become visible in their own order: a reader that sees the sequence at N sees every change up
to N, and its cursor skips none. Readers take no lock (PROTOCOL.md, *Order*).
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.models.records import ChangeSequence


def lock_sequence(session: Session) -> ChangeSequence:
    """Return the row of the sequence, locked until the caller's commit.

    Every writer of records calls this before it reads them: what it reads does not change until it
    commits, and two writers cannot deadlock.
    """
    session.flush()
    return session.get_one(ChangeSequence, 1, with_for_update=True, populate_existing=True)


def next_seqs(session: Session, count: int) -> range:
    """Allocate the next ``count`` numbers of the sequence, for rows of this transaction."""
    sequence = lock_sequence(session)
    first = sequence.seq + 1
    sequence.seq += count
    return range(first, first + count)


def present_seq(session: Session) -> int:
    """Return the number up to which ``session`` sees every change."""
    return session.scalars(select(ChangeSequence.seq)).one()
