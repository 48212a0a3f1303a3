"""What a person may ask of a satellite's loop, which hears it within a second or two."""

from sqlalchemy.orm import Session

from panel import clock
from panel.errors import Refusal
from panel.models import Settings
from panel.preferences import activity
from panel.preferences.activity import What
from panel.preferences.actor import Actor
from panel.sync.models import Link, Loop
from panel.words import say


class NotASatellite(Refusal):
    """Only a satellite goes to another server, so only a satellite can be asked to."""

    status = 409
    code = "not_a_satellite"


def ask_to_sync(session: Session, actor: Actor) -> None:
    """Let the next run begin at once, whatever it waits for. Raise :class:`NotASatellite`."""
    _refuse_unless_satellite(session)
    session.get_one(Loop, 1, with_for_update=True).asked_at = clock.now()
    activity.record(session, actor, What.SYNC_ASKED)


def ask_to_initialise(session: Session, actor: Actor) -> None:
    """Let the next run, at once, get again all that this satellite owns and all central data.

    Raise :class:`NotASatellite`.
    """
    _refuse_unless_satellite(session)
    session.get_one(Link, 1, with_for_update=True).initialise = "needed"
    session.get_one(Loop, 1, with_for_update=True).asked_at = clock.now()
    activity.record(session, actor, What.INITIALISE_ASKED)


def _refuse_unless_satellite(session: Session) -> None:
    if not session.get_one(Settings, 1).is_satellite:
        raise NotASatellite(say("Only a satellite goes to another server to synchronise."))
