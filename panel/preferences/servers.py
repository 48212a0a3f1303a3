"""Acts on the list of servers: add, edit, remove and restore, each logged in Activity."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import clock
from panel.activity.log import Actor, EventKind, refuse_stale
from panel.errors import Choice, Invalid, NotFound
from panel.i18n import say
from panel.models.settings import Server, Settings, lock_server, lock_settings
from panel.preferences.field_checks import Checks
from panel.preferences.server_changes import (
    archive_records,
    find_changes,
    log_change,
    logged_fields,
    retry_addressed,
    shown_url,
    write_changes,
)
from panel.preferences.server_fields import (
    ARCHIVE_RECORDS,
    ServerFields,
    ask_about_records,
    check_confirmed,
    check_row,
    find_user_before,
    tidy,
)
from panel.security.hashes import hash_token


def add_server(
    session: Session,
    actor: Actor,
    fields: ServerFields,
    key: str | None = None,
    confirmed: Collection[str] = (),
) -> Server:
    """Add a row to the list and return it.

    ``key`` identifies the form: a second call with the same key and fields returns the row that the
    first one added. ``confirmed`` names the acts that a person confirmed after a warning
    ("url_http", "url_on_primary"), and what becomes of the records that the Sync ID has already
    ("records=keep", "records=archive"). Raise :class:`Invalid` with a reason for each invalid
    field, or :class:`NeedsConfirmation`.
    """
    settings = lock_settings(session)
    # A new row has no URL to clear: an empty URL leaves the URL of a satellite's parameters.
    fields = replace(fields, url=fields.url or None)
    # Hashed, so that a key of any length fits its column.
    added_key = hash_token(key)[:32] if key else None
    if known := _find_added(session, added_key):
        again = tidy(Checks(), fields)
        if known.removed_at is None and not find_changes(settings, known, again):
            return known
        # Somebody went back to the form and typed another server into it.
        added_key = None
    wanted = check_new_server(session, fields)
    server = Server(name="", store="", url="", user_name="", added_key=added_key)
    choice = ask_about_records(session, settings, wanted.sync_id)
    check_confirmed(settings, wanted.url, shown_url(settings, server), choice, confirmed)
    changes = find_changes(settings, server, wanted)
    _archive_if_chosen(session, actor, choice, wanted.sync_id, confirmed)
    write_changes(session, actor, EventKind.SERVER_ADDED, settings, server, changes)
    return server


def check_new_server(session: Session, fields: ServerFields) -> ServerFields:
    """Return ``fields`` with the values that a new row would get; change nothing.

    Raise :class:`Invalid` as :func:`add_server` does.
    """
    checks = Checks()
    wanted = tidy(checks, fields)
    check_row(session, checks, session.get_one(Settings, 1), wanted)
    checks.finish()
    return wanted


def _find_added(session: Session, added_key: str | None) -> Server | None:
    if added_key is None:
        return None
    return session.scalar(select(Server).where(Server.added_key == added_key))


def edit_server(
    session: Session,
    actor: Actor,
    server_id: int,
    fields: ServerFields,
    version: int,
    confirmed: Collection[str] = (),
) -> Server:
    """Change a row and return it; if no value differs, nothing is written.

    ``version`` is the row's version that the form shows, and ``confirmed`` as in
    :func:`add_server`. Raise as :func:`add_server` does, and :class:`Conflict` or
    :class:`NotFound`.
    """
    settings = lock_settings(session)
    server = lock_server(session, server_id)
    changes = check_edited_server(session, server, fields, version)
    if not changes:
        return server
    sync_id, choice = changes.get("sync_id", server.sync_id), None
    if "sync_id" in changes:
        choice = ask_about_records(session, settings, sync_id)
    elif "store" in changes:
        # A row with another store is another server, or the same one with another code.
        choice = ask_about_records(session, settings, sync_id, server)
    check_confirmed(settings, changes.get("url"), shown_url(settings, server), choice, confirmed)
    _archive_if_chosen(session, actor, choice, sync_id, confirmed)
    write_changes(session, actor, EventKind.SERVER_CHANGED, settings, server, changes)
    return server


def check_edited_server(
    session: Session, server: Server, fields: ServerFields, version: int
) -> dict[str, Any]:
    """Map each field of ``server`` that ``fields`` would change to its new value; change nothing.

    ``version`` is the row's version that the form shows. Raise :class:`Invalid` and
    :class:`Conflict` as :func:`edit_server` does.
    """
    settings = session.get_one(Settings, 1)
    checks = Checks()
    wanted = tidy(checks, fields)
    changes = find_changes(settings, server, wanted)
    if not changes and not checks.problems:
        return changes
    if version != server.version:
        refuse_stale(session, "server", server.id, version, server.version)
    check_row(session, checks, settings, wanted, server)
    checks.finish()
    return changes


def remove_servers(session: Session, actor: Actor, ids: Sequence[int]) -> list[Server]:
    """Remove the rows with these ids and return them; :func:`restore_servers` undoes it.

    Rows that are removed already stay as they are. Raise :class:`NotFound` if ``ids`` is empty or
    has an unknown id.
    """
    lock_settings(session)
    servers = _lock_all(session, ids)
    for server in servers:
        if server.removed_at is None:
            server.removed_at = clock.now()
            log_change(session, actor, EventKind.SERVER_REMOVED, server, was=logged_fields(server))
    return servers


def restore_servers(
    session: Session, actor: Actor, ids: Sequence[int], confirmed: Collection[str] = ()
) -> list[Server]:
    """Restore removed rows as they were, all or none, and return them.

    ``confirmed`` is as in :func:`add_server`. Raise :class:`NotFound`, :class:`Invalid` (field
    ``sync_id``) for the first row that conflicts with the present list, or
    :class:`NeedsConfirmation` if another row has had its Sync ID in the meantime.
    """
    settings = lock_settings(session)
    servers = _lock_all(session, ids)
    for server in servers:
        if server.removed_at is None:
            continue
        _check_restorable(session, settings, server)
        if find_user_before(session, server.sync_id) is not server:
            choice = ask_about_records(session, settings, server.sync_id)
            check_confirmed(settings, None, "", choice, confirmed)
            _archive_if_chosen(session, actor, choice, server.sync_id, confirmed)
        server.removed_at = None
        retry_addressed(session, server.sync_id)
        log_change(session, actor, EventKind.SERVER_RESTORED, server, became=logged_fields(server))
    return servers


def _archive_if_chosen(
    session: Session,
    actor: Actor,
    choice: Choice | None,
    sync_id: int | None,
    confirmed: Collection[str],
) -> None:
    if choice and sync_id is not None and ARCHIVE_RECORDS in confirmed:
        archive_records(session, actor, sync_id)


def _check_restorable(session: Session, settings: Settings, server: Server) -> None:
    checks = Checks()
    row = ServerFields(server.sync_id, server.name, server.store, user_name=server.user_name)
    check_row(session, checks, settings, row, server)
    for reason in checks.problems.values():
        whole = say("%(server)s cannot come back. %(reason)s", server=server.label, reason=reason)
        raise Invalid({"sync_id": whole})


def _lock_all(session: Session, ids: Sequence[int]) -> list[Server]:
    query = select(Server).where(Server.id.in_(ids)).order_by(Server.id).with_for_update()
    servers = list(session.scalars(query.execution_options(populate_existing=True)))
    if not servers or len(servers) != len(set(ids)):
        raise NotFound(say("Select a server of the list first."))
    return servers
