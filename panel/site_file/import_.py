"""Import: the preferences of a file become those of this server, by the verbs of the screen."""

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.log import SECRET, Actor, EventKind
from panel.errors import Choice, Invalid, NeedsConfirmation
from panel.i18n import say
from panel.models.settings import Server, Settings, lock_settings
from panel.preferences.interval import set_interval
from panel.preferences.parameter_table import INTERVAL, parameters_of, preferences
from panel.preferences.parameters import save_parameters
from panel.preferences.server_changes import clear_server_password, log_change
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server, edit_server, remove_servers
from panel.security.vault import Vault
from panel.site_file.document import Site
from panel.site_file.export import has_new_hash, live_servers, wanted_rows

# A statement takes only so many values: 32 766 in SQLite.
BATCH = 1_000
# How the answers begin to whose the records of a Sync ID are.
_OF_RECORDS = "records="


def apply_import(
    session: Session, actor: Actor, vault: Vault, site: Site, confirmed: Collection[str] = ()
) -> None:
    """Make the preferences those of ``site``, by the same verbs and rules as the screen.

    Servers that ``site`` does not list are removed. ``confirmed`` is for the verbs; an act of one
    row alone has its Sync ID in it ("records.8=keep"). Raise what the verbs raise; nothing is done
    then, if the caller rolls back.
    """
    settings = lock_settings(session)
    present = {server.sync_id: server for server in live_servers(session)}
    wanted = {fields.sync_id for fields in site.servers or ()}
    if site.servers is not None:
        # First, since rows that go may stand in the way of this server's new Sync ID.
        leaving = [server.id for number, server in present.items() if number not in wanted]
        for begin in range(0, len(leaving), BATCH):
            remove_servers(session, actor, leaving[begin : begin + BATCH])
    _apply_settings(session, actor, vault, settings, site, confirmed)
    for fields in wanted_rows(settings, site):
        _apply_server(session, actor, present.get(fields.sync_id or 0), fields, site, confirmed)
    log.add_entry(session, actor, EventKind.IMPORTED)


def _apply_settings(
    session: Session,
    actor: Actor,
    vault: Vault,
    settings: Settings,
    site: Site,
    confirmed: Collection[str],
) -> None:
    every, read = preferences(), {**site.settings, **site.secrets.parameters}
    given = {every[key].name: value for key, value in read.items()}
    minutes = given.pop(INTERVAL.name, settings.interval_minutes)
    had_sync_id = settings.sync_id is not None
    # The interval needs a Sync ID: whichever of the two has one comes first.
    if had_sync_id:
        _apply_interval(session, actor, settings, minutes)
    parameters = parameters_of(settings).replace(**given)
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
    log.add_entry(
        session,
        actor,
        EventKind.PARAMETERS_CHANGED,
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
    confirmed = [act.replace(_of_row(fields), _OF_RECORDS) for act in confirmed]
    try:
        if server is None:
            # Its own pair comes below: it is whole only with the hash.
            added = replace(fields, user_name="")
            server = add_server(session, actor, added, confirmed=confirmed)
            if not fields.user_name:
                return
        if has_new_hash(server, site):
            server.password_hash = site.secrets.server_hashes[server.sync_id]
            server.password_changed_at = clock.now()
            changed = {"password": SECRET}
            log_change(session, actor, EventKind.SERVER_CHANGED, server, changed, changed)
        if server.user_name and not fields.user_name:
            clear_server_password(session, actor, server.id, server.version)
        edit_server(session, actor, server.id, fields, server.version, confirmed)
    except Invalid as refusal:
        raise _named(refusal, fields) from refusal
    except NeedsConfirmation as refusal:
        raise _numbered(refusal, fields) from refusal


def _of_row(fields: ServerFields) -> str:
    return f"records.{fields.sync_id}="


def _numbered(refusal: NeedsConfirmation, fields: ServerFields) -> NeedsConfirmation:
    """Name the Sync ID in the answers: that of one row is none for the next."""
    if refusal.choice is None:
        return refusal
    acts = refusal.choice.acts.items()
    numbered = {act.replace(_OF_RECORDS, _of_row(fields)): words for act, words in acts}
    return NeedsConfirmation(refusal.acts, Choice(refusal.choice.question, numbered))


def _named(refusal: Invalid, fields: ServerFields) -> Invalid:
    """Say of which server it is that something cannot stand."""
    problems = {
        f"server {fields.sync_id} {field}": reason for field, reason in refusal.problems.items()
    }
    return Invalid(problems)
