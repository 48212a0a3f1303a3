"""How many wrong tries are heard: counted in Activity, so across processes and restarts."""

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
# Wrong tries within the window after which the next one is heard a window later.
MOST_FAILURES, MOST_OVERALL = 5, 20


def throttle_refusal(
    session: Session,
    actor: Actor,
    what: EventKind,
    most_overall: int | None = MOST_OVERALL,
) -> Throttled | None:
    """Return the refusal of a try by ``actor`` if too many went wrong, and record that it came.

    ``what`` is the kind of wrong try that counts. The caller holds the authorisation code's row:
    tries queue behind it, so that no two of them are counted as one.
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
    """Say the same without the row, and without writing anything down: it may be over at once."""
    return _throttled_until(session, actor, what, most_overall) is not None


def _throttled_until(
    session: Session, actor: Actor, what: EventKind, most_overall: int | None
) -> datetime | None:
    wrong = select(Activity.at).where(Activity.what == what).order_by(Activity.at.desc())
    wrong = wrong.where(Activity.at > clock.now() - 2 * WINDOW)
    rules = [(wrong.where(Activity.person == actor.name), MOST_FAILURES)]
    if actor.address:
        rules.append((wrong.where(Activity.address == actor.address), MOST_FAILURES))
    if most_overall is not None:
        rules.append((wrong, most_overall))
    closings = []
    for query, limit in rules:
        newest = session.scalars(query.limit(limit)).all()
        # Measured back from the newest wrong try: none is heard while it is closed.
        if len(newest) == limit and newest[0] - newest[-1] < WINDOW:
            closings.append(newest[0] + WINDOW)
    return max((end for end in closings if end > clock.now()), default=None)


def _has_recent_refusal(session: Session, actor: Actor) -> bool:
    """Whoever hammers at a closed door leaves one row, not thousands, whatever names they try."""
    rows = select(Activity.id).where(Activity.what == EventKind.REFUSED_TOO_MANY)
    rows = rows.where(Activity.at > clock.now() - WINDOW, Activity.address == actor.address)
    if actor.person_id is not None:
        rows = rows.where(Activity.person == actor.name)
    return session.scalar(rows.limit(1)) is not None
