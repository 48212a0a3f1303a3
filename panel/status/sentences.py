"""The lateness of servers, and the sentences of the state of the sync."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import and_, bindparam, case, func, select
from sqlalchemy.orm import Session

from panel.i18n import Message, say
from panel.models.runs import Link, Loop, Run
from panel.models.settings import Server, Settings
from panel.preferences.readiness import why_not_ready
from panel.sync.protocol.error_codes import PASSING

LATE, VERY_LATE = timedelta(days=1), timedelta(days=3)
# A success that is dated later than this from now is none: a clock was wrong then.
_CLOCK_TOLERANCE = timedelta(minutes=2)
_SECONDS_PER_MINUTE = 60


class StateKind(StrEnum):
    """The kinds of state of the sync."""

    STANDALONE = "standalone"
    PAUSED = "paused"
    DISABLED = "disabled"
    SYNCING = "syncing"
    WELL = "well"
    LATE = "late"
    VERY_LATE = "very_late"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    NEVER = "never"
    # Nothing can be written.
    FULL = "full"
    # A primary that its satellites can call.
    OPEN = "open"


class Severity(StrEnum):
    """The severity of a state or of a server in the list: it gives the shape and the colour."""

    WELL = "well"
    LATE = "late"
    VERY_LATE = "very_late"
    OFF = "off"
    WORKING = "working"
    NOT_SEEN = "not_seen"


def server_severity(last_success_at: datetime | None, now: datetime) -> Severity:
    """Return the severity of a server whose last success was then: late after one day.

    It is very late after three, and not seen without any success. One in the future is none.
    """
    if last_success_at is None or is_future(last_success_at, now):
        return Severity.NOT_SEEN
    age = now - last_success_at
    return (
        Severity.VERY_LATE if age >= VERY_LATE else Severity.LATE if age >= LATE else Severity.WELL
    )


def is_future(moment: datetime, now: datetime) -> bool:
    """Say whether ``moment`` was noted by a clock that was ahead of the present one."""
    return moment > now + _CLOCK_TOLERANCE


def clock_sentence(seconds_ahead: int) -> Message:
    """Return what a satellite's clock is, against its primary's, as the satellite is told."""
    minutes = abs(seconds_ahead) // _SECONDS_PER_MINUTE
    if seconds_ahead > 0:
        return say(
            "The clock of this server is %(minutes)s minutes ahead of the primary's: set the one "
            "that is wrong.",
            minutes=minutes,
        )
    return say(
        "The clock of this server is %(minutes)s minutes behind the primary's: set the one that "
        "is wrong.",
        minutes=minutes,
    )


def peer_clock_sentence(seconds_ahead: int) -> Message:
    """Return what a satellite's clock is, against its primary's, as the primary is told."""
    minutes = abs(seconds_ahead) // _SECONDS_PER_MINUTE
    if seconds_ahead > 0:
        return say(
            "Its clock is %(minutes)s minutes ahead of this server's: set the one that is wrong.",
            minutes=minutes,
        )
    return say(
        "Its clock is %(minutes)s minutes behind this server's: set the one that is wrong.",
        minutes=minutes,
    )


@dataclass(frozen=True)
class Counts:
    """How many servers of a primary's list are up to date, late, very late and not yet seen."""

    total: int = 0
    up_to_date: int = 0
    late: int = 0
    very_late: int = 0
    not_seen: int = 0


def primary_says(
    settings: Settings, counts: Counts, *, is_blocked: bool
) -> tuple[StateKind, Severity, Message]:
    """Return the kind of a primary's state, its severity, and the sentence.

    ``is_blocked`` says whether a URL disables sync.
    """
    if is_blocked:
        return (
            StateKind.DISABLED,
            Severity.OFF,
            say("Disabled, because a URL is set on the primary."),
        )
    if settings.interval_minutes == 0:
        return StateKind.PAUSED, Severity.OFF, say("Paused: the interval is 0.")
    severity = Severity.WELL
    if counts.late:
        severity = Severity.LATE
    if counts.very_late:
        severity = Severity.VERY_LATE
    if counts.total == 0:
        return StateKind.OPEN, severity, say("Ready for satellites: none is in the list yet.")
    sentence = say(
        "Satellites: %(total)s. Up to date: %(up_to_date)s, late: %(late)s, "
        "very late: %(very_late)s, not yet seen: %(not_seen)s.",
        **vars(counts),
    )
    return StateKind.OPEN, severity, sentence


