"""Satellites that wait to be added: the right shared pair, and a Sync ID that no row has."""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from panel.activity.log import Actor
from panel.errors import Invalid, NotFound
from panel.i18n import say
from panel.models.runs import Applicant
from panel.models.settings import Server
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.sync.primary.admission import bind

MOST_SHOWN = 50


def list_applicants(session: Session) -> list[Applicant]:
    """Return who waits, at most 50, by Sync ID; whoever was added some other way waits no more."""
    added = exists().where(Server.sync_id == Applicant.sync_id, Server.removed_at.is_(None))
    query = select(Applicant).where(~added).order_by(Applicant.sync_id).limit(MOST_SHOWN)
    return list(session.scalars(query))


def add_applicant(session: Session, actor: Actor, sync_id: int, hardware_id: str) -> Server:
    """Make a row of the list of who waits under ``sync_id``, bound to the machine that asked.

    ``hardware_id`` is that of the machine that was looked at: another may have called since. Raise
    :class:`NotFound`, :class:`Invalid` (``hardware_id``), or what :func:`add_server` raises.
    """
    applicant = session.get(Applicant, sync_id, with_for_update=True)
    if applicant is None:
        raise NotFound(say("No server with this Sync ID waits to be added any more."))
    if applicant.hardware_id != hardware_id:
        reason = say("Another machine calls under this Sync ID now. Make sure which one is meant.")
        raise Invalid({"hardware_id": reason})
    fields = ServerFields(applicant.sync_id, applicant.name, applicant.store)
    server = add_server(session, actor, fields)
    bind(session, server, applicant.hardware_id, actor)
    session.delete(applicant)
    return server
