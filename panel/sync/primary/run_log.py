"""A primary's log of its satellites' exchanges: contacts, successes, runs and refusals."""

import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, bindparam, case, select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log as activity
from panel.activity.log import Actor, EventKind
from panel.db import Database, is_disk_full
from panel.models.people import Activity
from panel.models.runs import Peer, Run, RunResult, RunStep, SiteInitialisation
from panel.models.settings import Server, SyncProtocol
from panel.sync.primary.admission import UnknownSite, find_peer
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import Answer, Mode, Request, Stream

log = logging.getLogger(__name__)

# Refusals that are a step of the protocol, or that nobody has to act on: they are not recorded.
_SILENT = {
    "identity_wanted",
    "part_ended",
    "device_token_ended",
    "bad_request",
    "sync_paused",
    "too_many_tries",
    # What comes of it is the satellite's next request; and a late repeat is to change nothing.
    "history_differs",
}
_NEWS_AGAIN_AFTER = timedelta(hours=1)
# Another writer holds the lock for too long, or every connection is in use.
_BUSY = (OperationalError, NoConnection)


@dataclass(frozen=True)
class Exchanged:
    """A request and its answer, and the bytes of their bodies on the wire."""

    request: Request
    answer: Answer
    bytes_up: int
    bytes_down: int

    @property
    def is_last(self) -> bool:
        """Say whether nothing is left to move on either side."""
        return self.answer.more is None and not self.request.waiting


def note_exchange(session: Session, server: Server, peer: Peer, exchanged: Exchanged) -> None:
    """Record an exchange that went well, in its transaction."""
    now, request = clock.now(), exchanged.request
    server.last_contact_at = now
    if exchanged.answer.wanted:
        # A record is on its way in parts: nothing moved yet.
        return
    peer.waiting_there, peer.protocol = request.waiting, SyncProtocol.OWN
    peer.refusal, peer.refusal_values = "", None
    _note_cursors(peer, request)
    if request.clock_seconds is not None:
        peer.clock_seconds = request.clock_seconds or None
    if exchanged.is_last:
        server.last_success_at = now
        peer.initialisation = SiteInitialisation.COMPLETED
        peer.initialising_at = None
    _note_run(session, server, exchanged)


