"""The state of the sync in one sentence, read from the tables that the sync service writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from panel.db import has_room
from panel.i18n import Message, say
from panel.models.runs import InitialiseState, Link, Loop, Run, RunResult
from panel.models.settings import Settings, read_settings
from panel.preferences.readiness import BlockingUrl, blocking_urls
from panel.status.sentences import (
    Counts,
    Severity,
    StateKind,
    clock_sentence,
    count_servers,
    primary_says,
    satellite_says,
)
from panel.sync.store.change_feed import count_waiting


@dataclass(frozen=True)
class State:
    """The state of the sync.

    The sentence names no time, since the page shows times in the reader's locale. ``run`` is the
    run under way; ``waiting`` counts the records that wait to be pushed; ``reason`` is the code of
    :mod:`panel.sync.protocol.error_codes` of a refusal or a fault, with its values; ``culprits``
    are the URLs that disable sync on a primary.
    """

    kind: StateKind
    severity: Severity
    sentence: Message
    last_success_at: datetime | None = None
    last_attempt_at: datetime | None = None
    waiting: int = 0
    run: Run | None = None
    counts: Counts = field(default_factory=Counts)
    asked: bool = False
    initialise: InitialiseState = InitialiseState.DONE
    reason: str = ""
    reason_values: dict[str, Any] = field(default_factory=dict)
    culprits: Sequence[BlockingUrl] = ()
    # How far this satellite's clock is from the primary's, where that is too much.
    clock: Message | None = None


def read_state(session: Session, now: datetime, *, probe: bool = False) -> State:
    """Return the state at ``now``; the number of queries does not grow with the data.

    With ``probe`` a write is tried out, in a process that has not written anything itself.
    """
    state = _read_state(session, now)
    if has_room(session, probe=probe):
        return state
    sentence = say("The disk of this server is full.")
    return replace(
        state,
        kind=StateKind.FULL,
        severity=Severity.VERY_LATE,
        sentence=sentence,
        reason="no_room",
        reason_values={},
    )


def _read_state(session: Session, now: datetime) -> State:
    settings = read_settings(session)
    if settings.sync_id is None:
        sentence = say("This server is stand-alone: without a Sync ID it does not synchronise.")
        return State(StateKind.STANDALONE, Severity.OFF, sentence)
    if settings.is_primary:
        return _state_of_primary(session, settings, now)
    return _state_of_satellite(session, settings, now)


class PlottedRun(NamedTuple):
    """What the plot shows of a run."""

    id: int
    result: RunResult
    pushed: int
    pulled: int


def recent_runs(session: Session, n: int = 24) -> list[PlottedRun]:
    """Return the last ``n`` runs, the oldest first, as the plot shows them."""
    return [PlottedRun(*row) for row in session.execute(_NEWEST_RUNS, {"most": n})][::-1]


# Of the table: every page runs it, and without the ORM it takes half the time.
_run = Run.__table__.c
_NEWEST_RUNS = (
    select(*(_run[name] for name in PlottedRun._fields))
    .order_by(_run.started_at.desc(), _run.id.desc())
    .limit(bindparam("most"))
)


def _state_of_satellite(session: Session, settings: Settings, now: datetime) -> State:
    loop, link = session.get_one(Loop, 1), session.get_one(Link, 1)
    run = _present_run(session, loop, now)
    kind, severity, sentence = satellite_says(session, settings, loop, link, run, now)
    reason, values = _reason(session, loop)
    return State(
        kind,
        severity,
        sentence,
        last_success_at=link.last_success_at,
        last_attempt_at=link.last_attempt_at,
        waiting=count_waiting(session),
        run=run,
        asked=loop.asked_at is not None,
        initialise=link.initialise,
        clock=clock_sentence(link.clock_seconds) if link.clock_seconds else None,
        reason=reason,
        reason_values=values or {},
    )


def _present_run(session: Session, loop: Loop, now: datetime) -> Run | None:
    """Return the run under way; without a lease, an open run was cut off."""
    if loop.held_until is None or loop.held_until <= now:
        return None
    run = session.scalar(select(Run).order_by(Run.started_at.desc(), Run.id.desc()).limit(1))
    return run if run is not None and run.ended_at is None else None


def _reason(session: Session, loop: Loop) -> tuple[str, dict[str, Any] | None]:
    """Return the code and values of the present refusal, or of the last line fault."""
    if loop.refusal or not loop.failures:
        return loop.refusal, loop.refusal_values
    run = session.scalar(select(Run).where(Run.reason != "").order_by(Run.id.desc()).limit(1))
    return (run.reason, run.reason_values) if run else ("", None)


def _state_of_primary(session: Session, settings: Settings, now: datetime) -> State:
    census = count_servers(session, now)
    culprits = blocking_urls(session) if settings.url or census.with_url else []
    kind, severity, sentence = primary_says(settings, census.counts, is_blocked=bool(culprits))
    return State(
        kind,
        severity,
        sentence,
        last_success_at=census.last_success_at,
        last_attempt_at=census.last_contact_at,
        counts=census.counts,
        culprits=culprits,
    )