_server = Server.__table__.c
_success = _server.last_success_at
# Statements that every page runs are made once, since making one takes longer than running it, and
# of the table: without the ORM they take half the time.
_past = _success <= bindparam("latest")
_COUNTS = select(
    func.count(),
    func.count(case((and_(_past, _success > bindparam("late")), 1))),
    func.count(case((and_(_past, _success > bindparam("very_late")), 1))),
    func.count(case((_past, 1))),
    func.max(case((_past, _success))),
    func.max(_server.last_contact_at),
    func.count(case((_server.url > "", 1))),
).where(_server.removed_at.is_(None))


class Census(NamedTuple):
    """The list of a primary in numbers: the latest of its moments, and how many rows have a URL."""

    counts: Counts
    last_success_at: datetime | None
    last_contact_at: datetime | None
    with_url: int


def count_servers(session: Session, now: datetime) -> Census:
    """Return the census of the list at ``now``."""
    moments = {"late": now - LATE, "very_late": now - VERY_LATE, "latest": now + _CLOCK_TOLERANCE}
    row = session.execute(_COUNTS, moments).one()
    total, within_late, within_very_late, seen, *rest = row
    counts = Counts(
        total=total,
        up_to_date=within_late,
        late=within_very_late - within_late,
        very_late=seen - within_very_late,
        not_seen=total - seen,
    )
    return Census(counts, *rest)


def satellite_says(
    session: Session,
    settings: Settings,
    loop: Loop,
    link: Link,
    run: Run | None,
    now: datetime,
) -> tuple[StateKind, Severity, Message]:
    """Return the kind of a satellite's state, its severity, and the sentence.

    Of several states that apply, the first of those below is returned.
    """
    if run is not None:
        return StateKind.SYNCING, Severity.WORKING, _syncing(settings.interval_minutes)
    if missing := why_not_ready(session, settings):
        return StateKind.DISABLED, Severity.OFF, missing
    if settings.interval_minutes == 0:
        return StateKind.PAUSED, Severity.OFF, say("Paused: the interval is 0.")
    age = server_severity(link.last_success_at, now)
    severity = Severity.VERY_LATE if age is Severity.VERY_LATE else Severity.LATE
    if loop.refusal in PASSING:
        return StateKind.REFUSED, severity, say("Refused for now: it is tried again by itself.")
    if loop.refusal:
        return (
            StateKind.REFUSED,
            severity,
            say("Refused: sync waits until somebody has seen to it."),
        )
    if loop.failures:
        return StateKind.UNREACHABLE, severity, say("Cannot reach %(url)s.", url=settings.url)
    if age is Severity.NOT_SEEN:
        return StateKind.NEVER, *_never(link)
    return StateKind(age), age, _how_it_goes(age, settings.interval_minutes)


def _never(link: Link) -> tuple[Severity, Message]:
    if link.last_success_at is not None:
        sentence = say("The last success is dated in the future: a clock was wrong then.")
        return Severity.LATE, sentence
    return Severity.OFF, say("Nothing has been synchronised yet.")


def _syncing(interval_minutes: int) -> Message:
    if interval_minutes == 0:
        return say("Syncing the batch in hand, then pausing.")
    return say("Syncing now.")


def _how_it_goes(age: Severity, interval_minutes: int) -> Message:
    if age is Severity.LATE:
        return say("Late: the last success is more than a day ago.")
    if age is Severity.VERY_LATE:
        return say("Very late: the last success is more than three days ago.")
    if interval_minutes == 1:
        return say("Syncing every minute.")
    return say("Syncing every %(minutes)s minutes.", minutes=interval_minutes)
