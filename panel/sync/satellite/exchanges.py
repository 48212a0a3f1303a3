"""A satellite's run in our own protocol: exchanges, each stored before the next is sent.

The states are in PROTOCOL.md, *States of a satellite*.
"""

from collections.abc import Callable
from dataclasses import replace

from panel import clock
from panel.installation import Installation
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Key
from panel.models.runs import InitialiseState, Link, RunResult, RunStep
from panel.sync.protocol.error_codes import TOO_LARGE, SyncRefusal
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import Answer, Disagreement, Mode
from panel.sync.satellite import initialise, parts, pull, push
from panel.sync.satellite.pull import Received
from panel.sync.satellite.push import Sent
from panel.sync.satellite.schedule import Finish, Progress
from panel.sync.satellite.sync_settings import SyncSettings, read_sync_settings
from panel.sync.store import change_feed
from panel.sync.store.apply import pulled_by
from panel.sync.store.quarantine import retry_quarantined
from panel.sync.transport import exchange_client
from panel.sync.transport.batch_size import SMALLEST_BYTES
from panel.sync.transport.http import LinkFault, Response, Target, Transport

# The primary may be restored while a satellite recovers, though not again and again.
_MOST_RECOVERIES = 3
# In one run: where a proxy refuses everything, it is not the records that are too large.
_MOST_HELD_BACK = 50
# Once is usual; a part is lost there where the primary is restored meanwhile.
_MOST_WANTED = 5


class OwnProtocol:
    """Our own protocol as a satellite speaks it."""

    def check(self, line: Transport, settings: SyncSettings) -> None:
        """Ask the primary whether it admits this satellite. Raise SyncRefusal or LinkFault if not.

        The password is sent first, since a person typed it and wants it tested. The token follows
        if the primary asks for it.
        """
        exchange_client.find_token(line, settings.pair, settings.tokens, settings.identity)

    def run(
        self,
        installation: Installation,
        line_to: Callable[[Target], Transport],
        progress: Progress,
    ) -> Finish:
        """Synchronise until nothing is left to move, and return how the run ended.

        Raise SyncRefusal or LinkFault.
        """
        return _Exchanges(installation, line_to, progress).run()


