"""How sync can stand, and from when on a server is late."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from panel.i18n import Message, say
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Link, Loop, Run
from panel.models.settings import Server, Settings
from panel.preferences.readiness import blocking_urls
from panel.sync.protocol.error_codes import PASSING

LATE, VERY_LATE = timedelta(days=1), timedelta(days=3)

Kind = Literal[
    "standalone", "paused", "disabled", "syncing", "well", "late", "very_late",
    "unreachable", "refused", "never", "open",
]  # fmt: skip
Severity = Literal["well", "late", "very_late", "off", "working"]
ServerSeverity = Literal["well", "late", "very_late", "not_seen"]


def server_severity(last_success_at: datetime | None, now: datetime) -> ServerSeverity:
    """Say how late a server is: late after one day without success, very late after three."""
    if last_success_at is None:
        return "not_seen"
    age = now - last_success_at
    return "very_late" if age >= VERY_LATE else "late" if age >= LATE else "well"


@dataclass(frozen=True)
class Counts:
    """The rows of a primary's list, by how long ago each last synchronised with success."""

    total: int = 0
    up_to_date: int = 0
    late: int = 0
    very_late: int = 0
    not_seen: int = 0


def primary_says(
    session: Session, settings: Settings, counts: Counts
) -> tuple[Kind, Severity, Message]:
    """Return the kind of state, how bad it is, and the sentence."""
    if blocking_urls(session):
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


def count_servers(
    session: Session, now: datetime
) -> tuple[Counts, datetime | None, datetime | None]:
    """Return how many servers are how late, the last success of any, and the last contact."""
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


def satellite_says(
    session: Session,
    settings: Settings,
    loop: Loop,
    link: Link,
    run: Run | None,
    now: datetime,
) -> tuple[Kind, Severity, Message]:
    """Return the kind of state, how bad it is, and the sentence. What comes first tells most."""
    if run is not None:
        return "syncing", "working", _syncing(settings.interval_minutes)
    if missing := what_is_missing(session, settings):
        return "disabled", "off", missing
    if settings.interval_minutes == 0:
        return "paused", "off", say("Paused: the interval is 0.")
    age = server_severity(link.last_success_at, now)
    severity: Severity = "very_late" if age == "very_late" else "late"
    if loop.refusal in PASSING:
        return "refused", severity, say("Refused for now: it is tried again by itself.")
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


def what_is_missing(session: Session, settings: Settings) -> Message | None:
    """Return why this satellite cannot sync as its preferences stand; None if it can."""
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
