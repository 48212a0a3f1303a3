"""The state of the sync, read from the tables that the sync service writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from panel.activity.log import EventKind
from panel.db import has_room
from panel.i18n import Message
from panel.models.people import Activity
from panel.models.runs import InitialiseState, Link, Loop, Run, RunResult
from panel.models.settings import Settings, read_settings
from panel.preferences.readiness import (
    BlockingUrl,
    blocking_urls,
    missing_on_primary,
    primary_name,
)
from panel.preferences.server_list import Counts, ServerState, count_servers
from panel.status import sentences
from panel.status.history import count_applicants, count_set_aside, disagreements
from panel.status.sentences import KIND_WORDS, Acts, Facts, Part, Severity, StateKind, Verdict
from panel.sync.protocol.error_codes import PASSING, explain
from panel.sync.satellite.schedule import due_at
from panel.sync.store.change_feed import waiting_here


@dataclass(frozen=True)
class State:
    """The state of the sync: the verdict in words, and the facts that it follows from.

    ``run`` is the run under way. ``waiting`` records have still to be pushed; all of them are
    stored here, the oldest since ``waiting_since``. ``next_try_at`` is when the next run is due,
    None where none is. ``reason`` is the code of :mod:`panel.sync.protocol.error_codes` of a
    refusal or a fault, with its values; ``refused_at`` is when the primary refused first.
    ``culprits`` are the URLs that disable sync on a primary; ``there`` is a satellite's primary.
    """

    verdict: Verdict
    last_success_at: datetime | None = None
    last_attempt_at: datetime | None = None
    waiting: int = 0
    waiting_since: datetime | None = None
    next_try_at: datetime | None = None
    refused_at: datetime | None = None
    set_aside: int = 0
    run: Run | None = None
    counts: Counts = field(default_factory=Counts)
    # How many wait to be added to this primary.
    applicants: int = 0
    asked: bool = False
    initialise: InitialiseState = InitialiseState.DONE
    reason: str = ""
    reason_values: Mapping[str, Any] = field(default_factory=dict)
    culprits: Sequence[BlockingUrl] = ()
    there: str | None = None
    # How far this satellite's clock is from the primary's, where that is too much.
    clock: Message | None = None

    @property
    def kind(self) -> StateKind:
        """Return the kind of state."""
        return self.verdict.kind

    @property
    def severity(self) -> Severity:
        """Return the severity, which gives the shape and the colour."""
        return self.verdict.severity

    @property
    def acts(self) -> Acts:
        """Return who has to act."""
        return self.verdict.acts

    @property
    def sentence(self) -> Message:
        """Return the state as one sentence."""
        return self.verdict.sentence

    @property
    def parts(self) -> Sequence[Part]:
        """Return the counts in a primary's sentence."""
        return self.verdict.parts

    @property
    def nameless(self) -> Message:
        """Return the state in words that name neither a person nor a server."""
        return self.sentence if self.kind is StateKind.OPEN else self.words

    @property
    def words(self) -> Message:
        """Return the state in one or two words, as a row of the list has it."""
        return KIND_WORDS[self.kind]


def read_state(session: Session, now: datetime, *, probe: bool = False) -> State:
    """Return the state at ``now``; the number of queries does not grow with the data.

    With ``probe`` a write is tried out, in a process that has not written anything itself.
    """
    state = _read_state(session, now)
    if has_room(session, probe=probe):
        return state
    return replace(state, verdict=sentences.FULL, reason="no_room", reason_values={})