class _Exchanges:
    def __init__(
        self,
        installation: Installation,
        line_to: Callable[[Target], Transport],
        progress: Progress,
    ) -> None:
        self._installation = installation
        self._line_to = line_to
        self._progress = progress
        # Whether a stream of the initialise is not complete, as far as is known.
        self._more = True
        self._held_back = 0
        # How often in a row the primary wanted the parts of a record.
        self._wanted = 0

    def run(self) -> Finish:
        first, recoveries = True, 0
        while True:
            with self._installation.database.reading() as session:
                settings = read_sync_settings(session, self._installation)
            if settings.interval_minutes == 0:
                return Finish(RunResult.PAUSED)
            sent = self._prepare(settings, first)
            try:
                answer = self._move(sent)
            except SyncRefusal as refusal:
                if refusal.code != "history_differs" or recoveries == _MOST_RECOVERIES:
                    raise
                recoveries += 1
                self._recover(refusal)
                continue
            except LinkFault as fault:
                if not self._goes_on(sent, fault):
                    raise
                continue
            if answer.wanted:
                self._note_wanted()
                continue
            self._wanted = 0
            self._apply(sent, answer)
            if self._is_done(sent, answer):
                self._recover_sizes()
                return Finish(RunResult.WELL)
            first = False

    def _note_wanted(self) -> None:
        """Raise LinkFault where the primary never has all of a record, however often it is sent."""
        self._wanted += 1
        if self._wanted > _MOST_WANTED:
            raise LinkFault("not_a_sync_server")

    def _recover(self, refusal: SyncRefusal) -> None:
        """Start from the last numbers that both sides have in common."""
        try:
            theirs = Disagreement.from_json(refusal.values)
        except BadMessage as error:
            raise LinkFault("not_a_sync_server") from error
        with self._progress.step() as (session, _):
            initialise.begin_from_common(session, theirs)

    def _prepare(self, settings: SyncSettings, first: bool) -> Sent:
        with self._progress.step() as (session, run):
            link = session.get_one(Link, 1)
            if link.initialise == InitialiseState.DONE and not link.checkpoint:
                # What was received came over v5.
                raise SyncRefusal("initialise_needed")
            if link.initialise == InitialiseState.NEEDED:
                initialise.begin(session, initialise.NOTHING)
            elif initialise.has_new_past(session):
                initialise.begin_from_here(session)
            if first:
                retry_quarantined(session, PRIMARY_SYNC_ID, pulled_by(settings.sync_id))
            # Once every stream is complete.
            doubts = [] if self._more else initialise.next_doubts(session, settings.sync_id)
            return push.prepare_request(session, run, settings, first, doubts)

    def _move(self, sent: Sent) -> Answer:
        """Send the request, and in parts what it or its answer only names; return the answer."""
        answer = self._exchange(sent)
        try:
            if answer.wanted:
                parts.send(self._line(sent), self._progress, sent, answer.have)
            if answer.large is not None:
                is_doubt = bool(sent.request.doubts) and answer.more is None
                parts.fetch(self._line(sent), self._progress, sent, answer.large, is_doubt)
        except SyncRefusal as refusal:
            if refusal.code != "device_token_ended":
                raise
            # The next exchange repeats with the password, and brings another token.
        return answer

    def _goes_on(self, sent: Sent, fault: LinkFault) -> bool:
        """Make the next batch smaller after a fault; say whether this run sends it.

        A proxy that takes no more at once is no broken line. A record that is too large for it by
        itself, in parts too, is noted, and the rest goes by it.
        """
        is_refused = fault.code == TOO_LARGE and bool(sent.request.records)
        is_smallest = len(sent.request.records) == 1 and fault.bytes_up <= SMALLEST_BYTES
        with self._progress.step() as (session, run):
            pull.note_fault(session, sent.request, fault)
            if is_refused and is_smallest:
                pull.hold_back(session, run, sent)
                self._held_back += 1
        return is_refused and self._held_back <= _MOST_HELD_BACK

    def _recover_sizes(self) -> None:
        with self._installation.database.reading() as session:
            link = session.get_one(Link, 1)
        if link.largest_up is not None or link.largest_down is not None:
            with self._progress.step() as (session, _):
                pull.recover_sizes(session)

    def _line(self, sent: Sent) -> Transport:
        return self._line_to(sent.settings.target)

    def _exchange(self, sent: Sent) -> Answer:
        """Send the request, and store the answer in one transaction."""
        line = self._line(sent)
        answer, response = self._ask(line, sent)
        pull.check_answer(sent.request, answer)
        ahead = response.clock_ahead_seconds(clock.now())
        sizes = response.bytes_up, len(response.content)
        received = Received(answer, response.seconds, *sizes, line.meter, ahead)
        with self._progress.step() as (session, run):
            pull.store_answer(session, run, self._installation.vault, sent, received)
        return answer

    def _ask(self, line: Transport, sent: Sent) -> tuple[Answer, Response]:
        """Send the request with the token that the primary takes, or with the pair."""
        settings, request = sent.settings, sent.request
        pair, identity, token = settings.pair, settings.identity, settings.token
        if token or not settings.tokens:
            try:
                return exchange_client.exchange(line, pair, token, identity, request)
            except SyncRefusal as refusal:
                if refusal.code != "device_token_ended":
                    raise
        try:
            token = exchange_client.find_token(line, pair, settings.tokens, identity)
        except SyncRefusal as refusal:
            if refusal.code != "device_token_needed":
                raise
            # Sent with the pair all the same: the primary records that it refuses.
            token = ""
        answer, response = exchange_client.exchange(line, pair, token, identity, request)
        return replace(answer, token=answer.token or token), response

    def _apply(self, sent: Sent, answer: Answer) -> None:
        """Apply the streams that are complete now, each in a transaction of its own."""
        own_sync_id = sent.settings.sync_id
        self._more = answer.more is not None
        if sent.request.mode is not Mode.NORMAL:
            if not self._more and not self._doubts(own_sync_id):
                with self._progress.step() as (session, run):
                    run.set_aside += initialise.finish(session, own_sync_id)
            return
        for stream in pull.complete_streams(self._installation.database, answer):
            with self._progress.step() as (session, run):
                run.step = RunStep.APPLYING
                run.set_aside += pull.apply_stream(session, stream, own_sync_id)

    def _doubts(self, own_sync_id: int) -> list[Key]:
        with self._installation.database.reading() as session:
            return initialise.next_doubts(session, own_sync_id)

    def _is_done(self, sent: Sent, answer: Answer) -> bool:
        if answer.more is not None or sent.request.waiting:
            return False
        if sent.request.mode is Mode.NORMAL:
            return True
        with self._installation.database.reading() as session:
            if session.get_one(Link, 1).initialise is not InitialiseState.DONE:
                return False
            # An initialise pushes nothing: what waits is pushed after it.
            return not change_feed.count_waiting(session)
