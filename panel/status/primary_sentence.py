"""How sync stands on a primary: its satellites come to it, so it counts them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from panel.i18n import Message, say
from panel.models.base import Server, Settings
from panel.preferences.readiness import culprits
from panel.status.lateness import LATE, VERY_LATE, Kind, Severity


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
