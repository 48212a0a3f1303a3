"""The primary's side of joining with a set-up (PROTOCOL.md, *Joining*), in one transaction."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import APP_NAME, clock
from panel.accounts.throttle import Attempt, Purpose
from panel.accounts.tokens import read_bearer
from panel.activity.log import Actor, EventKind
from panel.db import Database
from panel.errors import Invalid
from panel.models.base import searchable
from panel.models.settings import IssuedSetup, Server, Settings, lock_settings
from panel.preferences.server_changes import write_changes
from panel.setups.issued import REPEATABLE_FOR, SetupState, find_by_code, note_used, state_of
from panel.setups.setup_text import read_code
from panel.sync.primary.admission import bind, check_hardware, check_open, find_peer, new_token
from panel.sync.primary.authentication import count_wrong, refuse_throttled
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.json_reader import BadMessage, JsonObject, load_json
from panel.sync.protocol.messages import (
    APP_VERSION_LENGTH,
    HARDWARE_ID_LENGTH,
    OLDEST_VERSION,
    VERSION,
)

# In bytes, far above a Hardware ID and two versions.
LARGEST_BODY_BYTES = 4 * 1024
# 144 random bits.
_PASSWORD_BYTES = 18


@dataclass(frozen=True)
class Joining:
    """The body of a request to join: the Hardware ID and the version of the satellite."""

    hardware_id: str
    app_version: str

    @classmethod
    def from_json(cls, content: bytes) -> "Joining":
        """Return the values of a body. Raise SyncRefusal."""
        try:
            fields = JsonObject(load_json(content))
            version = fields.whole("version", 0, 2**31)
            if not OLDEST_VERSION <= version <= VERSION:
                raise SyncRefusal(
                    "api_version_incompatible",
                    oldest=OLDEST_VERSION,
                    newest=VERSION,
                    theirs=version,
                )
            hardware_id = fields.text("hardware_id", HARDWARE_ID_LENGTH)
            app_version = fields.text("app_version", APP_VERSION_LENGTH)
        except (BadMessage, ValueError, RecursionError, Invalid) as error:
            raise SyncRefusal("bad_request", what=str(error)[:200]) from error
        if not hardware_id:
            raise SyncRefusal("bad_request", what="hardware_id: empty")
        return cls(hardware_id, app_version)


def join(
    database: Database, authorization: str, read_content: Callable[[], bytes], address: str
) -> dict[str, Any]:
    """Bind the row of a set-up to the machine at ``address``; return the answer's fields.

    ``authorization`` is the header, and ``read_content`` is called once the set-up is known. Raise
    SyncRefusal: then nothing is changed, and the set-up not used.
    """
    code = _authenticate(database, authorization, address)
    joining = Joining.from_json(read_content())
    with database.writing() as session:
        settings = lock_settings(session)
        issued = find_by_code(session, code, lock=True)
        if issued is None:
            raise SyncRefusal("setup_unknown")
        server = session.get_one(Server, issued.server_id, with_for_update=True)
        _check(session, server, issued, joining)
        return _bind(session, settings, server, issued, joining, Actor("", address, "sync"))


def _authenticate(database: Database, authorization: str, address: str) -> str:
    """Return the secret of a known set-up. Raise SyncRefusal, and count what is unknown."""
    attempt = Attempt(Purpose.SETUP, "", address)
    with database.reading() as session:
        if not session.get_one(Settings, 1).is_primary:
            raise SyncRefusal("not_a_primary")
        refuse_throttled(session, attempt)
        code = _read_code(read_bearer(authorization))
        if code and find_by_code(session, code) is not None:
            return code
    count_wrong(database, attempt)
    raise SyncRefusal("setup_unknown")


def _read_code(typed: str) -> str:
    """Return the secret, "" if no set-up can have it: a slip needs no look into the database."""
    try:
        return read_code(typed)
    except Invalid:
        return ""


def _check(session: Session, server: Server, issued: IssuedSetup, joining: Joining) -> None:
    """Raise SyncRefusal if the machine may not join with this set-up, or not now."""
    now = clock.now()
    state = SetupState.REVOKED if server.removed_at is not None else state_of(issued, now)
    if state is SetupState.USED:
        is_same = issued.hardware_id == joining.hardware_id
        used_at = issued.used_at or now
        if not is_same or not now - REPEATABLE_FOR <= used_at <= now:
            raise SyncRefusal("setup_used")
    elif state is not SetupState.OPEN:
        raise SyncRefusal(f"setup_{state}")
    check_open(session)
    check_hardware(server, joining.hardware_id)
    if find_peer(session, server).is_shared:
        raise SyncRefusal("two_machines", sync_id=server.sync_id)


def _bind(
    session: Session,
    settings: Settings,
    server: Server,
    issued: IssuedSetup,
    joining: Joining,
    actor: Actor,
) -> dict[str, Any]:
    """Note the set-up as used, give the row to the machine, and return the answer's fields."""
    note_used(session, actor, server, issued, joining.hardware_id)
    bind(session, server, joining.hardware_id, actor)
    # The shared password is known here as its hash only: the machine gets a pair of its own.
    pair = {
        "user_name": server.user_name or _free_user_name(session, settings, server.sync_id),
        "password": secrets.token_urlsafe(_PASSWORD_BYTES),
    }
    write_changes(session, actor, EventKind.SERVER_CHANGED, settings, server, dict(pair))
    peer = find_peer(session, server)
    peer.app_name, peer.app_version = APP_NAME, joining.app_version
    server.last_contact_at, server.has_used_token = clock.now(), False
    return {
        "sync_id": server.sync_id,
        "name": server.name,
        "store": server.store,
        "primary_name": settings.name,
        "primary_store": settings.store,
        "token": new_token(server),
        **pair,
    }


def _free_user_name(session: Session, settings: Settings, sync_id: int) -> str:
    """Return a User name for a row that no other has."""
    name = f"site-{sync_id}"
    key = searchable(name)
    others = select(Server.id).where(Server.user_name_key == key, Server.removed_at.is_(None))
    is_taken = session.scalar(others.limit(1)) is not None
    if is_taken or searchable(settings.user_name) == key:
        return f"{name}-{secrets.token_hex(4)}"
    return name
