"""The throttle of failed sign-ins and codes.

Failures are counted in Activity, so the throttle holds across processes and restarts (OWASP ASVS
5.0, 6.3.1).
"""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.kinds import EventKind
from panel.activity.log import Actor
from panel.errors import Throttled
from panel.i18n import say
from panel.models.activity import Activity

WINDOW = timedelta(minutes=15)
# After so many failures within the window, every attempt is refused for one window: failures of
# one name or from one address, and failures of all.
MOST_FAILURES, MOST_OVERALL = 5, 20


def throttle_refusal(
    session: Session,
    actor: Actor,
    what: EventKind,
    most_overall: int | None = MOST_OVERALL,
) -> Throttled | None:
    """Return and log the refusal of an attempt by ``actor`` after too many failures, else None.

    ``what`` is the kind of failure that counts, ``most_overall`` the limit of all failures; None is
    no such limit. The caller holds the lock on the authorisation code's row, so that attempts at
    the same time are counted one by one.
    """
    until = _throttled_until(session, actor, what, most_overall)
    if until is None:
        return None
    if not _has_recent_refusal(session, actor):
        log.add_entry(session, actor, EventKind.REFUSED_TOO_MANY)
    minutes = -(-(until - clock.now()) // timedelta(minutes=1))
    if minutes <= 1:
        return Throttled(say("Too many wrong tries. Try again in one minute."), until)
    message = say("Too many wrong tries. Try again in %(minutes)s minutes.", minutes=minutes)
    return Throttled(message, until)


def is_throttled(
    session: Session,
    actor: Actor,
    what: EventKind,
    most_overall: int | None = MOST_OVERALL,
) -> bool:
    """Say whether an attempt would be refused now; without the lock, and nothing is logged."""
    return _throttled_until(session, actor, what, most_overall) is not None


def _throttled_until(
    session: Session, actor: Actor, what: EventKind, most_overall: int | None
) -> datetime | None:
    failures = select(Activity.at).where(Activity.what == what).order_by(Activity.at.desc())
    failures = failures.where(Activity.at > clock.now() - 2 * WINDOW)
    rules = [(failures.where(Activity.person == actor.name), MOST_FAILURES)]
    if actor.address:
        rules.append((failures.where(Activity.address == actor.address), MOST_FAILURES))
    if most_overall is not None:
        rules.append((failures, most_overall))
    ends = []
    for query, limit in rules:
        newest = session.scalars(query.limit(limit)).all()
        # Attempts that were refused are no failures, so the newest failure begins the wait.
        if len(newest) == limit and newest[0] - newest[-1] < WINDOW:
            ends.append(newest[0] + WINDOW)
    return max((end for end in ends if end > clock.now()), default=None)


def _has_recent_refusal(session: Session, actor: Actor) -> bool:
    """Say whether a refusal of this source is logged already: one entry a window is enough."""
    rows = select(Activity.id).where(Activity.what == EventKind.REFUSED_TOO_MANY)
    rows = rows.where(Activity.at > clock.now() - WINDOW, Activity.address == actor.address)
    if actor.person_id is not None:
        rows = rows.where(Activity.person == actor.name)
    return session.scalar(rows.limit(1)) is not None
