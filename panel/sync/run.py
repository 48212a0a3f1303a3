"""One run of a satellite, in the protocol that its primary speaks.

This is the only module that knows every protocol; each has the steps of a run in its own room.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.orm import Session

from panel.installation import Installation
from panel.models.runs import Link, Run, RunResult
from panel.models.settings import SyncProtocol
from panel.sync.msupply_v5.satellite import MSupplyV5
from panel.sync.protocol.error_codes import STATUS, STOPPED_BY_HAND, SyncRefusal
from panel.sync.satellite.exchanges import OwnProtocol
from panel.sync.satellite.schedule import Finish, Guard, Progress
from panel.sync.satellite.sync_settings import SyncSettings, read_sync_settings
from panel.sync.transport.batch_size import Meter
from panel.sync.transport.http import LinkFault, Target, Transport

OpenLine = Callable[[Target], Transport]


class SpokenProtocol(Protocol):
    """A protocol as a satellite speaks it."""

    def check(self, line: Transport, settings: SyncSettings) -> None:
        """Ask the primary whether it admits this satellite; neither side saves anything.

        The password is sent and not the token, since a person typed it and wants it tested. Raise
        SyncRefusal or LinkFault if not.
        """

    def run(self, installation: Installation, line_to: OpenLine, progress: Progress) -> Finish:
        """Synchronise until nothing is left to move, and return how the run ended.

        ``line_to`` returns the connection to a target. Raise SyncRefusal or LinkFault.
        """


PROTOCOLS: dict[SyncProtocol, SpokenProtocol] = {
    SyncProtocol.OWN: OwnProtocol(),
    SyncProtocol.V5: MSupplyV5(),
}
# The code of a server without the address of our own protocol.
_NOT_THERE = "not_a_sync_server"


def check_connection(line: Transport, settings: SyncSettings) -> None:
    """Ask the primary whether it admits this satellite, in the protocol of ``settings``.

    Raise SyncRefusal or LinkFault if not.
    """
    if settings.protocol != SyncProtocol.ASK:
        PROTOCOLS[settings.protocol].check(line, settings)
        return
    try:
        PROTOCOLS[SyncProtocol.OWN].check(line, settings)
    except LinkFault as fault:
        if fault.code != _NOT_THERE:
            raise
        PROTOCOLS[SyncProtocol.V5].check(line, settings)


def find_protocol(line: Transport, settings: SyncSettings) -> SyncProtocol:
    """Return the protocol that the primary speaks, whether or not it admits this satellite.

    If it does not, the run that follows is refused, and the primary records that. Raise LinkFault,
    or SyncRefusal if our own protocol does not have its code.
    """
    try:
        PROTOCOLS[SyncProtocol.OWN].check(line, settings)
    except SyncRefusal as refusal:
        if refusal.code not in STATUS:
            raise
    except LinkFault as fault:
        if fault.code != _NOT_THERE:
            raise
        return SyncProtocol.V5
    return SyncProtocol.OWN


class SatelliteRun:
    """One run, from the first exchange to the last, over one connection.

    Cursors, inbox, checkpoints and counters are stored after every batch, so that the run after one
    that was cut off goes on from there.
    """

    def __init__(self, installation: Installation, open_line: OpenLine, guard: Guard) -> None:
        self._installation = installation
        self._open_line = open_line
        self._progress = Progress(installation.database, guard)
        self._line: Transport | None = None
        self._target: Target | None = None
        self._stopped = threading.Event()

    def begin(self, session: Session) -> None:
        """Record the start of the run, in the caller's transaction."""
        self._progress.begin(session)

    def run(self) -> Run:
        """Synchronise until nothing is left to move, and return the row of the run.

        Refusals and line faults are results of the run. Raise what the guard raises.
        """
        try:
            protocol = PROTOCOLS[self._protocol()]
            finish = protocol.run(self._installation, self._line_to, self._progress)
        except SyncRefusal as refusal:
            finish = Finish(RunResult.REFUSED, refusal.code, refusal.values)
        except LinkFault as fault:
            is_stopped = fault.code == STOPPED_BY_HAND
            result = RunResult.CUT_OFF if is_stopped else RunResult.FAILED
            finish = Finish(result, fault.code, fault.values)
            if fault.code == _NOT_THERE:
                self._forget_protocol()
        finally:
            if self._line is not None:
                self._line.close()
        return self._progress.end(finish, self._line.meter if self._line else Meter())

    def stop(self) -> None:
        """End the run, from another thread: what is on the line is given up."""
        self._stopped.set()
        if self._line is not None:
            self._line.abort()

    def silent_seconds(self) -> float:
        """Return for how long the primary has answered nothing; 0 while nothing is waited for."""
        return self._line.meter.silent_seconds() if self._line is not None else 0.0

    def _protocol(self) -> SyncProtocol:
        """Return the protocol of the preferences or, if they say "ask", of the primary."""
        with self._installation.database.reading() as session:
            settings = read_sync_settings(session, self._installation)
            link = session.get_one(Link, 1)
        if settings.protocol != SyncProtocol.ASK:
            return settings.protocol
        if settings.interval_minutes == 0:
            # Paused: our own protocol ends such a run without a call.
            return SyncProtocol.OWN
        if link.protocol:
            return link.protocol
        protocol = find_protocol(self._line_to(settings.target), settings)
        with self._progress.step() as (session, _):
            session.get_one(Link, 1).protocol = protocol
        return protocol

    def _forget_protocol(self) -> None:
        """Let the next run ask again: another server may be at the address by now."""
        with self._progress.step() as (session, _):
            session.get_one(Link, 1).protocol = SyncProtocol.UNKNOWN

    def _line_to(self, target: Target) -> Transport:
        """Return the connection of this run, a new one if the target changed. Raise LinkFault."""
        if self._line is None or target != self._target:
            if self._line is not None:
                self._line.close()
            self._line, self._target = self._open_line(target), target
        # Last: stop() may not have seen the new line.
        if self._stopped.is_set():
            raise LinkFault(STOPPED_BY_HAND)
        return self._line
