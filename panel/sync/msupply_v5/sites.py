"""Who calls over v5: a row of the list with its own user name, and the machine it is bound to."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from panel import clock
from panel.activity.actor import Actor
from panel.db import Database
from panel.models.base import Server
from panel.models.sync import Peer
from panel.sync.msupply_v5.codec import NEWEST_VERSION, OLDEST_VERSION
from panel.sync.primary.admission import bind, check_hardware, check_open, find_peer
from panel.sync.primary.authentication import Doorkeeper, Pair, read_authorization
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import HARDWARE_ID_LENGTH

APP_NAME_LENGTH, APP_VERSION_LENGTH = 60, 40


@dataclass(frozen=True)
class Caller:
    """What a request says of its sender."""

    authorization: str
    hardware_id: str
    version: str
    app_name: str
    app_version: str
    address: str


@dataclass(frozen=True)
class Site:
    """A caller who was let in: its row, and what this primary remembers of it."""

    server: Server
    peer: Peer


def caller_of(headers: Mapping[str, str], address: str) -> Caller:
    """Read a caller out of ``headers``, whose names are in lower case."""
    return Caller(
        authorization=headers.get("authorization", ""),
        hardware_id=headers.get("msupply-site-uuid", "").strip(),
        version=headers.get("version", "").strip(),
        app_name=headers.get("app-name", "").strip()[:APP_NAME_LENGTH],
        app_version=headers.get("app-version", "").strip()[:APP_VERSION_LENGTH],
        address=address,
    )


def recognise(database: Database, doorkeeper: Doorkeeper, caller: Caller) -> int:
    """Return the id of the row whose own pair and machine the caller has. Raise SyncRefusal.

    The password is checked before any transaction that writes: nobody waits for it.
    """
    _check_version(caller)
    with database.reading() as session:
        check_open(session)
        pair = read_authorization(caller.authorization)
        if not isinstance(pair, Pair):
            raise SyncRefusal("site_name_not_found")
        server = doorkeeper.check_pair(session, pair, caller.address)
    if server is None:
        # The shared pair: v5 has no place for a Sync ID, so nobody knows whose call this is.
        raise SyncRefusal("site_name_not_found")
    _check_machine(server, caller)
    return server.id


def admit(session: Session, server_id: int, caller: Caller) -> Site:
    """Let a recognised caller in, bind its row to its machine if to none yet, and note the contact.

    Its row stays locked until the caller of this commits. Raise SyncRefusal.
    """
    server = session.get_one(Server, server_id, with_for_update=True, populate_existing=True)
    if server.removed_at is not None:
        raise SyncRefusal("site_name_not_found")
    # Once more: of two machines that came first at once, one has bound the row by now.
    _check_machine(server, caller)
    peer = find_peer(session, server)
    if server.hardware_id is None:
        bind(session, server, caller.hardware_id, Actor(server.user_name, caller.address, "sync"))
        # Another machine begins anew, whatever the one before had.
        peer.initialisation = "new"
    server.last_contact_at = clock.now()
    peer.protocol, peer.app_name, peer.app_version = "v5", caller.app_name, caller.app_version
    peer.refusal, peer.refusal_values = "", None
    return Site(server, peer)


def _check_version(caller: Caller) -> None:
    text = caller.version
    version = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not OLDEST_VERSION <= version <= NEWEST_VERSION:
        window = {"oldest": OLDEST_VERSION, "newest": NEWEST_VERSION, "theirs": version}
        raise SyncRefusal("api_version_incompatible", **window)


def _check_machine(server: Server, caller: Caller) -> None:
    try:
        if not server.store.strip():
            raise SyncRefusal("site_has_no_store")
        if not 1 <= len(caller.hardware_id) <= HARDWARE_ID_LENGTH:
            raise SyncRefusal("site_incorrect_hardware_id")
        check_hardware(server, caller.hardware_id)
    except SyncRefusal as refusal:
        refusal.server_id = server.id
        raise
