"""The sync time interval, the one preference that is changed without an unlock."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from panel.activity import log
from panel.activity.log import Actor, EventKind, refuse_stale
from panel.i18n import say
from panel.models.settings import Settings, lock_settings
from panel.preferences.field_checks import Checks
from panel.preferences.parameter_table import INTERVAL


@dataclass(frozen=True)
class IntervalSet:
    """The settings as they are now, and the minutes of before."""

    settings: Settings
    before: int


def set_interval(session: Session, actor: Actor, minutes: int | None, version: int) -> IntervalSet:
    """Save the interval in ``minutes``; 0 pauses after the current batch.

    ``version`` is the ``interval_version`` that the form shows. Raise :class:`Invalid` (field
    ``interval_minutes``) or :class:`Conflict`.
    """
    settings = lock_settings(session)
    before = settings.interval_minutes
    wanted = check_interval(session, minutes, version)
    if wanted == before:
        return IntervalSet(settings, before)
    settings.interval_minutes = wanted
    settings.interval_version += 1
    log.add_entry(
        session,
        actor,
        EventKind.INTERVAL_CHANGED,
        subject="interval",
        version=settings.interval_version,
        was={INTERVAL.name: before},
        became={INTERVAL.name: wanted},
    )
    return IntervalSet(settings, before)


def check_interval(session: Session, minutes: int | None, version: int) -> int:
    """Return the minutes that :func:`set_interval` would save; change nothing.

    Raise as it does.
    """
    settings = session.get_one(Settings, 1)
    checks = Checks()
    if settings.sync_id is None:
        checks.refuse(INTERVAL.name, say("Give this server a Sync ID first."))
    wanted = INTERVAL.tidy(checks, minutes)
    checks.finish()
    # Never None by now.
    if wanted is None or wanted == settings.interval_minutes:
        return settings.interval_minutes
    if version != settings.interval_version:
        refuse_stale(session, "interval", None, version, settings.interval_version)
    return wanted
