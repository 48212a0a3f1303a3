"""The sites that call over v5: their authentication, admission and runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from panel import APP_NAME, clock
from panel.activity.log import Actor
from panel.db import Database
from panel.models.records import ChangeSequence
from panel.models.runs import Peer, Run, RunResult, RunStep, SiteInitialisation
from panel.models.settings import Server, SyncProtocol
from panel.sync.msupply_v5.codec import (
    STATE_HEADER,
    TRIAL,
    SatelliteState,
    read_state,
)
from panel.sync.primary.admission import bind, check_hardware, check_open, find_peer
from panel.sync.primary.authentication import Authenticator, read_authorization
from panel.sync.primary.run_log import begin_run, open_run
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import HARDWARE_ID_LENGTH, Pair
from panel.sync.store.apply import Outcome

# The calls of all these are the same. A newer client may expect answers that are not known here.
OLDEST_VERSION, NEWEST_VERSION = 1, 16
APP_NAME_LENGTH, APP_VERSION_LENGTH = 60, 40
# A longer version is taken for 0, which is refused.
_VERSION_DIGITS = 8


@dataclass(frozen=True)
class Caller:
    """The headers of a request that describe its sender, and its address."""

    authorization: str
    hardware_id: str
    version: str
    app_name: str
    app_version: str
    address: str
    state: SatelliteState | None = None
    # A satellite of ours tests its connection.
    is_trial: bool = False

    @property
    def is_ours(self) -> bool:
        """Say whether it is a satellite of ours."""
        return self.app_name == APP_NAME


@dataclass(frozen=True)
class Site:
    """An admitted caller: its row of the list and its peer."""

    server: Server
    peer: Peer
    # A satellite of ours, to which records are opaque.
    is_ours: bool
    # How far it is; None if it did not tell.
    state: SatelliteState | None = None


def caller_of(headers: Mapping[str, str], address: str) -> Caller:
    """Return the caller that ``headers``, with names in lower case, describe."""
    return Caller(
        authorization=headers.get("authorization", ""),
        hardware_id=headers.get("msupply-site-uuid", "").strip(),
        version=headers.get("version", "").strip(),
        app_name=headers.get("app-name", "").strip()[:APP_NAME_LENGTH],
        app_version=headers.get("app-version", "").strip()[:APP_VERSION_LENGTH],
        address=address,
        state=read_state(headers.get(STATE_HEADER, "")),
        is_trial=headers.get(STATE_HEADER) == TRIAL,
    )


def recognise(database: Database, authenticator: Authenticator, caller: Caller) -> int:
    """Return the id of the row with the caller's pair and machine. Raise SyncRefusal.

    The password is checked outside writing transactions, so that no writer waits for argon2.
    """
    _check_version(caller)
    with database.reading() as session:
        check_open(session)
        pair = read_authorization(caller.authorization)
        if not isinstance(pair, Pair):
            raise SyncRefusal("site_name_not_found")
    server = authenticator.check_pair(database, pair, caller.address, caller.hardware_id)
    if server is None:
        # The shared pair does not identify a site, and v5 has no place for a Sync ID.
        raise SyncRefusal("site_name_not_found")
    _check_machine(server, caller)
    return server.id


def admit(session: Session, server_id: int, caller: Caller, binds: bool) -> Site:
    """Return the site of a recognised caller, and record the contact. Raise SyncRefusal.

    A row that is bound to no machine is bound to the caller's if ``binds``; else nothing is
    recorded. The row stays locked until the commit.
    """
    server = session.get_one(Server, server_id, with_for_update=True, populate_existing=True)
    if server.removed_at is not None:
        raise SyncRefusal("site_name_not_found")
    # Checked again: of two simultaneous first contacts one has bound the row by now.
    _check_machine(server, caller)
    peer = find_peer(session, server)
    site = Site(server, peer, caller.is_ours, caller.state)
    if server.hardware_id is None:
        if not binds:
            return site
        bind(session, server, caller.hardware_id, Actor(server.user_name, caller.address, "sync"))
        # Another machine has to initialise, even if the one before had.
        peer.initialisation, peer.asked_cursor = SiteInitialisation.NEW, 0
        peer.restore_until, peer.lacking_since = peer.restore_cursor, None
        peer.generation, peer.own_generation, peer.sent_seq = "", "", 0
    server.last_contact_at = clock.now()
    if peer.protocol != SyncProtocol.V5:
        # The cursors of another protocol say nothing of a restore over this one.
        peer.restore_until = peer.restore_cursor
    peer.protocol, peer.app_name, peer.app_version = (
        SyncProtocol.V5,
        caller.app_name,
        caller.app_version,
    )
    _note_restored(session, site)
    peer.refusal, peer.refusal_values = "", None
    if peer.lacking_since is not None:
        peer.refusal = "sent_to_lost_past"
        peer.refusal_values = {"since": peer.lacking_since.isoformat(timespec="minutes")}
    return site


def _note_restored(session: Session, site: Site) -> None:
    """Note what may be missing here if this server was restored since the site last called.

    A satellite of ours initialises then, and pushes it again. Another site does not know.
    """
    server, peer = site.server, site.peer
    present = session.get_one(ChangeSequence, 1, populate_existing=True).generation
    if peer.generation not in ("", present) and not site.is_ours and peer.lacking_since is None:
        peer.lacking_since = server.last_success_at
    peer.generation = present


def cut_off(session: Session, site: Site) -> None:
    """End the open run of the site as cut off: it starts a new cycle."""
    run = open_run(session, site.server.sync_id)
    if run is not None:
        run.ended_at, run.result = clock.now(), RunResult.CUT_OFF


def note_pushed(session: Session, site: Site, outcome: Outcome, left: int) -> None:
    """Count the records that the site pushed; ``left`` more wait there."""
    count = len(outcome.taken) + len(outcome.refused)
    if count:
        run = _run(session, site)
        run.step = RunStep.PUSHING
        run.pushed += count
        run.set_aside += len(outcome.refused)
        run.to_push = run.pushed + left


def note_pulled(session: Session, site: Site, step: RunStep, count: int, left: int = 0) -> None:
    """Count ``count`` records that the site pulled in ``step``; ``left`` more wait for it."""
    if count:
        run = _run(session, site)
        run.step = step
        run.pulled += count
        run.to_pull = run.pulled + left


def note_end(session: Session, site: Site) -> None:
    """Record a success of the site, and end its open run well if there is one."""
    site.server.last_success_at = clock.now()
    run = open_run(session, site.server.sync_id)
    if run is not None:
        run.ended_at, run.result = clock.now(), RunResult.WELL


def count_bytes(session: Session, site: Site, bytes_up: int, bytes_down: int) -> None:
    """Add the bytes of a call's bodies to the open run, if there is one."""
    run = open_run(session, site.server.sync_id)
    if run is not None:
        run.bytes_up += bytes_up
        run.bytes_down += bytes_down


def _check_version(caller: Caller) -> None:
    text = caller.version
    version = int(text) if text.isascii() and text.isdigit() and len(text) <= _VERSION_DIGITS else 0
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


def _run(session: Session, site: Site) -> Run:
    sync_id = site.server.sync_id
    return open_run(session, sync_id) or begin_run(session, sync_id, SyncProtocol.V5)
