"""The schedule of a satellite's runs (PROTOCOL.md, *When*), the lease for them, and their rows.

The lease lets one process run at a time; its holder renews it during a run. A holder that died is
replaced when its lease ends, or at once if it was a process of this machine. A holder that was only
slow notices that before it stores anything more.
"""

import logging
import os
import random
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from panel import clock
from panel.db import Database
from panel.installation import Installation
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Link, Loop, Run, RunResult
from panel.models.settings import Settings
from panel.sync.protocol.error_codes import PASSING, STOPPED_BY_HAND, WRONG_PAIR, SyncRefusal
from panel.sync.satellite.sync_settings import read_sync_settings
from panel.sync.transport.batch_size import Meter

log = logging.getLogger(__name__)

# The share of a time by which it varies at random, so that satellites on the same line do not all
# call in the same second.
_JITTER = 0.1
_FIRST_PAUSE_SECONDS = 15.0
# How long after a refusal a satellite asks again, whether it was put right at the primary. A pair
# that is wrong is sent no more often than that, since the primary counts wrong ones.
_REFUSED_PAUSE = timedelta(minutes=15)
_LONGEST_WAIT_SECONDS = 3_600
LEASE = timedelta(seconds=45)
# How far the clocks of two machines with one database may differ.
_SKEW = LEASE
_RENEW_SECONDS = 10.0
_HOST = socket.gethostname()[:30]


def is_due(session: Session, installation: Installation) -> bool:
    """Say whether a run of this satellite is due now; on any other server none is."""
    settings, loop = session.get_one(Settings, 1), session.get_one(Loop, 1)
    if not settings.is_satellite or settings.interval_minutes == 0:
        return False
    try:
        sync_settings = read_sync_settings(session, installation)
    except SyncRefusal:
        # A parameter is missing. The page says so.
        return False
    if loop.asked_at is not None or loop.settings_digest != sync_settings.digest():
        return True
    if _was_cut_off(session, loop):
        return True
    if loop.refusal and loop.refusal not in PASSING:
        # A person here has to act: the sync stops until they ask for it or change the parameters.
        return False
    return due_at(loop, settings.interval_minutes) <= clock.now()


def due_at(loop: Loop, interval_minutes: int) -> datetime:
    """Return when the next run is due (UTC), by the interval and by the back-off after a fault."""
    now = clock.now()
    if loop.started_at is None or loop.started_at > now:
        # A start in the future comes from a clock that was set back since.
        return now
    # Seeded with the start of the last run, so that every call returns the same moment.
    jitter = random.Random(loop.started_at.timestamp()).uniform(-_JITTER, _JITTER)  # noqa: S311
    interval = timedelta(minutes=interval_minutes)
    if loop.refusal in WRONG_PAIR:
        interval = _REFUSED_PAUSE
    regular = loop.started_at + interval * (1 + jitter)
    return regular if loop.due_at is None else min(regular, loop.due_at)


def note_start(session: Session, installation: Installation) -> None:
    """Record that a run starts: clear the request, the back-off and the last refusal.

    A refusal that still holds comes again; since when it does stays until a run is not refused.
    """
    loop = session.get_one(Loop, 1)
    loop.refusal, loop.refusal_values = "", None
    loop.settings_digest = _digest(session, installation)
    loop.started_at, loop.asked_at, loop.due_at = clock.now(), None, None
    loop.silent_since, loop.stop_asked_at = None, None


def is_to_end(session: Session, installation: Installation) -> bool:
    """Say whether the run under way is to end: somebody stopped it or changed what it uses."""
    loop = session.get_one(Loop, 1)
    return loop.stop_asked_at is not None or _digest(session, installation) != loop.settings_digest


def note_crash(session: Session) -> None:
    """Record that a run ended with an unexpected exception; the next one waits for the back-off."""
    loop, now = session.get_one(Loop, 1), clock.now()
    loop.failures += 1
    loop.due_at = now + _pause(loop.failures)
    crashed = {"ended_at": now, "result": RunResult.FAILED, "reason": "internal_error"}
    session.execute(update(Run).where(Run.ended_at.is_(None)).values(crashed))


def note_end(session: Session, run: Run, has_moved: bool = False) -> None:
    """Record the result of a run for the schedule.

    After a refusal that the primary may put right the next run comes at the interval, or after 15
    minutes where that is sooner; after another one when a person acts. After a fault the next run
    waits for the back-off. The back-off is the shortest one if the run moved
    records, or a part of one (``has_moved``).
    """
    loop = session.get_one(Loop, 1)
    if run.result == RunResult.REFUSED:
        loop.failures = 0
        loop.refusal, loop.refusal_values = run.reason, run.reason_values
        loop.refused_at = loop.refused_at or clock.now()
        seconds = (run.reason_values or {}).get("seconds")
        is_asked = loop.refusal == "initialise_later"
        loop.due_at = clock.now() + (_asked_wait(seconds) if is_asked else _REFUSED_PAUSE)
        return
    loop.refused_at = None
    if run.result == RunResult.FAILED:
        has_moved = has_moved or run.pushed + run.pulled > 0
        loop.failures = 1 if has_moved else loop.failures + 1
        loop.due_at = clock.now() + _pause(loop.failures)
        return
    if run.reason != STOPPED_BY_HAND:
        loop.failures = 0


def _asked_wait(seconds: Any) -> timedelta:
    """Return how long the primary asked this satellite to wait; :func:`due_at` bounds it."""
    told = seconds if isinstance(seconds, int) and 0 < seconds < _LONGEST_WAIT_SECONDS else 0
    return timedelta(seconds=told or _LONGEST_WAIT_SECONDS)


