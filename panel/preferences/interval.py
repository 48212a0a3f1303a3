"""The sync time interval, the one preference that is changed without an unlock."""

from sqlalchemy.orm import Session

from panel.activity import log
from panel.activity.kinds import EventKind
from panel.activity.log import Actor, refuse_stale
from panel.errors import Invalid
from panel.i18n import say
from panel.models.base import LONGEST_INTERVAL_MINUTES
from panel.models.settings import Settings, lock_settings


def set_interval(session: Session, actor: Actor, minutes: int, version: int) -> Settings:
    """Save the interval in ``minutes`` and return the settings; 0 pauses after the current batch.

    ``version`` is the ``interval_version`` that the form shows. Raise :class:`Invalid` (field
    ``interval_minutes``) or :class:`Conflict`.
    """
    settings = lock_settings(session)
    if settings.sync_id is None:
        raise Invalid({"interval_minutes": say("Give this server a Sync ID first.")})
    if not 0 <= minutes <= LONGEST_INTERVAL_MINUTES:
        reason = say("Whole minutes from 0 to %(longest)s.", longest=LONGEST_INTERVAL_MINUTES)
        raise Invalid({"interval_minutes": reason})
    before = settings.interval_minutes
    if minutes == before:
        return settings
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
        was={"interval_minutes": before},
        became={"interval_minutes": minutes},
    )
    return settings
