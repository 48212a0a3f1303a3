"""The rows that writers queue behind, so that what was checked still holds when it is written.

On SQLite one writer is let in at a time anyway; on PostgreSQL the row locks make the queue. Whoever
takes several takes them in this order: settings, authorisation code, servers, people.
"""

from sqlalchemy.orm import Session

from panel.errors import NotFound
from panel.i18n import say
from panel.models.people import AuthorisationCode
from panel.models.settings import Server, Settings


def lock_settings(session: Session) -> Settings:
    """Return the settings as they are now; other changes of settings and servers wait for us."""
    return session.get_one(Settings, 1, with_for_update=True, populate_existing=True)


def lock_code(session: Session) -> AuthorisationCode:
    """Return the authorisation code's row; other tries, and changes of people, wait for us."""
    return session.get_one(AuthorisationCode, 1, with_for_update=True, populate_existing=True)


def lock_server(session: Session, server_id: int) -> Server:
    """Return a row of the list as it is now. Raise :class:`NotFound` if it is not there."""
    server = session.get(Server, server_id, with_for_update=True, populate_existing=True)
    if server is None or server.removed_at is not None:
        raise NotFound(say("This server is not in the list any more."))
    return server


def label(server: Server) -> str:
    """Return what people call a row of the list."""
    return f"{server.sync_id} {server.name}"
