"""Changes of a row of the list of servers, each logged in Activity as a new version."""

from typing import Any

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.log import SECRET, Actor, EventKind, refuse_stale
from panel.errors import NotFound
from panel.i18n import say
from panel.models.base import (
    NAME_LENGTH,
    STORE_LENGTH,
    USER_NAME_LENGTH,
    searchable,
    word_starts,
)
from panel.models.records import Quarantined, Record
from panel.models.runs import Peer, SiteCopy
from panel.models.settings import Server, ServerWord, Settings, lock_server, lock_settings
from panel.preferences.parameters import clear_url, set_url, try_anew
from panel.preferences.server_fields import ServerFields
from panel.preferences.server_list import ListedServer
from panel.preferences.shared_password import wire_password
from panel.security.hashes import hash_secret, verify_secret
from panel.sync.store.sequence import lock_sequence, next_seqs

_FIELDS = ("sync_id", "name", "store", "url", "user_name")


def shown_url(settings: Settings, server: Server | ListedServer) -> str:
    """Return the URL that a row shows: on a satellite the URL of the parameters."""
    return settings.url if settings.is_satellite else server.url


def logged_fields(server: Server) -> dict[str, Any]:
    """Return the fields that Activity shows when a whole row is removed or restored."""
    return {field: getattr(server, field) for field in _FIELDS}


def find_changes(settings: Settings, server: Server, wanted: ServerFields) -> dict[str, Any]:
    """Map each field of ``server`` that ``wanted`` changes to its new value, the password too."""
    present = logged_fields(server)
    present["url"] = shown_url(settings, server)
    changes = {field: getattr(wanted, field) for field in _FIELDS}
    if wanted.url is None:
        del changes["url"]
    changes = {field: value for field, value in changes.items() if value != present[field]}
    if wanted.password and not _is_password(server, wanted.password):
        changes["password"] = wanted.password
    return changes


def write_changes(
    session: Session,
    actor: Actor,
    what: EventKind,
    settings: Settings,
    server: Server,
    changes: dict[str, Any],
) -> None:
    """Set the values in ``changes`` on ``server`` and log them as one new version of the row."""
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
    try_anew(session, settings)
    if changes.keys() & {"name", "store", "user_name"}:
        write_words(session, server)
    if "sync_id" in changes:
        retry_addressed(session, changes["sync_id"])


def write_words(session: Session, server: Server) -> None:
    """Note what this saved row is found by."""
    before = delete(ServerWord).where(ServerWord.server_id == server.id)
    session.execute(before, execution_options={"synchronize_session": False})
    texts = (server.name, server.store, server.user_name)
    words = set().union(*map(word_starts, texts))
    if words:
        rows = [{"server_id": server.id, "word": word} for word in sorted(words)]
        session.execute(insert(ServerWord), rows)


def archive_records(session: Session, actor: Actor, sync_id: int) -> None:
    """Archive the records that ``sync_id`` owns and those addressed to it.

    Their owner or address becomes the negative number, so that no stream finds them and nobody may
    write them. What that server sent into quarantine is left out.
    """
    # Every writer of records locks it first. Otherwise two of them could deadlock.
    lock_sequence(session)
    in_bulk = {"synchronize_session": False}
    owned = update(Record).where(Record.owner == sync_id).values(owner=-sync_id)
    session.execute(owned, execution_options=in_bulk)
    addressed = update(Record).where(Record.to == sync_id).values(to=-sync_id)
    session.execute(addressed, execution_options=in_bulk)
    # Version 0, so that a later record of the same key replaces this one.
    pushed = update(Quarantined).where(Quarantined.source == sync_id)
    session.execute(pushed.values(left_out_at=clock.now(), version=0), execution_options=in_bulk)
    # The site's copies of shared records are not those of the store that gets the Sync ID now.
    rows = select(Server.id).where(Server.sync_id == sync_id)
    session.execute(delete(SiteCopy).where(SiteCopy.server_id.in_(rows)), execution_options=in_bulk)
    _log_records(session, actor, EventKind.RECORDS_ARCHIVED, sync_id)


