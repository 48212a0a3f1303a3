"""What is only ever cleared in a row of the list: its machine, its URL, its own pair."""

from sqlalchemy.orm import Session

from panel.activity.actor import Actor
from panel.activity.log import SECRET, What
from panel.models.base import Server
from panel.models.row_locks import lock_server, lock_settings, refuse_stale
from panel.preferences.parameters import clear_url
from panel.preferences.server_changes import record


def clear_hardware(session: Session, actor: Actor, server_id: int, version: int) -> Server:
    """Free the row from its machine, and end the device token: the next machine to call is bound.

    Raise :class:`NotFound` or :class:`Conflict`.
    """
    lock_settings(session)
    server = lock_server(session, server_id)
    if server.hardware_id is None:
        return server
    _refuse_stale(session, server, version)
    was = {"hardware_id": server.hardware_id}
    server.hardware_id = server.device_token_hash = None
    record(session, actor, What.HARDWARE_CLEARED, server, was, {"hardware_id": None})
    return server


def clear_server_url(session: Session, actor: Actor, server_id: int, version: int) -> Server:
    """Forget the URL that the row shows; on a satellite that is the one of the parameters."""
    settings = lock_settings(session)
    server = lock_server(session, server_id)
    if settings.is_satellite and settings.url:
        _refuse_stale(session, server, version)
        clear_url(session, actor, settings.parameters_version)
    elif server.url:
        _refuse_stale(session, server, version)
        was, server.url = {"url": server.url}, ""
        record(session, actor, What.URL_CLEARED, server, was, {"url": ""})
    return server


def clear_server_password(session: Session, actor: Actor, server_id: int, version: int) -> Server:
    """Take away the row's own pair, User name and Password: it uses the shared one from now on."""
    lock_settings(session)
    server = lock_server(session, server_id)
    if server.password_hash is None:
        return server
    _refuse_stale(session, server, version)
    was = {"user_name": server.user_name, "password": SECRET}
    server.user_name = server.user_name_key = ""
    server.password_hash = server.password_changed_at = None
    became = {"user_name": "", "password": None}
    record(session, actor, What.PASSWORD_REMOVED, server, was, became)
    return server


def _refuse_stale(session: Session, server: Server, version: int) -> None:
    if version != server.version:
        refuse_stale(session, "server", server.id, version, server.version)
