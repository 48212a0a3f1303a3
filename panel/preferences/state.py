"""How sync stands, in one sentence: read from what the sync service wrote, not its process."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import case, func, select, text
from sqlalchemy.orm import Session

from panel.models import PRIMARY_SYNC_ID, Server, Settings
from panel.preferences.parameter_rules import label
from panel.sync.models import Link, Loop, Record, Run
from panel.words import Message, say

LATE, VERY_LATE = timedelta(days=1), timedelta(days=3)
MOST_CULPRITS = 50

Kind = Literal[
    "standalone", "paused", "disabled", "syncing", "well", "late", "very_late",
    "unreachable", "refused", "never", "open",
]  # fmt: skip
Severity = Literal["well", "late", "very_late", "off", "working"]
ServerSeverity = Literal["well", "late", "very_late", "not_seen"]


@dataclass(frozen=True)
class Culprit:
    """A URL that disables sync on the primary: its own, or that of one row of the list."""

    kind: Literal["settings", "server"]
    server_id: int | None
    label: str


@dataclass(frozen=True)
class Counts:
    """The rows of a primary's list, by how long ago each last synchronised with success."""

    total: int = 0
    up_to_date: int = 0
    late: int = 0
    very_late: int = 0
    not_seen: int = 0


@dataclass(frozen=True)
class State:
    """How sync stands. The sentence names no time: the page puts it beside, in the reader's way.

    ``run`` is the one that goes on now; ``waiting`` counts records that have yet to reach the
    primary; ``reason`` is the code of :mod:`panel.sync.reasons` behind "refused" and "unreachable",
    with its values; ``initialise`` is "done", "needed" or "running".
    """

    kind: Kind
    severity: Severity
    sentence: Message
    last_success_at: datetime | None = None
    last_attempt_at: datetime | None = None
    waiting: int = 0
    run: Run | None = None
    counts: Counts = Counts()
    asked: bool = False
    initialise: str = "done"
    reason: str = ""
    reason_values: dict[str, Any] = field(default_factory=dict)


def read_state(session: Session, now: datetime) -> State:
    """Return how sync stands at ``now``, in a handful of queries however much there is."""
    settings = session.get_one(Settings, 1)
    if settings.sync_id is None:
        sentence = say("This server is stand-alone: without a Sync ID it does not synchronise.")
        return State("standalone", "off", sentence)
    if settings.is_primary:
        return _state_of_primary(session, settings, now)
    return _state_of_satellite(session, settings, now)


def _state_of_satellite(session: Session, settings: Settings, now: datetime) -> State:
    loop, link = session.get_one(Loop, 1), session.get_one(Link, 1)
    run = _present_run(session, loop, now)
    kind, severity, sentence = _satellite_says(session, settings, loop, link, run, now)
    reason, values = _reason(session, loop)
    return State(
        kind,
        severity,
        sentence,
        last_success_at=link.last_success_at,
        last_attempt_at=link.last_attempt_at,
        waiting=_count_waiting(session),
        run=run,
        asked=loop.asked_at is not None,
        initialise=link.initialise,
        reason=reason,
        reason_values=values or {},
    )


def _satellite_says(
    session: Session,
    settings: Settings,
    loop: Loop,
    link: Link,
    run: Run | None,
    now: datetime,
) -> tuple[Kind, Severity, Message]:
    """What comes first tells most: what goes on, what keeps sync off, what went wrong, how late."""
    if run is not None:
        return "syncing", "working", _syncing(settings.interval_minutes)
    if missing := _what_is_missing(session, settings):
        return "disabled", "off", missing
    if settings.interval_minutes == 0:
        return "paused", "off", say("Paused: the interval is 0.")
    age = server_severity(link.last_success_at, now)
    severity: Severity = "very_late" if age == "very_late" else "late"
    if loop.refusal:
        return "refused", severity, say("Refused: sync waits until somebody has seen to it.")
    if loop.failures:
        return "unreachable", severity, say("Cannot reach %(url)s.", url=settings.url)
    if age == "not_seen":
        return "never", "off", say("Nothing has been synchronised yet.")
    return age, age, _how_it_goes(age, settings.interval_minutes)


def _syncing(interval_minutes: int) -> Message:
    if interval_minutes == 0:
        return say("Syncing the batch in hand, then pausing.")
    return say("Syncing now.")


def _how_it_goes(age: str, interval_minutes: int) -> Message:
    if age == "late":
        return say("Late: the last success is more than a day ago.")
    if age == "very_late":
        return say("Very late: the last success is more than three days ago.")
    if interval_minutes == 1:
        return say("Syncing every minute.")
    return say("Syncing every %(minutes)s minutes.", minutes=interval_minutes)


