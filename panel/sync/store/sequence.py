"""The gap-free sequence of changes on this server, its history, and the witness beside it.

Numbers are given out under the lock of the one ChangeSequence row, which is held until the commit.
So they become visible in their own order: a reader that sees the sequence at N sees every change up
to N, and its cursor skips none. Readers take no lock (PROTOCOL.md, *Order*).

No number is used twice. A start that finds the database older than the numbers that it gave out
begins a new generation, which continues beyond them (PROTOCOL.md, *History*).
"""

import logging
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from panel import clock
from panel.activity.log import Actor, EventKind, add_entry
from panel.db import Database
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import (
    BEYOND_VERSIONS,
    ChangeSequence,
    Generation,
    HistoryReason,
    Record,
)
from panel.models.runs import Link
from panel.models.settings import Settings
from panel.sync.protocol.column_codec import HIGHEST_VERSION

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

GENERATION_BYTES = 8
# So many numbers a new generation skips, since a power cut may have lost the last of the witness.
MARGIN = 1_000_000
_GIVEN_OUT = "numbers given out"
# With these it is certain that the past is lost, and that no copy of this server goes on in it.
CERTAIN = {HistoryReason.RESTORED, HistoryReason.TIMELINE, HistoryReason.BY_HAND}
# What nobody said, and what this server found out by itself.
_FOUND = {
    HistoryReason.RESTORED: EventKind.RESTORE_FOUND,
    HistoryReason.TIMELINE: EventKind.RESTORE_FOUND,
    HistoryReason.CLONE: EventKind.COPY_FOUND,
}
_DIGITS = 20


def lock_sequence(session: Session) -> ChangeSequence:
    """Return the row of the sequence, locked until the caller's commit.

    Every writer of records calls this before it reads any. So what it reads does not change until
    it commits, and two writers cannot deadlock.
    """
    session.flush()
    return session.get_one(ChangeSequence, 1, with_for_update=True, populate_existing=True)


def next_seqs(session: Session, count: int) -> range:
    """Give out the next ``count`` numbers of the sequence, for rows of this transaction.

    The sequence stays locked until the caller's commit.
    """
    sequence = lock_sequence(session)
    first = sequence.seq + 1
    sequence.seq += count
    if count:
        session.info[_GIVEN_OUT] = Mark(sequence.generation, sequence.seq)
    return range(first, first + count)


def present_seq(session: Session) -> int:
    """Return the present count: ``session`` sees every change up to this number."""
    return session.scalars(select(ChangeSequence.seq)).one()


# --- generations ----------------------------------------------------------------------------------


def last_common_seq(session: Session, generation: str, sequence: ChangeSequence) -> int:
    """Return the last number of ``generation`` that this database has; -1 if it knows none."""
    if generation == sequence.generation:
        return sequence.seq
    row = session.get(Generation, generation)
    return -1 if row is None or row.last_seq is None else row.last_seq


def is_lost_number(session: Session, number: int) -> bool:
    """Say whether ``number`` was given out in a past that this database lost, and never again."""
    query = select(Generation).where(Generation.first_seq <= number)
    before = session.scalar(query.order_by(Generation.first_seq.desc()).limit(1))
    return before is not None and before.last_seq is not None and number > before.last_seq


def last_numbers(session: Session, limit: int) -> dict[str, int]:
    """Map each of the newest ``limit`` generations, the oldest first, to its last number."""
    query = select(Generation).order_by(Generation.first_seq.desc()).limit(limit)
    present = session.get_one(ChangeSequence, 1)
    rows = reversed(session.scalars(query).all())
    return {row.generation: last_common_seq(session, row.generation, present) for row in rows}


