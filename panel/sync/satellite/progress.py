"""The progress of a satellite's run in its row, guarded by the lease."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from panel import clock
from panel.db import Database
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Link, Run, RunResult
from panel.sync.satellite.schedule import note_end
from panel.sync.transport.batch_size import Meter

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
