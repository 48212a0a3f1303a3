"""How sync stands on a satellite: what goes on, what keeps it off, what went wrong, how late."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.i18n import Message, say
from panel.models.base import PRIMARY_SYNC_ID, Server, Settings
from panel.models.sync import Link, Loop, Run
from panel.status.lateness import Kind, Severity, server_severity
from panel.sync.protocol.error_codes import PASSING


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