def begin_generation(session: Session, reason: HistoryReason, beyond: int = 0) -> None:
    """Begin a generation, whose numbers are higher than ``beyond`` and all that were given out.

    A satellite tells its primary in its next run, and gets back the records that it lost. The
    sequence stays locked until the caller's commit.
    """
    sequence = lock_sequence(session)
    session.execute(
        update(Generation)
        .where(Generation.generation == sequence.generation)
        .values(last_seq=sequence.seq)
    )
    sequence.generation = secrets.token_urlsafe(GENERATION_BYTES)
    sequence.seq = max(sequence.seq, beyond) + MARGIN
    home = find_home(session)
    session.add(
        Generation(
            generation=sequence.generation,
            first_seq=sequence.seq + 1,
            began_at=clock.now(),
            reason=reason,
            cluster=home.cluster,
            timeline=home.timeline,
        )
    )
    session.info[_GIVEN_OUT] = Mark(sequence.generation, sequence.seq)
    _note_doubt(session, reason, sequence.seq + 1)
    if reason in _FOUND:
        # What was written since the backup may be gone: whoever misses it finds out why.
        here = Actor(session.get_one(Settings, 1).name, via="sync")
        add_entry(session, here, _FOUND[reason])


def _note_doubt(session: Session, reason: HistoryReason, first_seq: int) -> None:
    """Note the first own number that was given out after a past was lost."""
    link = session.get_one(Link, 1)
    # If it was not noticed at once, numbers of the lost past may have been given out a second time:
    # then every own number is in doubt.
    is_certain = reason in (HistoryReason.RESTORED, HistoryReason.TIMELINE)
    since = first_seq if is_certain else 0
    known = link.written_since
    link.written_since = since if known is None else min(known, since)


@dataclass(frozen=True)
class Home:
    """Where a PostgreSQL database is; None if the server does not say, and on SQLite."""

    cluster: str | None = None
    timeline: str | None = None


