"""How a row of the list is written: which fields change, where its URL goes, its Activity."""

from typing import Any

from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.actor import Actor
from panel.activity.log import SECRET, What
from panel.models.base import (
    NAME_LENGTH,
    STORE_LENGTH,
    USER_NAME_LENGTH,
    Server,
    Settings,
    searchable,
)
from panel.models.row_locks import label
from panel.preferences.parameter_changes import set_url
from panel.preferences.server_fields import ServerFields
from panel.preferences.shared_password import wire_password
from panel.security.hashes import hash_secret, verify_secret

_PLAIN = ("sync_id", "name", "store", "url", "user_name")


def shown_url(settings: Settings, server: Server) -> str:
    """Return the URL that a row shows: on a satellite that of the parameters."""
    return settings.url if settings.is_satellite else server.url


def plain_fields(server: Server) -> dict[str, Any]:
    """Return what Activity says of a row that goes or comes back as a whole."""
    return {field: getattr(server, field) for field in _PLAIN}


def find_changes(settings: Settings, server: Server, wanted: ServerFields) -> dict[str, Any]:
    """Return the fields of ``server`` that become something else, the typed password among them."""
    present = plain_fields(server)
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
    what: What,
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
    record(session, actor, what, server, was, became)


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


def record(
    session: Session,
    actor: Actor,
    what: What,
    server: Server,
    was: dict[str, Any] | None = None,
    became: dict[str, Any] | None = None,
) -> None:
    """Count one more version of ``server`` and write its row of Activity."""
    server.version = (server.version or 0) + 1
    session.flush()
    log.record(
        session,
        actor,
        what,
        subject="server",
        subject_id=server.id,
        label=label(server),
        version=server.version,
        was=was,
        became=became,
    )
