"""The sync time interval, the one preference that is changed without an unlock."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from panel.activity import log
from panel.activity.kinds import EventKind
from panel.activity.log import Actor, refuse_stale
from panel.i18n import say
from panel.models.settings import Settings, lock_settings
from panel.preferences.fields import Checks
from panel.preferences.parameter_fields import INTERVAL


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
    checks = Checks()
    if settings.sync_id is None:
        checks.refuse(INTERVAL.name, say("Give this server a Sync ID first."))
    minutes = INTERVAL.tidy(checks, minutes)
    checks.finish()
    before = settings.interval_minutes
    # Never None by now.
    if minutes is None or minutes == before:
        return IntervalSet(settings, before)
    if version != settings.interval_version:
        refuse_stale(session, "interval", None, version, settings.interval_version)
    settings.interval_minutes = minutes
    settings.interval_version += 1
    log.add_entry(
        session,
        actor,
        EventKind.INTERVAL_CHANGED,
        subject="interval",
        version=settings.interval_version,
        was={INTERVAL.name: before},
        became={INTERVAL.name: minutes},
    )
    return IntervalSet(settings, before)
