"""The count of changes on this server, given out so that a reader's cursor never skips one.

Numbers are given out under the lock of the one Clock row, which is held until the commit. So they
become visible in their own order: whoever sees the count at N sees every change up to N. Readers
take no lock, and hold up no writer.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.models.records import ChangeSequence


def lock_sequence(session: Session) -> ChangeSequence:
    """Return the clock; until the caller's commit nobody else changes records.

    Every writer of records comes here first, then reads what is there: what it reads stays true,
    and two writers cannot wait for each other.
    """
    session.flush()
    return session.get_one(ChangeSequence, 1, with_for_update=True, populate_existing=True)


def next_seqs(session: Session, count: int) -> range:
    """Return the next ``count`` numbers of the sequence, to be written before the commit."""
    clock = lock_sequence(session)
    first = clock.seq + 1
    clock.seq += count
    return range(first, first + count)


def present_seq(session: Session) -> int:
    """Return the number up to which every change is visible to ``session`` from here on."""
    return session.scalars(select(ChangeSequence.seq)).one()
