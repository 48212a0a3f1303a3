"""The satellite's side of v5: a run against an mSupply central server, in the client's order.

PROTOCOL.md, *As a satellite*, says what is decided here where v5 leaves a choice.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from panel.installation import Installation
from panel.models.runs import InitialiseState, Link, Run, RunResult, RunStep
from panel.models.settings import SyncProtocol
from panel.sync.msupply_v5 import received
from panel.sync.msupply_v5.client import Central, Queued, SiteIdentity
from panel.sync.msupply_v5.codec import change_of
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import MOST_WAITING
from panel.sync.satellite.push import note_pushed
from panel.sync.satellite.schedule import Finish, Progress, count_bytes
from panel.sync.satellite.sync_settings import SyncSettings, read_sync_settings
from panel.sync.store import change_feed
from panel.sync.transport.http import LinkFault, Target, Transport

# The batches of Open mSupply; a smaller request size in the preferences is used instead.
PULL_RECORDS, PUSH_RECORDS = 500, 1_024
POLL_SECONDS, LONGEST_POLL_SECONDS = 1.0, 600.0
# How often the queue may begin with what was acknowledged just now.
_MOST_REPEATS = 5


class _Paused(Exception):
    """During the run the interval was set to 0, or the settings of the connection changed."""


class MSupplyV5:
    """mSupply Sync v5 as a satellite speaks it."""

    def check(self, line: Transport, settings: SyncSettings) -> None:
        """Ask the central server whether it admits this site. Raise SyncRefusal or LinkFault."""
        with _faults_named():
            _check_site(Central(line, settings).try_site(), settings)

    def run(
        self,
        installation: Installation,
        line_to: Callable[[Target], Transport],
        progress: Progress,
    ) -> Finish:
        """Synchronise until nothing is left to move, and return how the run ended.

        Raise SyncRefusal or LinkFault.
        """
        return _V5Run(installation, line_to, progress).run()


class _V5Run:
    """One run, each answer stored before the next call, over the connection of ``line_to``."""

    def __init__(
        self, installation: Installation, line_to: Callable[[Target], Transport], progress: Progress
    ) -> None:
        self._installation = installation
        self._line_to = line_to
        self._progress = progress
        # Of the settings that the central server was called with first; "" before that.
        self._settings_digest = ""
        # What was acknowledged last, and how often it came again.
        self._acknowledged: list[str] = []
        self._repeats = 0

    def run(self) -> Finish:
        """Synchronise until nothing is left to move. Raise SyncRefusal or LinkFault."""
        try:
            with _faults_named():
                is_restored = self._identify_central()
                if self._initialises():
                    self._request_queue()
                    self._pull()
                    self._apply(received.finish_initialise)
                elif is_restored:
                    # What was sent before comes back first: what waits here may be older.
                    self._pull()
                    self._apply(received.apply_received)
                self._push()
                self._pull()
                self._apply(received.apply_received)
        except _Paused:
            return Finish(RunResult.PAUSED)
        return Finish(RunResult.WELL)

    def _identify_central(self) -> bool:
        """Ask who this site is; return whether what it lost is to be pulled before the push."""
        central, sync_settings = self._central()
        with self._installation.database.reading() as session:
            state, is_half_received = (
                received.read_state(session),
                received.is_half_received(session),
            )
        site = central.site(state)
        with self._step() as (session, run):
            run.protocol = SyncProtocol.V5
            link = session.get_one(Link, 1)
            _check_site(site, sync_settings)
            received.note_other_history(link, site.uuid, is_restored=site.is_restored)
            is_known = link.initialise == InitialiseState.NEEDED
            if not is_known and not received.is_same_site(link, site.uuid):
                raise SyncRefusal("initialise_needed")
            if link.initialise != InitialiseState.NEEDED and not received.came_from_central(link):
                raise SyncRefusal("initialise_needed")
            link.site_uuid, link.protocol = site.uuid, SyncProtocol.V5
        self._settings_digest = sync_settings.digest()
        return site.is_restored or is_half_received

    def _initialises(self) -> bool:
        with self._step() as (session, run):
            if session.get_one(Link, 1).initialise == InitialiseState.DONE:
                return False
            run.step = RunStep.INITIALISING
            received.begin_initialise(session)
            return True

    def _request_queue(self) -> None:
        with self._installation.database.reading() as session:
            is_requested = received.is_queue_requested(session)
        if not is_requested:
            length = self._call_initialise()
            with self._step() as (session, run):
                received.note_queue_requested(session)
                run.to_pull += length
        self._wait_until_idle()

    def _call_initialise(self) -> int:
        try:
            return self._central()[0].initialise()
        except LinkFault as fault:
            # A central server may take longer than the time-out. If it is idle, it did not get the
            # call or has finished it, and the next run calls again.
            if fault.code not in ("timed_out", "cut_off") or self._central()[0].is_idle():
                raise
            return 0

    def _push(self) -> None:
        while True:
            central, sync_settings = self._central()
            with self._installation.database.reading() as session:
                left = change_feed.count_waiting(session)
                records = change_feed.waiting(session, _size(sync_settings, PUSH_RECORDS)).records
            if records:
                with self._step() as (session, _):
                    received.note_sent(session, max(record.seq for record in records))
            changes = [{"syncOutId": str(r.seq), **change_of(r)} for r in records]
            began = central.push(left, changes)
            with self._step() as (session, run):
                run.step = RunStep.PUSHING
                run.pushed += len(records)
                run.to_push = max(run.to_push, run.pushed + left - len(records))
                note_pushed(session, [record.seq for record in records])
            if not records:
                # The empty batch ends the push, and starts the integration.
                if not began:
                    raise LinkFault("integration_not_started")
                return self._wait_until_idle()

    def _wait_until_idle(self) -> None:
        until = time.monotonic() + LONGEST_POLL_SECONDS
        while not self._central()[0].is_idle():
            if time.monotonic() > until:
                raise LinkFault("central_busy")
            time.sleep(POLL_SECONDS)

    def _pull(self) -> None:
        while self._pull_central():
            pass
        while self._pull_queued():
            pass

    def _pull_central(self) -> bool:
        central, sync_settings = self._central()
        with self._installation.database.reading() as session:
            cursor = session.get_one(Link, 1).central_cursor
        page = central.central_records(cursor, _size(sync_settings, PULL_RECORDS))
        with self._step() as (session, run):
            received.keep_central(session, cursor, page)
            run.set_aside += received.note_unusable(session, page)
            _count_pulled(run, RunStep.PULLING_CENTRAL, page, page.length - cursor)
        return bool(page.marks)

    def _pull_queued(self) -> bool:
        central, sync_settings = self._central()
        page = central.queued_records(_size(sync_settings, PULL_RECORDS))
        self._check_repeats(page)
        with self._step() as (session, run):
            received.keep_queued(session, page)
            run.set_aside += received.note_unusable(session, page)
            _count_pulled(run, RunStep.PULLING_ADDRESSED, page, page.length)
        if page.marks:
            # After the commit: an acknowledged record is not sent again.
            central.acknowledge(page.marks)
            self._acknowledged = page.marks
        return bool(page.marks)

    def _check_repeats(self, page: Queued) -> None:
        """Raise LinkFault where the central server queues for ever what was acknowledged."""
        is_repeated = bool(page.marks) and page.marks == self._acknowledged
        self._repeats = self._repeats + 1 if is_repeated else 0
        if self._repeats > _MOST_REPEATS:
            raise LinkFault("not_a_sync_server")

    def _apply(self, apply: Callable[[Session, int], int]) -> None:
        with self._installation.database.reading() as session:
            own_sync_id = read_sync_settings(session, self._installation).sync_id
        with self._step() as (session, run):
            run.step = RunStep.APPLYING
            run.set_aside += apply(session, own_sync_id)

    def _central(self) -> tuple[Central, SyncSettings]:
        """Return the central server and the settings that the preferences give now.

        Raise :class:`_Paused` if they changed during the run.
        """
        with self._installation.database.reading() as session:
            sync_settings = read_sync_settings(session, self._installation)
        # The next run, which is due at once, begins with the other server's site.
        is_changed = self._settings_digest not in ("", sync_settings.digest())
        if sync_settings.interval_minutes == 0 or is_changed:
            raise _Paused
        self._line = self._line_to(sync_settings.target)
        return Central(self._line, sync_settings), sync_settings

    @contextmanager
    def _step(self) -> Iterator[tuple[Session, Run]]:
        with self._progress.step() as (session, run):
            count_bytes(run, self._line.meter)
            yield session, run


def _size(sync_settings: SyncSettings, usual: int) -> int:
    return min(sync_settings.request_size or usual, usual)


def _count_pulled(run: Run, step: RunStep, page: Queued, left: int) -> None:
    run.step = step
    run.to_pull = max(run.to_pull, run.pulled + min(left, MOST_WAITING))
    run.pulled += len(page.marks)
    run.to_pull = max(run.to_pull, run.pulled)


def _check_site(site: SiteIdentity, settings: SyncSettings) -> None:
    """Raise SyncRefusal if the central server takes us for another site, or is another server."""
    if site.sync_id != settings.sync_id:
        raise SyncRefusal(
            "identity_differs", differences=[["sync_id", site.sync_id, settings.sync_id]]
        )


@contextmanager
def _faults_named() -> Iterator[None]:
    """Turn the BadMessage of an answer that is not v5's into a LinkFault."""
    try:
        yield
    except BadMessage as error:
        raise LinkFault("not_a_sync_server") from error
