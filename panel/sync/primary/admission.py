"""The admission of callers: their row, machine and identity (PROTOCOL.md, *Who calls*)."""

import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from panel import APP_NAME, clock
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.db import Database
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Applicant, Peer
from panel.models.settings import Server, Settings, find_listed
from panel.preferences.readiness import is_blocked
from panel.security.hashes import hash_token
from panel.sync.primary.authentication import Authenticator, DeviceToken
from panel.sync.primary.idle import Device, read_device
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import Identity, Pair

# 128 random bits cannot be guessed, and are short enough for every exchange.
_TOKEN_BYTES = 16
# More than people add in a day.
MOST_APPLICANTS = 1_000
_MOST_SUPERSEDED = 16
# An initialise that did not go on for so long has been given up.
_INITIALISE_LASTS = timedelta(minutes=15)
_COME_BACK_SECONDS = 120


@dataclass(frozen=True)
class Proof:
    """A caller with valid credentials: the token of ``device``, or the pair of ``row``.

    Both are None for the shared pair.
    """

    device: Device | None = None
    row: Server | None = None


@dataclass(frozen=True)
class Caller:
    """An authenticated satellite; ``identity`` is None if it sent the known digest of it."""

    server_id: int
    identity: Identity | None
    # Of the device token that it sent; None if it sent a pair.
    token_hash: str | None

    @property
    def by_password(self) -> bool:
        """Say whether it sent a pair."""
        return self.token_hash is None


def prove(
    database: Database, authenticator: Authenticator, credentials: Pair | DeviceToken, address: str
) -> Proof:
    """Check the credentials of a call from ``address``, before its body is read.

    Raise SyncRefusal.
    """
    # Checked first that this is a primary: other servers know no pairs, so that every one would be
    # wrong.
    if isinstance(credentials, DeviceToken):
        device = read_device(database, credentials.sync_id)
        if not device.is_of_primary:
            raise SyncRefusal("not_a_primary")
        if not credentials.is_of(device.token_hash):
            raise SyncRefusal("device_token_ended")
        return Proof(device)
    with database.reading() as session:
        if not session.get_one(Settings, 1).is_primary:
            raise SyncRefusal("not_a_primary")
    return Proof(row=authenticator.check_pair(database, credentials, address))


def identify(database: Database, proof: Proof, identity: Identity | str, address: str) -> Caller:
    """Return the caller with this ``identity``, in full or as its digest; change nothing.

    Raise SyncRefusal, :class:`UnknownSite` for a Sync ID without a row.
    """
    device = proof.device
    if isinstance(identity, str):
        if device is None or device.identity.digest() != identity:
            raise SyncRefusal("identity_wanted")
        return Caller(device.id, None, device.token_hash)
    if device is not None:
        return Caller(device.id, identity, device.token_hash)
    with database.reading() as session:
        row = proof.row or find_listed(session, identity.sync_id)
    if row is None:
        raise UnknownSite(identity, address)
    if proof.row is None and row.password_hash is not None:
        # A row with a pair of its own has to use it.
        raise SyncRefusal("site_name_not_found")
    return Caller(row.id, identity, None)


class UnknownSite(SyncRefusal):
    """A caller with the shared pair and a Sync ID without a row."""

    def __init__(self, identity: Identity, address: str) -> None:
        if identity.sync_id == PRIMARY_SYNC_ID:
            super().__init__("identity_differs", differences=[["sync_id", None, PRIMARY_SYNC_ID]])
        else:
            super().__init__("waiting_to_be_added", sync_id=identity.sync_id)
        self.identity = identity
        self.address = address

    def record_applicant(self, session: Session) -> None:
        """Record the caller as an applicant, which waits to be added."""
        if self.identity.sync_id == PRIMARY_SYNC_ID:
            return
        # Locked: two simultaneous calls of a new machine are one applicant.
        session.get_one(Settings, 1, with_for_update=True)
        key = self.identity.sync_id, self.identity.hardware_id
        applicant = session.get(Applicant, key)
        if applicant is None:
            _make_room(session)
            applicant = Applicant(sync_id=key[0], hardware_id=key[1], first_at=clock.now())
            session.add(applicant)
        applicant.name, applicant.store = self.identity.name, self.identity.store
        applicant.address = self.address[:64]
        applicant.last_at = clock.now()


def admit(session: Session, caller: Caller, actor: Actor) -> tuple[Server, Peer, str]:
    """Return the caller's row, locked, its peer, and a new device token ("" if it has one).

    The first contact binds the row to the machine. A row whose token was used takes no password:
    others know the shared one. Raise SyncRefusal with the row's id.
    """
    server = session.get_one(Server, caller.server_id, with_for_update=True, populate_existing=True)
    _check_admissible(session, server, caller)
    peer = find_peer(session, server)
    if caller.identity is not None:
        bind(session, server, caller.identity.hardware_id, actor)
        peer.app_name, peer.app_version = APP_NAME, caller.identity.app_version
    server.has_used_token = not caller.by_password
    return server, peer, new_token(server) if caller.by_password else ""


