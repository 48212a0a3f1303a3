"""The satellite's handling of an answer: stored in one transaction, then applied by stream."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from panel import clock
from panel.db import Database
from panel.models.records import HistoryReason
from panel.models.runs import Link, Run, RunStep
from panel.models.settings import SyncProtocol
from panel.security.vault import Vault
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.column_codec import HIGHEST_TOLD_COUNT
from panel.sync.protocol.messages import Answer, Mode, Request, Stream
from panel.sync.satellite.progress import count_bytes
from panel.sync.satellite.push import Sent, note_pushed
from panel.sync.store import inbox
from panel.sync.store.apply import Problem, pulled_by
from panel.sync.store.quarantine import quarantine, release
from panel.sync.store.sequence import begin_generation, lock_sequence
from panel.sync.transport.batch_size import batch_size, measure, measure_broken
from panel.sync.transport.http import LinkFault
from panel.sync.transport.link_meter import Meter

# Clocks that differ by less are as good as right.
CLOCK_TOLERANCE_SECONDS = 120
_STEPS = {
    Stream.RESTORE: RunStep.INITIALISING,
    Stream.CENTRAL: RunStep.PULLING_CENTRAL,
    Stream.ADDRESSED: RunStep.PULLING_ADDRESSED,
}


@dataclass(frozen=True)
class Received:
    """An answer, the seconds that the exchange took, the meter of its link, and the clock.

    ``clock_ahead_seconds`` is how far this server's is ahead of the primary's, None if not known.
    """

    answer: Answer
    seconds: float
    meter: Meter
    clock_ahead_seconds: int | None = None


def store_answer(session: Session, run: Run, vault: Vault, sent: Sent, received: Received) -> None:
    """Store the answer to ``sent``: checkpoint, token, cursors, records, counts, batch times."""
    answer, link = received.answer, session.get_one(Link, 1)
    if answer.rolled:
        link.checkpoint = sent.request.next_checkpoint
        if sent.request.own:
            link.own_generation = sent.request.own[0]
    if answer.begun:
        link.checkpoint, link.generation = answer.begun, answer.generation
        _pass(session, answer.highest)
    if sent.request.learn:
        link.generation = answer.generation
    link.next_checkpoint = ""
    # Cursors of v5 mean nothing to our own protocol.
    link.protocol, link.site_uuid = SyncProtocol.OWN, ""
    if answer.token:
        link.device_token_sealed = vault.seal(answer.token)
    if answer.cursors:
        link.central_cursor = answer.cursors.get(Stream.CENTRAL, 0)
        link.addressed_cursor = answer.cursors.get(Stream.ADDRESSED, 0)
        link.restore_cursor = answer.cursors.get(Stream.RESTORE, 0)
    _note_clock(link, sent.request, received.clock_ahead_seconds)
    _store_pushed(session, sent, answer)
    pulled = sum(inbox.receive(session, s, items) for s, items in answer.records.items())
    pulled += _store_found(session, link, sent, answer)
    _count(run, sent.request, received, pulled)
    _measure(link, sent, received)


def check_answer(request: Request, answer: Answer) -> None:
    """Raise LinkFault if ``answer`` is none to ``request``, such as a kept or repeated one.

    Whoever is told nothing of what was sent must not take it for stored.
    """
    is_begun = request.mode is not Mode.BEGIN or bool(answer.begun)
    is_rolled = answer.rolled or not request.next_checkpoint
    is_answered = bool(answer.answered) or not request.doubts
    if not (is_begun and is_rolled and is_answered):
        raise LinkFault("not_a_sync_server")


def _pass(session: Session, highest: int) -> None:
    """Go on from beyond the highest own number that the primary knows, if that can be true."""
    highest = min(highest, HIGHEST_TOLD_COUNT)
    if lock_sequence(session).seq < highest:
        begin_generation(session, HistoryReason.CLONE, highest)


def _store_found(session: Session, link: Link, sent: Sent, answer: Answer) -> int:
    """Store what the primary has of the records that were in doubt."""
    if not sent.request.doubts:
        return 0
    link.doubt_key = list(sent.request.doubts[answer.answered - 1])
    streams: dict[Stream, list[Item]] = {}
    for item in answer.found:
        streams.setdefault(inbox.stream_of(item, sent.settings.sync_id), []).append(item)
    return sum(inbox.receive(session, stream, items) for stream, items in streams.items())


def note_fault(session: Session, request: Request, fault: LinkFault) -> None:
    """Halve the next batch of a request that was cut off or timed out."""
    if fault.code not in ("cut_off", "timed_out"):
        return
    link = session.get_one(Link, 1)
    if request.records:
        link.seconds_per_record_up = measure_broken(link.seconds_per_record_up)
    if request.limit:
        link.seconds_per_record_down = measure_broken(link.seconds_per_record_down)


def complete_streams(database: Database, answer: Answer) -> list[Stream]:
    """Return the streams that ``answer`` completes and that have records to apply."""
    streams = [Stream.CENTRAL, Stream.ADDRESSED]
    if answer.more is not None:
        streams = streams[: streams.index(answer.more)]
    with database.reading() as session:
        return [stream for stream in streams if not inbox.is_empty(session, stream)]


def apply_stream(session: Session, stream: Stream, own_sync_id: int) -> int:
    """Apply a complete stream, and return how many records were quarantined."""
    refused = inbox.apply_stream(session, stream, pulled_by(own_sync_id))
    inbox.clear_stream(session, stream)
    return refused


def _note_clock(link: Link, request: Request, ahead: int | None) -> None:
    if request.clock_seconds is not None:
        link.clock_told_at = clock.now() if request.clock_seconds else None
    if ahead is not None:
        link.clock_seconds = ahead if abs(ahead) > CLOCK_TOLERANCE_SECONDS else None


def _store_pushed(session: Session, sent: Sent, answer: Answer) -> None:
    """Mark the pushed records, and quarantine those that the primary refused."""
    items = {item.position: item for item in sent.request.records}
    note_pushed(session, list(items), answer.count or None)
    own_sync_id = sent.settings.sync_id
    for refused in answer.refused:
        if item := items.pop(refused.position, None):
            quarantine(session, own_sync_id, item, Problem(refused.reason, refused.values))
    release(session, own_sync_id, list(items.values()))


def _count(run: Run, request: Request, received: Received, pulled: int) -> None:
    answer = received.answer
    run.pushed += len(request.records)
    run.pulled += pulled
    run.to_pull = max(run.to_pull, answer.to_pull, run.pulled)
    run.set_aside += len(answer.refused)
    if answer.more is not None and not request.waiting:
        run.step = _STEPS[answer.more]
    count_bytes(run, received.meter)


def _measure(link: Link, sent: Sent, received: Received) -> None:
    """Measure the seconds per record of exchanges with records in one direction only."""
    up, down = len(sent.request.records), sum(map(len, received.answer.records.values()))
    carrying_seconds = max(received.seconds - received.meter.round_trip_seconds, 0.0)
    if not down:
        before = link.seconds_per_record_up
        allowed = batch_size(sent.settings.request_size, before)
        link.seconds_per_record_up = measure(before, allowed, up, carrying_seconds)
    if not up:
        before = link.seconds_per_record_down
        allowed = sent.request.limit
        link.seconds_per_record_down = measure(before, allowed, down, carrying_seconds)
