"""Export of the preferences as one file, and what the import of such a file would change.

People, the authorisation code, Hardware IDs and tokens stay where they are: they belong to the
machine, and its backup carries them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.activity import log
from panel.activity.log import SECRET, Actor, EventKind
from panel.errors import Invalid, Refusal
from panel.i18n import say
from panel.models.settings import Server, Settings
from panel.preferences.parameter_table import PASSWORD, plain_preferences, secrets
from panel.preferences.server_changes import find_changes
from panel.preferences.server_fields import ServerFields
from panel.security.vault import Unreadable, Vault
from panel.site_file.document import (
    FORMAT,
    SERVER_TEXTS,
    VERSION,
    Secrets,
    Site,
    seal,
)


@dataclass(frozen=True)
class Change:
    """One thing that an import would do to ``subject``: the settings, or a server by its label.

    ``act`` is "added", "changed" or "removed"; only a change has a field, secrets in it *changed*.
    """

    act: str
    subject: str
    field: str = ""
    was: object = None
    became: object = None


def export_site(
    session: Session, actor: Actor, vault: Vault, passphrase: str | None = None
) -> dict[str, Any]:
    """Return the preferences as a document for JSON; with a ``passphrase``, its secrets too."""
    settings = session.get_one(Settings, 1)
    servers = live_servers(session)
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "settings": _settings(settings),
        "servers": [
            {key: getattr(server, key) for key in ("sync_id", *SERVER_TEXTS)} for server in servers
        ],
    }
    if passphrase is not None:
        document["secrets"] = seal(_secrets(settings, servers, vault), passphrase)
        log.add_entry(session, actor, EventKind.EXPORTED_SECRETS)
    return document


def live_servers(session: Session) -> list[Server]:
    """Return every row of the list by its Sync ID."""
    here = select(Server).where(Server.removed_at.is_(None)).order_by(Server.sync_id)
    return list(session.scalars(here))


def _settings(settings: Settings) -> dict[str, Any]:
    return {key: parameter.read(settings) for key, parameter in plain_preferences().items()}


def _secrets(settings: Settings, servers: list[Server], vault: Vault) -> Secrets:
    try:
        opened = {secret.key: secret.open(settings, vault) for secret in secrets()}
    except Unreadable as error:
        raise Refusal(say("The key that the Password was kept under is gone.")) from error
    hashes = {server.sync_id: server.password_hash for server in servers if server.password_hash}
    known = {key: value for key, value in opened.items() if value is not None}
    return Secrets(known, settings.password_hash, hashes)


def plan_import(session: Session, vault: Vault, site: Site) -> list[Change]:
    """Return what an import would change.

    Raise :class:`Invalid` for a row with a User name of its own whose Password nobody knows here.
    """
    settings = session.get_one(Settings, 1)
    present = {server.sync_id: server for server in live_servers(session)}
    changes = [*_setting_changes(settings, vault, site)]
    if site.servers is not None:
        for fields in wanted_rows(settings, site):
            changes += _server_changes(
                settings, present.pop(fields.sync_id or 0, None), fields, site
            )
        changes += [Change("removed", server.label) for server in present.values()]
    return changes


def _setting_changes(settings: Settings, vault: Vault, site: Site) -> Iterator[Change]:
    present = _settings(settings)
    for key, value in site.settings.items():
        if value != present[key]:
            yield Change("changed", "settings", key, present[key], value)
    for secret in secrets():
        new = secret.differs(settings, vault, site.secrets.parameters.get(secret.key))
        if new or (secret is PASSWORD and _has_new_password_hash(settings, site)):
            yield Change("changed", "settings", secret.key, SECRET, SECRET)


def _has_new_password_hash(settings: Settings, site: Site) -> bool:
    return site.secrets.password_hash not in (None, settings.password_hash)


def wanted_rows(settings: Settings, site: Site) -> list[ServerFields]:
    """Return the list that ``site`` wants here, where ``settings`` say what this server is.

    A satellite's row has no URL of its own in a file: it shows that of the parameters.
    """
    rows = site.servers or []
    return [replace(row, url=row.url or None) for row in rows] if settings.is_satellite else rows


def _server_changes(
    settings: Settings, server: Server | None, fields: ServerFields, site: Site
) -> Iterator[Change]:
    _refuse_half_a_pair(server, fields, site)
    if server is None:
        yield Change("added", f"{fields.sync_id} {fields.name}")
        return
    for key, value in find_changes(settings, server, fields).items():
        yield Change("changed", server.label, key, getattr(server, key), value)
    if has_new_hash(server, site):
        yield Change("changed", server.label, "password", SECRET, SECRET)


def _refuse_half_a_pair(server: Server | None, fields: ServerFields, site: Site) -> None:
    known = server is not None and server.password_hash is not None
    if fields.user_name and not known and fields.sync_id not in site.secrets.server_hashes:
        reason = say("The file has its User name without its Password: export with --with-secrets.")
        raise Invalid({f"server {fields.sync_id} password": reason})


def has_new_hash(server: Server, site: Site) -> bool:
    """Say whether ``site`` brings another password of its own for ``server``."""
    return site.secrets.server_hashes.get(server.sync_id) not in (None, server.password_hash)
