"""The loop that starts due runs, looking once a second, and purges old rows once a day."""

import logging
import threading
from datetime import datetime, timedelta

from sqlalchemy import case, delete, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from panel import clock
from panel.activity.log import remove_old
from panel.installation import Installation
from panel.models.records import Quarantined, Record
from panel.models.runs import Acknowledged, Applicant, Link, Loop, Peer, Run
from panel.models.settings import Server, SyncProtocol
from panel.sync.run import OpenLine, SatelliteRun
from panel.sync.satellite.schedule import (
    Lease,
    LeaseLost,
    is_due,
    is_to_end,
    note_crash,
    note_start,
)
from panel.sync.store import parts
from panel.sync.store.quarantine import KEPT_SOURCE
from panel.sync.store.sequence import lock_sequence
from panel.sync.transport.http import HttpTransport

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_PURGE_EVERY = timedelta(days=1)
_PURGE_AGAIN = timedelta(hours=1)
# How long stop() waits for a run to end.
_STOP_SECONDS = 5.0
_WATCH_SECONDS = 1.0
# A primary that answers nothing for so long is spoken of.
_SILENCE_SECONDS = 20.0

# Bounded, since writers of records wait for the lock of the sequence meanwhile.
_TOMBSTONES_AT_ONCE = 2_000
_LONGEST_STEP = timedelta(days=2)


def start_loop(installation: Installation) -> "SyncLoop":
    """Start a loop in a thread of its own and return it; the caller stops it."""
    loop = SyncLoop(installation)
    loop.start()
    return loop


class SyncLoop:
    """The satellite's loop, in a thread beside the web server, or alone in a worker process."""

    def __init__(self, installation: Installation, open_line: OpenLine = HttpTransport) -> None:
        self._installation = installation
        self._open_line = open_line
        self._stopped = threading.Event()
        self._purge_failed_at: datetime | None = None
        self._lease = Lease(installation.database)
        self._thread = threading.Thread(target=self.run, name="sync", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the loop; a run under way gives up and stores nothing more."""
        self._stopped.set()
        self._lease.stop()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def run(self) -> None:
        """Look for due work until :meth:`stop`, whatever the database or the line does."""
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                self.look()
            except LeaseLost:
                log.info("Another process synchronises now.")
            except SQLAlchemyError as error:
                log.warning("The database did not answer the sync: %s", error)
            except Exception:
                # Otherwise the thread would die without a word, and the sync with it.
                log.exception("The sync failed in a way that nobody thought of.")

    def look(self) -> Run | None:
        """Purge and run if due; return the run if there was one. Raise as :func:`run_once`."""
        if not self._installation.database.has_room():
            # What is received could not be stored, and would cross the line in vain.
            return None
        self._purge()
        with self._installation.database.reading() as session:
            due = is_due(session, self._installation)
        return run_once(self._installation, self._lease, self._open_line) if due else None

    def _purge(self) -> None:
        """Purge one transaction's worth if due; a failure does not keep the sync from running."""
        now = clock.now()
        if now < clock.RELEASED_AT:
            # By this clock nothing has an age.
            return
        if not _has_passed(_PURGE_AGAIN, self._purge_failed_at, now):
            return
        try:
            with self._installation.database.reading() as session:
                purged_at = session.get_one(Loop, 1).purged_at
            if not _has_passed(_PURGE_EVERY, purged_at, now):
                return
            config = self._installation.config
            with self._installation.database.writing() as session:
                oldest = purge_clock(session) - timedelta(days=config.activity_days)
                # The next look purges the rest, so that others can write in between.
                is_left = remove_old(session, oldest, config.activity_rows)
                if not purge(session, config.keep_days) and not is_left:
                    session.execute(update(Loop).values(purged_at=now))
        except SQLAlchemyError as error:
            self._purge_failed_at = now
            log.warning("What is older than the kept days could not be purged: %s", error)


def run_once(
    installation: Installation,
    lease: Lease,
    open_line: OpenLine = HttpTransport,
    *,
    at_once: bool = False,
) -> Run | None:
    """Run if a run is due, or ``at_once``, and no other process runs; return the ended run or None.

    Raise :class:`LeaseLost` if another process took over meanwhile, and what the run raises.
    """
    with installation.database.writing() as session:
        # Locked before is_due(): another process may have run since this one looked. The link is
        # first, as for whoever asks for an initialise: else the two would wait for each other.
        session.get_one(Link, 1, with_for_update=True)
        session.get_one(Loop, 1, with_for_update=True)
        if not (at_once or is_due(session, installation)) or not lease.acquire(session):
            return None
        note_start(session, installation)
        # Same transaction: otherwise a page rendered in between stops polling.
        run = SatelliteRun(installation, open_line, lease.guard)
        run.begin(session)
    over = threading.Event()
    watch = _Watch(installation, lease, run, over)
    beside = [
        threading.Thread(target=lease.keep_renewing, args=(over,), name="sync lease", daemon=True),
        threading.Thread(target=watch.run, name="sync watch", daemon=True),
    ]
    for thread in beside:
        thread.start()
    try:
        return run.run()
    except LeaseLost:
        raise
    except Exception:
        with installation.database.writing() as session:
            note_crash(session)
        raise
    finally:
        over.set()
        for thread in beside:
            thread.join()
        lease.release()


class _Watch:
    """Ends a run that somebody stops, and notes since when its primary answers nothing."""

    def __init__(
        self, installation: Installation, lease: Lease, run: SatelliteRun, over: threading.Event
    ) -> None:
        self._installation = installation
        self._lease = lease
        self._run = run
        self._over = over
        self._is_silent = False

    def run(self) -> None:
        """Look until the run is over."""
        while not self._over.wait(_WATCH_SECONDS):
            try:
                self._look()
            except LeaseLost:
                # Another process runs, or this one ends: nobody waits for what is on the line.
                self._run.stop()
                return
            except SQLAlchemyError as error:
                log.warning("The database did not answer the watch of a sync: %s", error)

    def _look(self) -> None:
        database, silent_seconds = self._installation.database, self._run.silent_seconds()
        with database.reading() as session:
            if self._lease.is_stopped or is_to_end(session, self._installation):
                self._run.stop()
        is_silent = silent_seconds > _SILENCE_SECONDS
        if is_silent == self._is_silent:
            return
        since = clock.now() - timedelta(seconds=silent_seconds) if is_silent else None
        with database.writing() as session:
            session.execute(update(Loop).values(silent_since=since))
            self._lease.guard(session)
        self._is_silent = is_silent


def _has_passed(span: timedelta, since: datetime | None, now: datetime) -> bool:
    # A moment in the future comes from a clock that was set back since.
    return since is None or not timedelta(0) <= now - since <= span


# --- what is removed by age -----------------------------------------------------------------------


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
