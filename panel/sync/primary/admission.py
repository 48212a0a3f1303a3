"""Which satellite calls: its row, its machine and its identity, and whether all of it fits."""

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.kinds import EventKind
from panel.activity.log import Actor
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Applicant, Peer
from panel.models.settings import Server, Settings
from panel.preferences.readiness import blocking_urls
from panel.security.hashes import hash_token
from panel.sync.primary.authentication import Authenticator, DeviceToken, find_device, find_server
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import About, Pair

# 128 random bits: nobody guesses them, and every exchange carries them.
_TOKEN_BYTES = 16
# More than a site adds in a day.
MOST_APPLICANTS = 1_000


@dataclass(frozen=True)
class Proof:
    """That a caller knows a secret of ``row``; None where it is the shared pair."""

    row: Server | None
    by_password: bool


@dataclass(frozen=True)
class Caller:
    """A satellite that proved who it is. ``about`` is None where its digest said all is known."""

    server_id: int
    about: About | None
    by_password: bool


def prove(
    session: Session, authenticator: Authenticator, credentials: Pair | DeviceToken, address: str
) -> Proof:
    """Check the credentials alone, before anything else of a request is read. Raise SyncRefusal."""
    if not session.get_one(Settings, 1).is_primary:
        # It knows no pair of a satellite, and would take every one for wrong.
        raise SyncRefusal("not_a_primary")
    if isinstance(credentials, DeviceToken):
        return Proof(find_device(session, credentials), by_password=False)
    return Proof(authenticator.check_pair(session, credentials, address), by_password=True)


def identify(session: Session, proof: Proof, about: About | str, address: str) -> Caller:
    """Return who calls, without changing anything. Raise SyncRefusal."""
    if isinstance(about, str):
        if proof.by_password or proof.row is None:
            raise SyncRefusal("identity_wanted")
        _check_digest(session, proof.row, about)
        return Caller(proof.row.id, None, False)
    row = proof.row or find_server(session, about.sync_id)
    if row is None:
        raise UnknownSite(about, address)
    if proof.row is None and row.password_hash is not None:
        # It has a pair of its own, and the shared one does not stand for it.
        raise SyncRefusal("site_name_not_found")
    return Caller(row.id, about, proof.by_password)


class UnknownSite(SyncRefusal):
    """A caller with the right shared pair, whose Sync ID no row has."""

    def __init__(self, about: About, address: str) -> None:
        if about.sync_id == PRIMARY_SYNC_ID:
            super().__init__("identity_differs", differences=[["sync_id", None, PRIMARY_SYNC_ID]])
        else:
            super().__init__("waiting_to_be_added", sync_id=about.sync_id)
        self.about = about
        self.address = address

    def note(self, session: Session) -> None:
        """Put the caller on the list of those who wait to be added."""
        if self.about.sync_id == PRIMARY_SYNC_ID:
            return
        # One at a time: two calls at once under a new Sync ID are one applicant.
        session.get_one(Settings, 1, with_for_update=True)
        applicant = session.get(Applicant, self.about.sync_id)
        if applicant is None:
            _make_room(session)
            applicant = Applicant(sync_id=self.about.sync_id, first_at=clock.now())
            session.add(applicant)
        applicant.name, applicant.store = self.about.name, self.about.store
        applicant.hardware_id, applicant.address = self.about.hardware_id, self.address[:64]
        applicant.last_at = clock.now()


def _make_room(session: Session) -> None:
    """Let whoever called longest ago give way: one satellite could ask under every Sync ID."""
    newest_first = select(Applicant.sync_id).order_by(Applicant.last_at.desc())
    too_many = newest_first.offset(MOST_APPLICANTS - 1)
    session.execute(delete(Applicant).where(Applicant.sync_id.in_(too_many)))


def admit(session: Session, caller: Caller, actor: Actor) -> tuple[Server, Peer, str]:
    """Return the caller's row, what is known of it, and a new token ("" if it has one).

    Its machine is bound by the first contact. Raise SyncRefusal, with the row's id in it.
    """
    server = session.get_one(Server, caller.server_id, with_for_update=True, populate_existing=True)
    # Cleared since it was recognised, it would bind the very machine that was sent away.
    is_cleared = not caller.by_password and server.device_token_hash is None
    if server.removed_at is not None or is_cleared:
        raise SyncRefusal("device_token_ended")
    peer = find_peer(session, server)
    try:
        settings = check_open(session)
        if caller.about is not None:
            _check_about(settings, server, caller.about)
            bind(session, server, caller.about.hardware_id, actor)
            peer.app_name, peer.app_version = "Sync Panel", caller.about.app_version
    except SyncRefusal as refusal:
        refusal.server_id = server.id
        raise
    return server, peer, _new_token(server) if caller.by_password else ""


def check_open(session: Session) -> Settings:
    """Return the settings of a primary that takes callers. Raise SyncRefusal."""
    settings = session.get_one(Settings, 1, populate_existing=True)
    if not settings.is_primary:
        raise SyncRefusal("not_a_primary")
    if blocking_urls(session):
        raise SyncRefusal("sync_disabled")
    if settings.interval_minutes == 0:
        raise SyncRefusal("sync_paused")
    return settings


def find_peer(session: Session, server: Server) -> Peer:
    """Return what is remembered of a satellite; begin to, at its first contact."""
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


def differences(settings: Settings, server: Server, about: About) -> list[list[Any]]:
    """Return the fields that the two sides do not agree on: name, value at the primary, theirs."""
    pairs = [
        ("sync_id", server.sync_id, about.sync_id),
        ("name", server.name, about.name),
        ("store", server.store, about.store),
        ("primary_name", settings.name, about.primary_name),
        ("primary_store", settings.store, about.primary_store),
    ]
    return [[field, here, there] for field, here, there in pairs if here != there]


def _check_about(settings: Settings, server: Server, about: About) -> None:
    check_hardware(server, about.hardware_id)
    if not about.store:
        raise SyncRefusal("site_has_no_store")
    if found := differences(settings, server, about):
        raise SyncRefusal("identity_differs", differences=found)


def _check_digest(session: Session, server: Server, digest: str) -> None:
    settings, peer = session.get_one(Settings, 1), session.get(Peer, server.id)
    known = About(
        server.sync_id,
        server.name,
        server.store,
        server.hardware_id or "",
        peer.app_version if peer else "",
        settings.name,
        settings.store,
    )
    if known.digest() != digest:
        raise SyncRefusal("identity_wanted")


def bind(session: Session, server: Server, hardware_id: str, actor: Actor) -> None:
    """Bind the row to a machine unless it is bound already."""
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


def _new_token(server: Server) -> str:
    token = f"{server.sync_id}.{secrets.token_urlsafe(_TOKEN_BYTES)}"
    server.device_token_hash = hash_token(token)
    return token