def _pause(failures: int) -> timedelta:
    """Return the back-off after ``failures`` faults in a row; :func:`due_at` bounds it."""
    seconds = _FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20)
    return timedelta(seconds=seconds * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311


def _was_cut_off(session: Session, loop: Loop) -> bool:
    """Say whether the last run was cut off because its process ended."""
    open_run = select(Run.id).where(Run.ended_at.is_(None)).limit(1)
    # A process that ended during a run did not release its lease.
    never_ended = loop.holder is not None or session.scalar(open_run) is not None
    return never_ended and is_free(loop)


def _digest(session: Session, installation: Installation) -> str:
    try:
        return read_sync_settings(session, installation).digest()
    except SyncRefusal:
        return ""


# --- the lease ------------------------------------------------------------------------------------


class LeaseLost(Exception):
    """Another process has the lease now, or this one was told to stop."""


def is_free(loop: Loop) -> bool:
    """Say whether the lease can be acquired: it is free, it ended, or its holder died."""
    if loop.holder is None or loop.held_until is None:
        return True
    left = loop.held_until - clock.now()
    # One that ends later than any lease was acquired before the clock was set back.
    return not timedelta(0) < left <= LEASE + _SKEW or _has_died(loop.holder)


class Lease:
    """The lease as one holder has it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = f"{_HOST}:{os.getpid()}:{secrets.token_hex(4)}"
        self._ended = threading.Event()

    def acquire(self, session: Session) -> bool:
        """Acquire the lease in the transaction of ``session`` if it is free; say whether it was."""
        loop = session.get_one(Loop, 1, with_for_update=True, populate_existing=True)
        if loop.holder != self._holder and not is_free(loop):
            return False
        loop.holder, loop.held_until = self._holder, clock.now() + LEASE
        return True

    def guard(self, session: Session) -> None:
        """Renew the lease in the transaction of ``session``. Raise :class:`LeaseLost`."""
        held = update(Loop).where(Loop.holder == self._holder)
        values = held.values(held_until=clock.now() + LEASE).returning(Loop.id)
        renewed = session.scalars(values).all()
        if self._ended.is_set() or not renewed:
            raise LeaseLost

    def stop(self) -> None:
        """Make :meth:`guard` raise from now on, so that the run stores nothing more."""
        self._ended.set()

    @property
    def is_stopped(self) -> bool:
        """Say whether the holder was told to stop."""
        return self._ended.is_set()

    def release(self) -> None:
        """Release the lease for the next holder."""
        with self._database.writing() as session:
            held = update(Loop).where(Loop.holder == self._holder)
            session.execute(held.values(holder=None, held_until=None))

    def keep_renewing(self, until: threading.Event) -> None:
        """Renew the lease until the event is set: a batch may take longer than a lease lasts."""
        while not until.wait(_RENEW_SECONDS):
            try:
                with self._database.writing() as session:
                    self.guard(session)
            except LeaseLost:
                return
            except SQLAlchemyError as error:
                # The lease lasts for several renewals: the next one is soon enough.
                log.warning("The lease of the sync could not be renewed: %s", error)


def _has_died(holder: str) -> bool:
    host, _, rest = holder.partition(":")
    number = rest.partition(":")[0]
    # On Windows os.kill with signal 0 would end the process.
    if os.name != "posix" or host != _HOST or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


# --- the row of the run under way ----------------------------------------------------------------

# Called at the end of every transaction of a run; raises LeaseLost if another process runs now.
Guard = Callable[[Session], None]


@dataclass(frozen=True)
class Finish:
    """The result of a run, with the code of a refusal or a fault and its values."""

    result: RunResult
    reason: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


class Progress:
    """The row of the run under way, written in the transactions of its steps."""

    def __init__(self, database: Database, guard: Guard) -> None:
        self._database = database
        self._guard = guard
        self._run_id = 0
        # A part of a record got through, though no whole one may have.
        self.has_moved = False

    def begin(self, session: Session) -> None:
        """Add the row of a run that starts now, and close those of runs that never ended."""
        now = clock.now()
        session.execute(
            update(Run)
            .where(Run.ended_at.is_(None))
            .values(ended_at=now, result=RunResult.CUT_OFF, reason="stopped")
        )
        session.get_one(Link, 1).last_attempt_at = now
        run = Run(other=PRIMARY_SYNC_ID, started_at=now)
        session.add(run)
        session.flush()
        self._run_id = run.id

    @contextmanager
    def step(self) -> Iterator[tuple[Session, Run]]:
        """Yield a session and the run's row for one transaction. Raise what the guard raises."""
        with self._database.writing() as session:
            yield session, session.get_one(Run, self._run_id)
            # Last: it locks a row that others wait for, and refuses the commit after a takeover.
            self._guard(session)

    def end(self, finish: Finish, meter: Meter) -> Run:
        """Record the result and the remaining bytes of ``meter``; return the row of the run."""
        with self.step() as (session, run):
            count_bytes(run, meter)
            run.ended_at = clock.now()
            run.result, run.reason = finish.result, finish.reason
            run.reason_values = dict(finish.values) or None
            if finish.result == RunResult.WELL:
                session.get_one(Link, 1).last_success_at = run.ended_at
            # Same transaction: otherwise a page between the two shows a failed run as well.
            note_end(session, run, self.has_moved)
        return run


def count_bytes(run: Run, meter: Meter) -> None:
    """Add to ``run`` the bytes that ``meter`` counted since the last call."""
    up, down = meter.take_bytes()
    run.bytes_up += up
    run.bytes_down += down