def check_admissible(session: Session, caller: Caller) -> None:
    """Raise SyncRefusal, with the row's id, if :func:`admit` would; change nothing."""
    _check_admissible(session, session.get_one(Server, caller.server_id), caller)


def _check_admissible(session: Session, server: Server, caller: Caller) -> None:
    # Without this, a machine that was cleared since identify() would be bound again.
    has_ended = not caller.by_password and server.device_token_hash != caller.token_hash
    if server.removed_at is not None or has_ended:
        raise SyncRefusal("device_token_ended")
    try:
        settings = check_open(session)
        peer = session.get(Peer, server.id, populate_existing=True)
        if peer is not None and peer.is_shared:
            raise SyncRefusal("two_machines", sync_id=server.sync_id)
        if caller.identity is not None:
            _check_identity(settings, server, caller.identity)
            if caller.by_password and server.has_used_token:
                raise SyncRefusal("device_token_needed")
    except SyncRefusal as refusal:
        refusal.server_id = server.id
        raise


def check_open(session: Session) -> Settings:
    """Return the settings of a primary that accepts calls. Raise SyncRefusal if this is none."""
    settings = session.get_one(Settings, 1, populate_existing=True)
    if not settings.is_primary:
        raise SyncRefusal("not_a_primary")
    if is_blocked(session, settings):
        raise SyncRefusal("sync_disabled")
    if settings.interval_minutes == 0:
        raise SyncRefusal("sync_paused")
    return settings


def claim(server: Server, peer: Peer, present: str, before: str) -> None:
    """Note that the satellite is in generation ``present`` of its own history.

    ``before`` is the one that it took the place of where that may go on elsewhere, else "". Raise
    SyncRefusal (two_machines) if another machine has taken its place by now: of two copies of one
    server each comes back in a generation that the other has superseded.
    """
    if present == peer.own_generation:
        return
    superseded = peer.superseded or []
    if present in superseded or before in superseded:
        refusal = SyncRefusal("two_machines", sync_id=server.sync_id)
        refusal.server_id = server.id
        raise refusal
    if peer.own_generation:
        peer.superseded = [*superseded, peer.own_generation][-_MOST_SUPERSEDED:]
    peer.own_generation = present


def check_room(session: Session, peer: Peer, most: int) -> None:
    """Raise SyncRefusal (initialise_later) if ``most`` satellites initialise at this moment."""
    lately = clock.now() - _INITIALISE_LASTS
    others = select(func.count()).select_from(Peer)
    others = others.where(Peer.initialising_at > lately, Peer.server_id != peer.server_id)
    if (session.scalar(others) or 0) >= most:
        # Spread, so that those who wait do not all come back at once.
        seconds = _COME_BACK_SECONDS + secrets.randbelow(_COME_BACK_SECONDS)
        raise SyncRefusal("initialise_later", seconds=seconds)


def find_peer(session: Session, server: Server) -> Peer:
    """Return the peer of a satellite, a new one at its first contact."""
    peer = session.get(Peer, server.id, populate_existing=True)
    if peer is None:
        peer = Peer(server_id=server.id, site_uuid=str(uuid.uuid4()))
        session.add(peer)
        session.flush()
    return peer


def check_hardware(server: Server, hardware_id: str) -> None:
    """Raise SyncRefusal if the row is bound to another machine."""
    if server.hardware_id is not None and server.hardware_id != hardware_id:
        raise SyncRefusal("site_incorrect_hardware_id")


def differences(settings: Settings, server: Server, identity: Identity) -> list[list[Any]]:
    """Return the fields in which the two sides differ: name, value here, value of the caller."""
    pairs = [
        ("sync_id", server.sync_id, identity.sync_id),
        ("name", server.name, identity.name),
        ("store", server.store, identity.store),
        ("primary_name", settings.name, identity.primary_name),
        ("primary_store", settings.store, identity.primary_store),
    ]
    return [[field, here, there] for field, here, there in pairs if here != there]


def bind(session: Session, server: Server, hardware_id: str, actor: Actor) -> None:
    """Bind the row to a machine, and record that, unless it is bound already."""
    if server.hardware_id is None:
        server.hardware_id = hardware_id
        log.add_entry(
            session,
            actor,
            EventKind.HARDWARE_BOUND,
            subject="server",
            subject_id=server.id,
            label=server.label,
            became={"hardware_id": hardware_id},
        )


def _make_room(session: Session) -> None:
    """Delete the applicants of longest ago, since one satellite can call under every Sync ID."""
    newest_first = select(Applicant).order_by(Applicant.last_at.desc())
    for applicant in session.scalars(newest_first.offset(MOST_APPLICANTS - 1)):
        session.delete(applicant)


def _check_identity(settings: Settings, server: Server, identity: Identity) -> None:
    check_hardware(server, identity.hardware_id)
    if not identity.store:
        raise SyncRefusal("site_has_no_store")
    if found := differences(settings, server, identity):
        raise SyncRefusal("identity_differs", differences=found)


def new_token(server: Server) -> str:
    """Return a new device token for a row, whose hash is kept there."""
    token = f"{server.sync_id}.{secrets.token_urlsafe(_TOKEN_BYTES)}"
    server.device_token_hash = hash_token(token)
    return token