class Contacts:
    """The contacts of satellites in step, remembered by this process and written together.

    They are nearly all that a primary hears, and a write for each would cost more than the rest of
    it. A process that is killed loses those of :data:`_LONGEST_SECONDS`, and no data. Several
    processes write their own; the latest of a row counts.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        # By the id of the row.
        self._noted: dict[int, datetime] = {}
        self._timer: threading.Timer | None = None
        database.memories.append(self.write_soon)

    def note(self, server_id: int) -> None:
        """Remember that a satellite in step called just now, and was told that it is."""
        with self._lock:
            self._noted[server_id] = clock.now()
            if self._timer is None:
                # At random, since several processes would else wait for each other.
                seconds = random.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS)  # noqa: S311
                self._timer = threading.Timer(seconds, self._write)
                self._timer.daemon = True
                self._timer.start()

    def write_soon(self, patience_seconds: float) -> None:
        """Write what is remembered now; do not wait for longer than ``patience_seconds``."""
        if self._noted:
            # By a thread of its own, which goes on where the database is busy.
            writer = threading.Thread(target=self._write, name="contacts", daemon=True)
            writer.start()
            writer.join(patience_seconds)

    def _write(self) -> None:
        noted = self._take()
        try:
            with self._database.writing() as session:
                # In the order of ids, as other processes do: they would wait for each other else.
                rows = [{"row_id": one, "at": noted[one]} for one in sorted(noted)]
                session.connection().execute(_CONTACT, rows)
        except SQLAlchemyError as error:
            log.warning("The last contacts of satellites are written later: %s", error)
            self._take_back(noted)

    def _take(self) -> dict[int, datetime]:
        with self._lock:
            noted, self._noted = self._noted, {}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        return noted

    def _take_back(self, noted: dict[int, datetime]) -> None:
        with self._lock:
            # The next contact of any satellite starts the clock again.
            self._noted = {**noted, **self._noted}


_SHORTEST_SECONDS, _LONGEST_SECONDS = 5.0, 10.0
_server, _at = Server.__table__.c, bindparam("at", type_=Server.last_contact_at.type)


def _latest(column: ColumnElement[datetime]) -> ColumnElement[datetime]:
    return case((column > _at, column), else_=_at)


_CONTACT = (
    update(Server)
    .where(_server.id == bindparam("row_id"))
    .values(
        last_contact_at=_latest(_server.last_contact_at),
        last_success_at=_latest(_server.last_success_at),
    )
)


@contextmanager
def refusals_noted(database: Database, address: str) -> Iterator[None]:
    """Record the SyncRefusal that the block raises, for a call from ``address``.

    If the database is busy for too long, in the block or while the refusal is recorded, raise the
    refusal ``site_auth_timeout``; if its disk is full, ``disk_full``.
    """
    try:
        try:
            yield
        except SyncRefusal as refusal:
            _note_refusal(database, refusal, address)
            raise
    except _BUSY as error:
        log.warning("The database did not answer a call from %s: %s", address, error)
        raise SyncRefusal("disk_full" if is_disk_full(error) else "site_auth_timeout") from error


def begin_run(session: Session, sync_id: int, protocol: str) -> Run:
    """Add and return a new run of a satellite, with all counts 0."""
    run = Run(other=sync_id, started_at=clock.now(), protocol=protocol)
    # Column defaults come with the INSERT, and the counts are raised before it.
    run.pushed = run.pulled = run.to_push = run.to_pull = run.set_aside = 0
    run.bytes_up = run.bytes_down = 0
    session.add(run)
    return run


def open_run(session: Session, sync_id: int) -> Run | None:
    """Return the run of a satellite that has not ended, None if there is none."""
    query = select(Run).where(Run.other == sync_id, Run.ended_at.is_(None))
    return session.scalar(query.order_by(Run.id.desc()).limit(1))


def _note_cursors(peer: Peer, request: Request) -> None:
    if request.mode is Mode.BEGIN:
        return
    central = request.cursors.get(Stream.CENTRAL, 0)
    addressed = request.cursors.get(Stream.ADDRESSED, 0)
    if request.mode is Mode.NORMAL:
        # A late repeat has lower ones.
        central = max(central, peer.central_cursor)
        addressed = max(addressed, peer.addressed_cursor)
    peer.central_cursor, peer.addressed_cursor = central, addressed
    peer.restore_cursor = request.cursors.get(Stream.RESTORE, 0)


def _note_run(session: Session, server: Server, exchanged: Exchanged) -> None:
    """Record the exchange in its run; a run that moves nothing is not kept."""
    request, answer = exchanged.request, exchanged.answer
    run = open_run(session, server.sync_id)
    if run is not None and request.start:
        run.ended_at, run.result = clock.now(), RunResult.CUT_OFF
        run = None
    delivered = sum(map(len, answer.records.values()))
    if run is None:
        if not request.records and not delivered:
            return
        run = begin_run(session, server.sync_id, SyncProtocol.OWN)
    run.step = RunStep.PUSHING if request.waiting else RunStep.PULLING_CENTRAL
    # Counted as the satellite does: it pushes and pulls.
    run.pushed += len(request.records)
    run.to_push = run.pushed + request.waiting
    run.pulled += delivered
    run.to_pull = max(run.to_pull, answer.to_pull, run.pulled)
    run.set_aside += len(answer.refused)
    run.bytes_up += exchanged.bytes_up
    run.bytes_down += exchanged.bytes_down
    if exchanged.is_last:
        run.ended_at, run.result = clock.now(), RunResult.WELL


def _note_refusal(database: Database, refusal: SyncRefusal, address: str) -> None:
    # In a transaction of its own: the block's is rolled back.
    if refusal.code in _SILENT or refusal.is_trial:
        return
    with database.writing() as session:
        if isinstance(refusal, UnknownSite):
            refusal.record_applicant(session)
        elif refusal.server_id is not None:
            _note_on_row(session, refusal, refusal.server_id, address)
        elif not _is_in_activity_lately(session, refusal, address):
            activity.add_entry(
                session,
                Actor("", address, "sync"),
                EventKind.SYNC_REFUSED,
                became={"code": refusal.code},
            )


def _is_in_activity_lately(session: Session, refusal: SyncRefusal, address: str) -> bool:
    """Say whether Activity has this refusal of ``address`` from the last hour already."""
    rows = select(Activity.became).where(Activity.what == EventKind.SYNC_REFUSED)
    rows = rows.where(Activity.at > clock.now() - _NEWS_AGAIN_AFTER, Activity.address == address)
    return {"code": refusal.code} in session.scalars(rows.where(Activity.subject_id.is_(None)))


def _note_on_row(session: Session, refusal: SyncRefusal, server_id: int, address: str) -> None:
    server = session.get_one(Server, server_id, with_for_update=True)
    peer = find_peer(session, server)
    server.last_contact_at = clock.now()
    values = refusal.values or None
    if refusal.code == "two_machines":
        peer.is_shared = True
    if (peer.refusal, peer.refusal_values) == (refusal.code, values):
        return
    peer.refusal, peer.refusal_values = refusal.code, values
    if _is_in_runs_lately(session, server, refusal.code):
        return
    now = clock.now()
    session.add(
        Run(
            other=server.sync_id,
            started_at=now,
            ended_at=now,
            result=RunResult.REFUSED,
            reason=refusal.code,
            reason_values=values,
        )
    )
    activity.add_entry(
        session,
        Actor("", address, "sync"),
        EventKind.SYNC_REFUSED,
        subject="server",
        subject_id=server.id,
        label=server.label,
        became={"code": refusal.code},
    )


def _is_in_runs_lately(session: Session, server: Server, code: str) -> bool:
    """Say whether the runs have this refusal of ``server`` from the last hour already."""
    runs = select(Run.id).where(Run.other == server.sync_id, Run.reason == code)
    runs = runs.where(
        Run.result == RunResult.REFUSED, Run.started_at > clock.now() - _NEWS_AGAIN_AFTER
    )
    return session.scalar(runs.limit(1)) is not None
