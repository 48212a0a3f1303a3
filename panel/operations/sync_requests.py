"""A person's requests to the sync, which sees them within about a second."""

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import NeedsConfirmation, Refusal
from panel.i18n import Message, say
from panel.models.records import HistoryReason
from panel.models.runs import PASSWORD_UNREADABLE, InitialiseState, Link, Loop, Run
from panel.models.settings import Settings
from panel.preferences.readiness import why_not_ready
from panel.sync.protocol.error_codes import explain
from panel.sync.store.sequence import begin_generation

REMOVAL = "removal_needs_consent"


class NotNow(Refusal):
    """This server calls no primary: it is no satellite, or its sync is paused or disabled."""

    status = 409
    code = "not_now"


def ask_to_sync(session: Session, actor: Actor) -> int:
    """Make the next run due at once; return what :func:`asked_run` finds it by.

    Raise :class:`NotNow`.
    """
    _require_ready_satellite(session)
    session.get_one(Loop, 1, with_for_update=True).asked_at = clock.now()
    log.add_entry(session, actor, EventKind.SYNC_ASKED)
    return _newest_run(session)


def asked_run(session: Session, asked: int) -> Run | None:
    """Return the run that was asked for, by what the request returned; None before it begins."""
    return session.scalar(select(Run).where(Run.id > asked).order_by(Run.id).limit(1))


def ask_to_stop(session: Session, actor: Actor) -> bool:
    """End the run under way, whatever it waits for; say whether there is one."""
    loop = session.get_one(Loop, 1, with_for_update=True)
    if not _is_running(session):
        return False
    loop.stop_asked_at = clock.now()
    log.add_entry(session, actor, EventKind.SYNC_STOPPED)
    return True


def ask_to_initialise(session: Session, actor: Actor, confirmed: Collection[str] = ()) -> int:
    """Make an initialise due at once: it receives this satellite's own records and central data.

    An initialise under way goes on, since a new one would receive everything again. One that waits
    for consent to what it would remove goes on with it: raise :class:`NeedsConfirmation` without.
    Return what :func:`asked_run` finds its run by. Raise :class:`NotNow`.
    """
    _require_ready_satellite(session)
    link = session.get_one(Link, 1, with_for_update=True)
    newest = _newest_run(session)
    if link.initialise == InitialiseState.RUNNING and _is_running(session):
        return newest - 1
    loop = session.get_one(Loop, 1, with_for_update=True)
    if loop.refusal == REMOVAL:
        link.removal_consent = _consent(loop, confirmed)
    else:
        link.initialise = InitialiseState.NEEDED
    loop.asked_at = clock.now()
    log.add_entry(session, actor, EventKind.INITIALISE_ASKED)
    return newest


def _consent(loop: Loop, confirmed: Collection[str]) -> int:
    values = loop.refusal_values or {}
    records = int(values.get("records", 0))
    act = f"remove={records}"
    if act not in confirmed:
        raise NeedsConfirmation({act: explain(REMOVAL, values).what})
    return records


def note_restored(session: Session, actor: Actor) -> Message:
    """Note that this server was restored from a backup; return what follows from it."""
    begin_generation(session, HistoryReason.BY_HAND)
    log.add_entry(session, actor, EventKind.BACKUP_RESTORED)
    settings = session.get_one(Settings, 1)
    if settings.is_primary:
        return say(
            "Noted. Each satellite compares itself with this server at its next sync: it gets what "
            "it lacks, and sends again what this server lost."
        )
    if settings.is_satellite:
        session.get_one(Loop, 1, with_for_update=True).asked_at = clock.now()
        return say(
            "Noted. This server compares itself with the primary at its next sync: it gets back "
            "what it lost, and sends what the primary lacks."
        )
    return say("Noted. Applications that follow changes begin anew.")


def _newest_run(session: Session) -> int:
    return session.scalar(select(func.max(Run.id))) or 0


def _is_running(session: Session) -> bool:
    return session.scalar(select(Run.id).where(Run.ended_at.is_(None)).limit(1)) is not None


def _require_ready_satellite(session: Session) -> None:
    settings = session.get_one(Settings, 1)
    if not settings.is_satellite:
        raise NotNow(say("Only a satellite goes to another server to synchronise."))
    if settings.interval_minutes == 0:
        raise NotNow(say("Sync is paused: set an interval above 0 first."))
    if missing := why_not_ready(session, settings):
        raise NotNow(missing)
    if session.get_one(Loop, 1).refusal == PASSWORD_UNREADABLE:
        reason = explain(PASSWORD_UNREADABLE)
        raise NotNow(say("%(what)s %(next)s", what=reason.what, next=reason.next))
