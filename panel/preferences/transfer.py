"""Export and import: the interval, the parameters and the list of servers, as one file.

People, the authorisation code, Hardware IDs and tokens stay where they are: they belong to the
machine, and its backup carries them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import clock
from panel.errors import Invalid, Refusal
from panel.keys import Unreadable, Vault
from panel.models import Server, Settings
from panel.preferences import activity
from panel.preferences.activity import SECRET, What
from panel.preferences.actor import Actor
from panel.preferences.interval import set_interval
from panel.preferences.parameters import save_parameters
from panel.preferences.present import parameters_of
from panel.preferences.rows import lock_settings
from panel.preferences.server_changes import find_changes, record
from panel.preferences.server_rules import ServerFields
from panel.preferences.servers import (
    add_server,
    clear_server_password,
    edit_server,
    label,
    remove_servers,
)
from panel.preferences.shared_password import is_password, read_password
from panel.preferences.site_file import (
    FORMAT,
    NUMBERS,
    SERVER_TEXTS,
    TEXTS,
    VERSION,
    Secrets,
    Site,
    seal,
)
from panel.words import say

INTERVAL = "sync_interval"


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
    servers = _servers(session)
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
        activity.record(session, actor, What.EXPORTED_SECRETS)
    return document


def _servers(session: Session) -> list[Server]:
    here = select(Server).where(Server.removed_at.is_(None)).order_by(Server.sync_id)
    return list(session.scalars(here))


def _settings(settings: Settings) -> dict[str, Any]:
    parameters = {key: getattr(settings, key) for key in (*NUMBERS, *TEXTS) if key != INTERVAL}
    return {INTERVAL: settings.interval_minutes, **parameters}


def _secrets(settings: Settings, servers: list[Server], vault: Vault) -> Secrets:
    try:
        password = read_password(settings, vault)
    except Unreadable as error:
        raise Refusal(say("The key that the Password was kept under is gone.")) from error
    hashes = {server.sync_id: server.password_hash for server in servers if server.password_hash}
    return Secrets(password, settings.password_hash, hashes)


def plan_import(session: Session, vault: Vault, site: Site) -> list[Change]:
    """Return what :func:`apply_import` would change."""
    settings = session.get_one(Settings, 1)
    present = {server.sync_id: server for server in _servers(session)}
    changes = [*_setting_changes(settings, vault, site)]
    if site.servers is not None:
        for fields in site.servers:
            changes += _server_changes(
                settings, present.pop(fields.sync_id or 0, None), fields, site
            )
        changes += [Change("removed", label(server)) for server in present.values()]
    return changes


def _setting_changes(settings: Settings, vault: Vault, site: Site) -> Iterator[Change]:
    present = _settings(settings)
    for key, value in site.settings.items():
        if value != present[key]:
            yield Change("changed", "settings", key, present[key], value)
    password, password_hash = site.secrets.password, site.secrets.password_hash
    new_password = password is not None and not is_password(settings, vault, password)
    if new_password or password_hash not in (None, settings.password_hash):
        yield Change("changed", "settings", "password", SECRET, SECRET)


def _server_changes(
    settings: Settings, server: Server | None, fields: ServerFields, site: Site
) -> Iterator[Change]:
    if server is None:
        yield Change("added", f"{fields.sync_id} {fields.name}")
        return
    for key, value in find_changes(settings, server, fields).items():
        yield Change("changed", label(server), key, getattr(server, key), value)
    if _new_hash(server, site):
        yield Change("changed", label(server), "password", SECRET, SECRET)


def _new_hash(server: Server, site: Site) -> bool:
    return site.secrets.server_hashes.get(server.sync_id) not in (None, server.password_hash)


def apply_import(
    session: Session, actor: Actor, vault: Vault, site: Site, confirmed: Collection[str] = ()
) -> None:
    """Make the preferences those of ``site``, by the same verbs and rules as the screen.

    Servers that ``site`` does not list are removed. ``confirmed`` is for the verbs. Raise what they
    raise; nothing is done then, if the caller rolls back.
    """
    settings = lock_settings(session)
    present = {server.sync_id: server for server in _servers(session)}
    wanted = {fields.sync_id: fields for fields in site.servers or ()}
    if site.servers is not None:
        # First, since rows that go may stand in the way of this server's new Sync ID.
        leaving = [server.id for number, server in present.items() if number not in wanted]
        if leaving:
            remove_servers(session, actor, leaving)
    _apply_settings(session, actor, vault, settings, site, confirmed)
    for number, fields in wanted.items():
        _apply_server(session, actor, present.get(number or 0), fields, site, confirmed)
    activity.record(session, actor, What.IMPORTED)


def _apply_settings(
    session: Session,
    actor: Actor,
    vault: Vault,
    settings: Settings,
    site: Site,
    confirmed: Collection[str],
) -> None:
    given = dict(site.settings)
    minutes = given.pop(INTERVAL, settings.interval_minutes)
    had_sync_id = settings.sync_id is not None
    # The interval needs a Sync ID: whichever of the two has one comes first.
    if had_sync_id:
        _apply_interval(session, actor, settings, minutes)
    parameters = replace(parameters_of(settings), password=site.secrets.password, **given)
    save_parameters(session, actor, vault, parameters, settings.parameters_version, confirmed)
    _apply_hash(session, actor, settings, site.secrets.password_hash)
    if not had_sync_id:
        _apply_interval(session, actor, settings, minutes)


def _apply_interval(session: Session, actor: Actor, settings: Settings, minutes: int) -> None:
    if minutes != settings.interval_minutes:
        set_interval(session, actor, minutes, settings.interval_version)


def _apply_hash(
    session: Session, actor: Actor, settings: Settings, password_hash: str | None
) -> None:
    """Keep a primary's hash as it is: the password itself is not known to anybody here."""
    if password_hash in (None, settings.password_hash):
        return
    if not settings.is_primary:
        raise Invalid({"password": say("The file has a primary's Password, which cannot be sent.")})
    settings.password_hash, settings.password_sealed = password_hash, None
    settings.password_changed_at = clock.now()
    settings.parameters_version += 1
    activity.record(
        session,
        actor,
        What.PARAMETERS_CHANGED,
        subject="parameters",
        version=settings.parameters_version,
        was={"password": SECRET},
        became={"password": SECRET},
    )


def _apply_server(
    session: Session,
    actor: Actor,
    server: Server | None,
    fields: ServerFields,
    site: Site,
    confirmed: Collection[str],
) -> None:
    try:
        if server is None:
            # Its own pair comes below: it is whole only with the hash.
            added = replace(fields, user_name="")
            server = add_server(session, actor, added, confirmed=confirmed)
        if _new_hash(server, site):
            server.password_hash = site.secrets.server_hashes[server.sync_id]
            server.password_changed_at = clock.now()
            changed = {"password": SECRET}
            record(session, actor, What.SERVER_CHANGED, server, changed, changed)
        if server.user_name and not fields.user_name:
            clear_server_password(session, actor, server.id, server.version)
        edit_server(session, actor, server.id, fields, server.version, confirmed)
    except Invalid as refusal:
        raise _named(refusal, fields) from refusal


def _named(refusal: Invalid, fields: ServerFields) -> Invalid:
    """Say of which server it is that something cannot stand."""
    problems = {
        f"server {fields.sync_id} {field}": reason for field, reason in refusal.problems.items()
    }
    return Invalid(problems)