def as_facts(state: State) -> dict[str, Any]:
    """Return the state as programs get it, from the shell and from the API alike."""
    run, reason = state.run, explain(state.reason, state.reason_values)
    return {
        "state": state.kind,
        "words": str(state.words),
        "severity": state.severity,
        "acts": state.acts,
        "sentence": str(state.sentence),
        "reason": state.reason or None,
        "what": str(reason.what) if state.reason else None,
        "next": str(reason.next) if state.reason else None,
        "differences": [
            vars(one) for one in disagreements(state.reason, state.reason_values, at_primary=False)
        ],
        "last_success_at": state.last_success_at,
        "last_attempt_at": state.last_attempt_at,
        "next_try_at": state.next_try_at,
        "refused_at": state.refused_at,
        "waiting": state.waiting,
        "waiting_since": state.waiting_since,
        "set_aside": state.set_aside,
        "clock": str(state.clock) if state.clock else None,
        "initialise": state.initialise,
        "asked": state.asked,
        "run": {name: getattr(run, name) for name in _RUN} if run else None,
        "satellites": _counted(state) if state.kind is StateKind.OPEN else None,
    }


_RUN = ("started_at", "step", "pushed", "to_push", "pulled", "to_pull")


def _counted(state: State) -> dict[str, int]:
    counts = state.counts
    in_states = {one.value: counts.of(one) for one in ServerState}
    return {"total": counts.total, **in_states, "applicants": state.applicants}


def _read_state(session: Session, now: datetime) -> State:
    settings = read_settings(session)
    if settings.sync_id is None:
        return State(sentences.STANDALONE)
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
    reason, values = _reason(session, loop)
    waiting, waiting_since = waiting_here(session)
    facts = Facts(
        settings,
        loop,
        link,
        run,
        primary_name(session),
        now,
        waiting=waiting,
        set_aside=count_set_aside(session),
        reason=reason,
        reason_values=values or {},
    )
    is_paused = run is None and settings.interval_minutes == 0
    verdict = _paused(session) if is_paused else sentences.satellite_says(facts)
    due = due_at(loop, settings.interval_minutes)
    return State(
        verdict,
        last_success_at=link.last_success_at,
        last_attempt_at=link.last_attempt_at,
        waiting=waiting,
        waiting_since=waiting_since,
        next_try_at=due if due > now and _is_tried(verdict, loop) else None,
        refused_at=loop.refused_at if loop.refusal else None,
        set_aside=facts.set_aside,
        run=run,
        asked=loop.asked_at is not None,
        initialise=link.initialise,
        reason=reason,
        reason_values=facts.reason_values,
        there=facts.there,
        clock=sentences.clock_sentence(link.clock_seconds) if link.clock_seconds else None,
    )


# In the last two it is tried at this moment.
_NOT_TRIED = (StateKind.NOT_READY, StateKind.PAUSED, StateKind.SYNCING, StateKind.NO_ANSWER)


def _is_tried(verdict: Verdict, loop: Loop) -> bool:
    """Say whether a satellite in this state tries again by itself."""
    if verdict.kind in _NOT_TRIED:
        return False
    return not loop.refusal or loop.refusal in PASSING


def _paused(session: Session) -> Verdict:
    return sentences.paused(session.scalar(_WHO_PAUSED))


_WHO_PAUSED = (
    select(Activity.person)
    .where(Activity.what == EventKind.INTERVAL_CHANGED)
    .order_by(Activity.at.desc(), Activity.id.desc())
    .limit(1)
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
    # One that was cut off here tells nothing of the line.
    failed = select(Run).where(Run.reason != "", Run.result != RunResult.CUT_OFF)
    run = session.scalar(failed.order_by(Run.id.desc()).limit(1))
    return (run.reason, run.reason_values) if run else ("", None)


def _state_of_primary(session: Session, settings: Settings, now: datetime) -> State:
    counts = count_servers(session, now)
    culprits = blocking_urls(session) if settings.url or counts.with_url else []
    applicants, set_aside = count_applicants(session), count_set_aside(session)
    if culprits:
        verdict = sentences.disabled(culprits)
    elif settings.interval_minutes == 0:
        verdict = _paused(session)
    elif missing := missing_on_primary(session, settings):
        verdict = sentences.not_ready(missing)
    else:
        verdict = sentences.primary_says(counts, applicants, set_aside)
    return State(
        verdict,
        last_success_at=counts.last_success_at,
        counts=counts,
        applicants=applicants,
        set_aside=set_aside,
        culprits=culprits,
    )