def find_home(session: Session) -> Home:
    """Return where the database is: its cluster with its own number there, and the timeline."""
    if session.connection().dialect.name != "postgresql":
        return Home()
    # A server may refuse to say these, and a standby server has no timeline of its own.
    return Home(
        _ask_server(
            session,
            "SELECT system_identifier || ':' || oid FROM pg_control_system(), pg_database"
            " WHERE datname = current_database()",
        ),
        _ask_server(session, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"),
    )


def _ask_server(session: Session, query: str) -> str | None:
    try:
        with session.begin_nested():
            told: str | None = session.scalar(text(query))
    except DBAPIError:
        return None
    return told


# --- the witness ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """A number, and the generation in which it was given out."""

    generation: str
    number: int

    def precedes(self, other: "Mark") -> bool:
        """Say whether ``other`` replaces this mark: it is higher, or of another generation."""
        return self.generation != other.generation or self.number < other.number


class Witness:
    """A file beside the database that holds the highest number given out.

    A backup of the database alone does not contain it, so it shows that a backup was restored. It
    is written after each commit that gave out numbers, and within a generation it only rises.
    Several processes of a machine share it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "witness"
        self._lock = threading.Lock()

    def read(self) -> Mark | None:
        """Return the mark in the file; None if there is no file, or no mark that can be read."""
        try:
            with self._path.open("rb") as file:
                return _read_mark(file)
        except OSError:
            return None

    def note(self, mark: Mark) -> None:
        """Write ``mark``, unless the file holds a higher one of its generation.

        A fault is only logged.
        """
        try:
            with self._opened() as file:
                known = _read_mark(file)
                if known is None or known.precedes(mark):
                    file.seek(0)
                    file.write(f"{mark.generation:<12} {mark.number:>{_DIGITS}}\n".encode())
        except OSError as error:
            # The numbers are committed. Without a newer mark, a restore is noticed less surely.
            log.warning("The witness of the numbers given out cannot be written: %s", error)

    def note_commit(self, session: Session) -> None:
        """Write the highest number that the committed ``session`` gave out, if it gave out any."""
        mark = session.info.pop(_GIVEN_OUT, None)
        if isinstance(mark, Mark):
            self.note(mark)

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Yield the file, opened for this thread alone."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        with self._lock, os.fdopen(os.open(self._path, flags, 0o600), "rb+", 0) as file:
            _lock_file(file)
            yield file


def _read_mark(file: BinaryIO) -> Mark | None:
    generation, _, number = file.read(100).decode("ascii", "replace").partition(" ")
    number = number.strip()
    is_number = number.isdecimal() and int(number) <= HIGHEST_VERSION
    return Mark(generation, int(number)) if generation and is_number else None


def _lock_file(file: BinaryIO) -> None:
    # Closing the file ends the lock. Windows has no such lock, but there one process serves.
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX)


def heal_numbers(database: Database) -> None:
    """Give new numbers to records whose numbers are higher than counting can have made them.

    Earlier versions let another server raise the count so far. No message can carry such numbers,
    so no other server would take the records of this one any more.
    """
    # Each has an index, so that a start does not read every record.
    beyond = Record.seq > HIGHEST_VERSION, text(BEYOND_VERSIONS)
    with database.reading() as session:
        found = [session.scalar(select(Record.id).where(one).limit(1)) for one in beyond]
        if found == [None, None] and present_seq(session) <= HIGHEST_VERSION:
            return
    with database.writing() as session:
        sequence = lock_sequence(session)
        if sequence.seq > HIGHEST_VERSION:
            query = select(func.max(Record.seq)).where(Record.seq <= HIGHEST_VERSION)
            sequence.seq = session.scalar(query) or 0
            begin_generation(session, HistoryReason.HEALED)
        own_sync_id = session.get_one(Settings, 1).sync_id
        ids = session.scalars(select(Record.id).where(or_(*beyond)).order_by(Record.seq)).all()
        for row_id, seq in zip(ids, next_seqs(session, len(ids)), strict=True):
            record = session.get_one(Record, row_id)
            record.seq = seq
            if record.owner != own_sync_id:
                # Every version that its owner sends next is newer.
                record.version = 0
            else:
                record.version, record.waiting = seq, own_sync_id != PRIMARY_SYNC_ID
            session.flush()
            session.expunge(record)


def notice_restore(database: Database, witness: Witness) -> None:
    """Begin a generation if the database is older than its witness, or was moved.

    If there is no witness, it is written from the numbers of the database.
    """
    # Read before the database. In between other processes can only raise the database's numbers.
    witnessed = witness.read()
    with database.reading() as session:
        if witnessed is not None and _is_same_history(session, witnessed):
            return
    with database.writing() as session:
        sequence = lock_sequence(session)
        if (reason := _restore_reason(session, witnessed)) is not None:
            begin_generation(session, reason, witnessed.number if witnessed else 0)
        else:
            present, home = session.get_one(Generation, sequence.generation), find_home(session)
            present.cluster, present.timeline = home.cluster, home.timeline
        mark = Mark(sequence.generation, sequence.seq)
    witness.note(mark)


def _is_same_history(session: Session, witnessed: Mark) -> bool:
    present = session.get_one(Generation, session.get_one(ChangeSequence, 1).generation)
    is_noted = find_home(session) == Home(present.cluster, present.timeline)
    return is_noted and _restore_reason(session, witnessed) is None


def _restore_reason(session: Session, witnessed: Mark | None) -> HistoryReason | None:
    sequence = session.get_one(ChangeSequence, 1)
    if witnessed is not None and (
        witnessed.number > sequence.seq or session.get(Generation, witnessed.generation) is None
    ):
        return HistoryReason.RESTORED
    present, home = session.get_one(Generation, sequence.generation), find_home(session)
    pairs = (present.cluster, home.cluster), (present.timeline, home.timeline)
    # A value that was never noted, or that the server does not say now, proves nothing.
    if any(noted and told and noted != told for noted, told in pairs):
        return HistoryReason.TIMELINE
    return None
