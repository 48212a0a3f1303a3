"""The satellite's side: one run, exchange by exchange, each stored as a whole before the next.

What a run reached is in the database after every batch (cursors, inbox, points, counters), so that
one that was cut off, in whatever way, goes on where it was; PROTOCOL.md has the states.
"""

from collections.abc import Callable

from sqlalchemy.orm import Session

from panel.models.base import PRIMARY_SYNC_ID
from panel.models.sync import Link, Run
from panel.sync.msupply_v5.probe import find_protocol
from panel.sync.msupply_v5.satellite import V5Run
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import Answer, Mode
from panel.sync.satellite import initialise, pull, push
from panel.sync.satellite.progress import Finish, Guard, Progress
from panel.sync.satellite.pull import Received
from panel.sync.satellite.push import Sent
from panel.sync.satellite.sync_settings import Orders, Site, read_orders
from panel.sync.store import change_feed
from panel.sync.store.apply import pulled_by
from panel.sync.store.quarantine import retry
from panel.sync.transport import exchange_client
from panel.sync.transport.http import LinkFault, Target, Transport
from panel.sync.transport.link_meter import Meter

OpenLine = Callable[[Target], Transport]


class SatelliteRun:
    """One run, from the first exchange to the last, over one connection."""

    def __init__(self, site: Site, open_line: OpenLine, guard: Guard) -> None:
        self._site = site
        self._open_line = open_line
        self._progress = Progress(site.database, guard)
        self._line: Transport | None = None
        self._target: Target | None = None

    def begin(self, session: Session) -> None:
        """Write down that this run goes on from here, in the transaction of who starts it."""
        self._progress.begin(session)

    def run(self) -> Run:
        """Synchronise until nothing is left to move, and return what became of it.

        Raises only what the guard raises: every other end is a result of the run.
        """
        try:
            if self._protocol() == "v5":
                finish = V5Run(self._site, self._line_to, self._progress).run()
            else:
                finish = self._go_on()
        except SyncRefusal as refusal:
            finish = Finish("refused", refusal.code, refusal.values)
        except LinkFault as fault:
            finish = Finish("failed", fault.code, fault.values)
            if fault.code == "not_a_sync_server":
                self._forget_protocol()
        finally:
            if self._line is not None:
                self._line.close()
        return self._progress.end(finish, self._line.meter if self._line else Meter())

    def _protocol(self) -> str:
        """Return "own" or "v5": what the preferences say, or else what the primary answers to."""
        with self._site.database.reading() as session:
            orders, link = read_orders(session, self._site), session.get_one(Link, 1)
        if orders.protocol != "ask" or orders.interval_minutes == 0:
            return orders.protocol
        if link.protocol:
            return link.protocol
        protocol = find_protocol(self._line_to(orders.target), orders)
        with self._progress.step() as (session, _):
            session.get_one(Link, 1).protocol = protocol
        return protocol

    def _go_on(self) -> Finish:
        first = True
        while True:
            with self._site.database.reading() as session:
                orders = read_orders(session, self._site)
            if orders.interval_minutes == 0:
                return Finish("paused")
            line = self._line_to(orders.target)
            sent = self._prepare(orders, first)
            try:
                answer, response = exchange_client.exchange(
                    line, orders.pair, orders.token, orders.about, sent.request
                )
            except LinkFault as fault:
                with self._progress.step() as (session, _):
                    pull.note_fault(session, sent.request, fault)
                raise
            received = Received(answer, response.seconds, line.meter)
            with self._progress.step() as (session, run):
                pull.store(session, run, self._site.vault, sent, received)
            self._apply(sent, answer)
            if self._is_done(sent, answer):
                return Finish("well")
            first = False

    def _forget_protocol(self) -> None:
        """Another server may stand there by now: the next run asks again."""
        with self._progress.step() as (session, _):
            session.get_one(Link, 1).protocol = ""

    def _line_to(self, target: Target) -> Transport:
        """Return the line of this run; another one if the preferences lead elsewhere by now."""
        if self._line is None or target != self._target:
            if self._line is not None:
                self._line.close()
            self._line, self._target = self._open_line(target), target
        return self._line

    def _prepare(self, orders: Orders, first: bool) -> Sent:
        with self._progress.step() as (session, run):
            link = session.get_one(Link, 1)
            if link.initialise == "done" and not link.point:
                # All that is here came over v5.
                raise SyncRefusal("initialise_needed")
            if link.initialise == "needed":
                initialise.begin(session, orders.sync_id)
            if first:
                retry(session, PRIMARY_SYNC_ID, pulled_by(orders.sync_id))
            return push.prepare(session, run, orders, first)

    def _apply(self, sent: Sent, answer: Answer) -> None:
        """Apply the streams that are complete by now, each in a transaction of its own."""
        own_sync_id = sent.orders.sync_id
        if sent.request.mode is not Mode.NORMAL:
            if answer.more is None:
                with self._progress.step() as (session, run):
                    run.set_aside += initialise.finish(session, own_sync_id)
            return
        for stream in pull.complete(self._site.database, answer):
            with self._progress.step() as (session, run):
                run.step = "applying"
                run.set_aside += pull.apply(session, stream, own_sync_id)

    def _is_done(self, sent: Sent, answer: Answer) -> bool:
        if answer.more is not None or sent.request.waiting:
            return False
        if sent.request.mode is Mode.NORMAL:
            return True
        with self._site.database.reading() as session:
            # What the initialise kept back goes up now.
            return not change_feed.count_waiting(session)