def give_back_records(session: Session, actor: Actor, sync_id: int) -> int:
    """Undo :func:`archive_records` for ``sync_id``; return how many records it gets back.

    They get new numbers in the sequence, so that the addressed ones are sent. The server gets its
    own ones back when it initialises. Raise :class:`NotFound` if there are none.
    """
    lock_sequence(session)
    archived = or_(Record.owner == -sync_id, Record.to == -sync_id)
    query = select(Record.id, Record.owner, Record.to).where(archived).order_by(Record.seq)
    rows = session.execute(query).all()
    if not rows:
        raise NotFound(say("Sync ID %(sync_id)s has no archived records.", sync_id=sync_id))
    numbers = {-sync_id: sync_id}
    changed = [
        {
            "id": row.id,
            "owner": numbers.get(row.owner, row.owner),
            "to": numbers.get(row.to, row.to),
            "seq": seq,
        }
        for row, seq in zip(rows, next_seqs(session, len(rows)), strict=True)
    ]
    session.execute(update(Record), changed)
    # Otherwise the next try would drop those that are older than the record that is back.
    refused = update(Quarantined).where(Quarantined.source == sync_id)
    refused = refused.where(Quarantined.reason == "archived", Quarantined.left_out_at.is_(None))
    session.execute(
        refused.values(left_out_at=clock.now()), execution_options={"synchronize_session": False}
    )
    _log_records(session, actor, EventKind.RECORDS_GIVEN_BACK, sync_id)
    return len(rows)


def _log_records(session: Session, actor: Actor, what: EventKind, sync_id: int) -> None:
    log.add_entry(session, actor, what, subject="record", label=f"Sync ID {sync_id}")


def retry_addressed(session: Session, sync_id: int) -> None:
    """Let the quarantined records for ``sync_id`` be tried again, since it is a server now."""
    waiting = update(Quarantined).where(Quarantined.to == sync_id).values(tries=0)
    session.execute(waiting, execution_options={"synchronize_session": False})


def log_change(
    session: Session,
    actor: Actor,
    what: EventKind,
    server: Server,
    was: dict[str, Any] | None = None,
    became: dict[str, Any] | None = None,
) -> None:
    """Add 1 to the version of ``server`` and log the change with the new version in Activity."""
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
    """Clear the Hardware ID and the device token, so that the next machine that calls is bound.

    ``version`` is the row's version that the form shows. Raise :class:`NotFound` or
    :class:`Conflict`.
    """
    lock_settings(session)
    server = lock_server(session, server_id)
    if server.hardware_id is None:
        return server
    _refuse_stale(session, server, version)
    was = {"hardware_id": server.hardware_id}
    server.hardware_id = server.device_token_hash = None
    server.has_used_token = False
    # Whichever machine comes next is the one: what was known of copies of it counts no more.
    alone = {"is_shared": False, "own_generation": "", "superseded": None}
    session.execute(update(Peer).where(Peer.server_id == server.id).values(alone))
    log_change(session, actor, EventKind.HARDWARE_CLEARED, server, was, {"hardware_id": None})
    return server


def clear_server_url(session: Session, actor: Actor, server_id: int, version: int) -> Server:
    """Clear the URL that the row shows: on a satellite the URL of the parameters.

    Raise :class:`NotFound` or :class:`Conflict`.
    """
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
    """Clear the row's own User name and Password, so that it uses the shared pair.

    Raise :class:`NotFound` or :class:`Conflict`.
    """
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
    write_words(session, server)
    return server


def _is_password(server: Server, password: str) -> bool:
    password_hash = server.password_hash
    return password_hash is not None and verify_secret(password_hash, wire_password(password))


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


def _refuse_stale(session: Session, server: Server, version: int) -> None:
    if version != server.version:
        refuse_stale(session, "server", server.id, version, server.version)
