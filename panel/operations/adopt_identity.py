"""Adopting the other server's values where identities differ, and adding applicants.

A primary names the differences in its refusal, so that both sides have the same list: the field,
the primary's value, the satellite's (:func:`panel.sync.primary.admission.differences`).
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session

from panel.activity.log import Actor
from panel.errors import NotFound
from panel.i18n import say
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Applicant, Loop, Peer
from panel.models.settings import Server, Settings
from panel.operations.sync_requests import ask_to_sync
from panel.preferences.parameter_table import parameters_of
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields, fields_of
from panel.preferences.servers import add_server, edit_server
from panel.security.vault import Vault
from panel.status.history import OF_PRIMARY, OF_SATELLITE, Disagreement, disagreements
from panel.sync.primary.admission import bind

APPLICANTS_A_PAGE = 10


def adopt_from_primary(
    session: Session, actor: Actor, vault: Vault, confirmed: Collection[str] = ()
) -> Settings:
    """On a satellite: save the primary's values of both identities, and sync at once.

    ``confirmed`` names the changes that the person confirmed. Return the settings. Raise
    :class:`NotFound` where nothing differs any more, or what :func:`save_parameters`,
    :func:`edit_server` and :func:`ask_to_sync` raise.
    """
    # Not locked: a run locks Link before Loop, and so do the changes below.
    loop = session.get_one(Loop, 1)
    wanted = _wanted(disagreements(loop.refusal, loop.refusal_values, at_primary=False))
    own = {field: value for field, value in wanted.items() if field in OF_SATELLITE}
    of_primary = {OF_PRIMARY[field]: wanted[field] for field in wanted if field in OF_PRIMARY}
    settings = session.get_one(Settings, 1)
    if own:
        parameters = parameters_of(settings).replace(**own)
        version = settings.parameters_version
        save_parameters(session, actor, vault, parameters, version, confirmed)
    if of_primary:
        here = Server.sync_id == PRIMARY_SYNC_ID, Server.removed_at.is_(None)
        _edit(session, actor, session.scalars(select(Server).where(*here)).one(), of_primary)
    ask_to_sync(session, actor)
    return settings


def adopt_from_satellite(
    session: Session, actor: Actor, server_id: int, confirmed: Collection[str] = ()
) -> Server:
    """On a primary: save the satellite's values of its own identity in its row, and return it.

    Where it describes the primary differently, the satellite has to change that. Raise what
    :func:`adopt_from_primary` raises.
    """
    server, peer = session.get(Server, server_id), session.get(Peer, server_id)
    if server is None or peer is None:
        raise _nothing_differs()
    wanted = _wanted(disagreements(peer.refusal, peer.refusal_values, at_primary=True))
    own = {field: value for field, value in wanted.items() if field in OF_SATELLITE}
    _edit(session, actor, server, own, confirmed)
    # The next call compares again.
    peer.refusal, peer.refusal_values = "", None
    return server


class WaitingServer(NamedTuple):
    """An applicant as the page shows it."""

    sync_id: int
    name: str
    store: str
    hardware_id: str
    address: str
    last_at: datetime


class Waiting(NamedTuple):
    """A page of the applicants, those that called last first."""

    page: int
    pages: int
    rows: list[WaitingServer]


def list_applicants(session: Session, page: int = 1) -> Waiting:
    """Return a ``page`` of the applicants, or the last one, without those added meanwhile."""
    page = max(1, page)
    rows, pages = _rows_of(session, page), page
    if page > 1 or len(rows) > APPLICANTS_A_PAGE:
        count = session.scalar(select(func.count()).select_from(_applicants).where(~_added)) or 0
        pages = max(1, -(-count // APPLICANTS_A_PAGE))
        if page > pages:
            page, rows = pages, _rows_of(session, pages)
    return Waiting(page, pages, rows[:APPLICANTS_A_PAGE])


def _rows_of(session: Session, page: int) -> list[WaitingServer]:
    """Return the rows of a page, and the one that follows them if there is one."""
    query = _WAITING.offset((page - 1) * APPLICANTS_A_PAGE)
    return [WaitingServer(*row) for row in session.execute(query)]


# Of the tables: every page runs it, and without the ORM it takes half the time.
_applicants = Applicant.__table__
_server, _applicant = Server.__table__.c, _applicants.c
_added = exists().where(_server.sync_id == _applicant.sync_id, _server.removed_at.is_(None))
_WAITING = (
    select(*(_applicant[name] for name in WaitingServer._fields))
    .where(~_added)
    .order_by(_applicant.last_at.desc(), _applicant.sync_id, _applicant.hardware_id)
    .limit(APPLICANTS_A_PAGE + 1)
)


def add_applicant(
    session: Session,
    actor: Actor,
    sync_id: int,
    hardware_id: str,
    confirmed: Collection[str] = (),
) -> Server:
    """Add the applicant ``sync_id`` to the list, bound to its machine, and return the row.

    ``hardware_id`` is the one that the page showed: another machine may call under the same Sync
    ID. Raise :class:`NotFound`, or what :func:`add_server` raises.
    """
    applicant = session.get(Applicant, (sync_id, hardware_id), with_for_update=True)
    if applicant is None:
        raise NotFound(say("This machine does not wait to be added any more."))
    fields = ServerFields(applicant.sync_id, applicant.name, applicant.store)
    server = add_server(session, actor, fields, confirmed=confirmed)
    bind(session, server, applicant.hardware_id, actor)
    # The Sync ID is taken: other machines that call under it are told so.
    session.execute(delete(Applicant).where(Applicant.sync_id == sync_id))
    return server


def _wanted(found: list[Disagreement]) -> dict[str, Any]:
    if not found:
        raise _nothing_differs()
    return {difference.field: difference.there for difference in found}


def _edit(
    session: Session,
    actor: Actor,
    server: Server,
    changes: Mapping[str, Any],
    confirmed: Collection[str] = (),
) -> None:
    fields = replace(fields_of(server), **changes)
    edit_server(session, actor, server.id, fields, server.version, confirmed)


def _nothing_differs() -> NotFound:
    return NotFound(say("The two servers do not differ any more."))
