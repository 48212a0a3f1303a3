"""How a row of the list is written: which fields change, where its URL goes, its Activity."""

from typing import Any

from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.kinds import EventKind
from panel.activity.log import SECRET, Actor, refuse_stale
from panel.models.base import NAME_LENGTH, STORE_LENGTH, USER_NAME_LENGTH, searchable
from panel.models.settings import Server, Settings, lock_server, lock_settings
from panel.preferences.parameters import clear_url, set_url
from panel.preferences.server_fields import ServerFields
from panel.preferences.shared_password import wire_password
from panel.security.hashes import hash_secret, verify_secret

_PLAIN = ("sync_id", "name", "store", "url", "user_name")


def shown_url(settings: Settings, server: Server) -> str:
    """Return the URL that a row shows: on a satellite that of the parameters."""
    return settings.url if settings.is_satellite else server.url


def logged_fields(server: Server) -> dict[str, Any]:
    """Return what Activity says of a row that goes or comes back as a whole."""
    return {field: getattr(server, field) for field in _PLAIN}


def find_changes(settings: Settings, server: Server, wanted: ServerFields) -> dict[str, Any]:
    """Return the fields of ``server`` that become something else, the typed password among them."""
    present = logged_fields(server)
    present["url"] = shown_url(settings, server)
    changes = {field: getattr(wanted, field) for field in _PLAIN}
    if wanted.url is None:
        del changes["url"]
    changes = {field: value for field, value in changes.items() if value != present[field]}
    if wanted.password and not _is_password(server, wanted.password):
        changes["password"] = wanted.password
    return changes


def _is_password(server: Server, password: str) -> bool:
    password_hash = server.password_hash
    return password_hash is not None and verify_secret(password_hash, wire_password(password))


def write_changes(
    session: Session,
    actor: Actor,
    what: EventKind,
    settings: Settings,
    server: Server,
    changes: dict[str, Any],
) -> None:
    """Give ``server`` the values in ``changes`` and record it, as one new version of the row."""
    was = {field: getattr(server, field) for field in changes if field not in ("url", "password")}
    became = dict(changes)
    if "url" in changes:
        was["url"] = shown_url(settings, server)
    if "password" in changes:
        was["password"] = became["password"] = SECRET
    for field, value in changes.items():
        _write(session, actor, settings, server, field, value)
    server.name_key = searchable(server.name)[:NAME_LENGTH]
    server.store_key = searchable(server.store)[:STORE_LENGTH]
    server.user_name_key = searchable(server.user_name)[:USER_NAME_LENGTH]
    session.add(server)
    log_change(session, actor, what, server, was, became)


def _write(
    session: Session, actor: Actor, settings: Settings, server: Server, field: str, value: Any
) -> None:
    if field == "password":
        server.password_hash = hash_secret(wire_password(value))
        server.password_changed_at = clock.now()
    elif field == "url" and settings.is_satellite:
        set_url(session, actor, settings, value)
    else:
        setattr(server, field, value)


def log_change(
    session: Session,
    actor: Actor,
    what: EventKind,
    server: Server,
    was: dict[str, Any] | None = None,
    became: dict[str, Any] | None = None,
) -> None:
    """Count one more version of ``server`` and write its row of Activity."""
    server.version = (server.version or 0) + 1
    session.flush()
    log.add_entry(
        session,
        actor,
        what,
        subject="server",
        subject_id=server.id,
        label=server.label,
        version=server.version,
        was=was,
        became=became,
    )


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
    log_change(session, actor, EventKind.HARDWARE_CLEARED, server, was, {"hardware_id": None})
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
        log_change(session, actor, EventKind.URL_CLEARED, server, was, {"url": ""})
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
    log_change(session, actor, EventKind.PASSWORD_REMOVED, server, was, became)
    return server


def _refuse_stale(session: Session, server: Server, version: int) -> None:
    if version != server.version:
        refuse_stale(session, "server", server.id, version, server.version)