def _what_is_missing(session: Session, settings: Settings) -> Message | None:
    if not settings.url:
        return say("Disabled, because the URL of the primary is empty.")
    if not settings.user_name or not settings.has_password:
        return say("Disabled, because the User name or the Password is not set.")
    primary = select(Server.id).where(
        Server.sync_id == PRIMARY_SYNC_ID, Server.removed_at.is_(None)
    )
    if session.scalar(primary) is None:
        return say("Disabled, because the primary is not in the list of servers.")
    return None


def _present_run(session: Session, loop: Loop, now: datetime) -> Run | None:
    """Return the run that goes on; one whose loop holds no lease any more was cut off."""
    if loop.held_until is None or loop.held_until <= now:
        return None
    run = session.scalar(select(Run).order_by(Run.started_at.desc(), Run.id.desc()).limit(1))
    return run if run is not None and run.ended_at is None else None


def _reason(session: Session, loop: Loop) -> tuple[str, dict[str, Any] | None]:
    """Return what stands in the way: the refusal that waits for somebody, or the line's fault."""
    if loop.refusal or not loop.failures:
        return loop.refusal, loop.refusal_values
    run = session.scalar(select(Run).where(Run.reason != "").order_by(Run.id.desc()).limit(1))
    return (run.reason, run.reason_values) if run else ("", None)


def _count_waiting(session: Session) -> int:
    # In these very words, as the partial index has them: a planner compares them literally.
    waiting = select(func.count()).select_from(Record).where(text("records.waiting"))
    return session.scalar(waiting) or 0


def _state_of_primary(session: Session, settings: Settings, now: datetime) -> State:
    counts, last_success_at, last_contact_at = _count_servers(session, now)
    kind, severity, sentence = _primary_says(session, settings, counts)
    return State(
        kind,
        severity,
        sentence,
        last_success_at=last_success_at,
        last_attempt_at=last_contact_at,
        counts=counts,
    )


def _primary_says(
    session: Session, settings: Settings, counts: Counts
) -> tuple[Kind, Severity, Message]:
    if culprits(session):
        return "disabled", "off", say("Disabled, because a URL is set on the primary.")
    if settings.interval_minutes == 0:
        return "paused", "off", say("Paused: the interval is 0.")
    severity: Severity = "very_late" if counts.very_late else "late" if counts.late else "well"
    if counts.total == 0:
        return "open", severity, say("Ready for satellites: none is in the list yet.")
    sentence = say(
        "Satellites: %(total)s. Up to date: %(up_to_date)s, late: %(late)s, "
        "very late: %(very_late)s, not yet seen: %(not_seen)s.",
        **vars(counts),
    )
    return "open", severity, sentence


def _count_servers(
    session: Session, now: datetime
) -> tuple[Counts, datetime | None, datetime | None]:
    success = Server.last_success_at
    row = session.execute(
        select(
            func.count(),
            func.count(case((success > now - LATE, 1))),
            func.count(case((success > now - VERY_LATE, 1))),
            func.count(success),
            func.max(success),
            func.max(Server.last_contact_at),
        ).where(Server.removed_at.is_(None))
    ).one()
    total, within_late, within_very_late, seen, last_success_at, last_contact_at = row
    counts = Counts(
        total=total,
        up_to_date=within_late,
        late=within_very_late - within_late,
        very_late=seen - within_very_late,
        not_seen=total - seen,
    )
    return counts, last_success_at, last_contact_at


def server_severity(last_success_at: datetime | None, now: datetime) -> ServerSeverity:
    """Say how late a server is: late after one day without success, very late after three."""
    if last_success_at is None:
        return "not_seen"
    age = now - last_success_at
    return "very_late" if age >= VERY_LATE else "late" if age >= LATE else "well"


def culprits(session: Session) -> list[Culprit]:
    """Return what disables sync on a primary: every URL that is set, at most the first 50."""
    settings = session.get_one(Settings, 1)
    if not settings.is_primary:
        return []
    own = [Culprit("settings", None, settings.name)] if settings.url else []
    # "Not empty", said so that the index of the URLs can answer it.
    query = select(Server).where(Server.url > "", Server.removed_at.is_(None))
    rows = session.scalars(query.order_by(Server.sync_id).limit(MOST_CULPRITS))
    return own + [Culprit("server", server.id, label(server)) for server in rows]


def recent_runs(session: Session, n: int = 24) -> list[Run]:
    """Return the last ``n`` runs as a plot shows them, the oldest first."""
    newest = select(Run).order_by(Run.started_at.desc(), Run.id.desc()).limit(n)
    return list(session.scalars(newest))[::-1]
