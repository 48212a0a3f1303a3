"""The satellite's handling of an answer: stored in one transaction, then applied by stream."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from panel import clock
from panel.db import Database
from panel.models.records import Generation, HistoryReason
from panel.models.runs import Link, Run, RunStep
from panel.models.settings import SyncProtocol
from panel.security.vault import Vault
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.column_codec import HIGHEST_TOLD_COUNT
from panel.sync.protocol.error_codes import TOO_LARGE
from panel.sync.protocol.messages import Answer, Mode, Request, Stream
from panel.sync.satellite.push import Sent, note_pushed
from panel.sync.satellite.schedule import count_bytes
from panel.sync.satellite.sync_settings import keep_token
from panel.sync.store import inbox, quarantine
from panel.sync.store.apply import Problem, pulled_by
from panel.sync.store.sequence import CERTAIN, begin_generation, lock_sequence
from panel.sync.transport.batch_size import (
    Meter,
    batch_size,
    doubled,
    grown,
    halved,
    measure,
    measure_broken,
    measure_bytes,
)
from panel.sync.transport.http import LinkFault

# A smaller difference between the clocks of two servers is not reported.
CLOCK_TOLERANCE_SECONDS = 120
_STEPS = {
    Stream.RESTORE: RunStep.INITIALISING,
    Stream.CENTRAL: RunStep.PULLING_CENTRAL,
    Stream.ADDRESSED: RunStep.PULLING_ADDRESSED,
}


@dataclass(frozen=True)
class Received:
    """An answer, with the seconds that the exchange took and the bytes of its two bodies.

    ``clock_ahead_seconds`` is how far this server's clock is ahead of the primary's; None if that
    is not known.
    """

    answer: Answer
    seconds: float
    bytes_up: int
    bytes_down: int
    meter: Meter
    clock_ahead_seconds: int | None = None


def store_answer(session: Session, run: Run, vault: Vault, sent: Sent, received: Received) -> None:
    """Store the answer to ``sent``: checkpoint, token, cursors, records, counts, batch times.

    The caller has checked it (:func:`check_answer`) and commits.
    """
    answer, link = received.answer, session.get_one(Link, 1)
    if answer.token:
        keep_token(link, vault, answer.token)
    # This primary took the token, or has just given one.
    link.token_withheld = False
    if answer.wanted:
        # Nothing was stored there: the primary first wants the record that the request names.
        count_bytes(run, received.meter)
        return
    if answer.rolled:
        link.checkpoint = sent.request.next_checkpoint
        if sent.request.own:
            link.own_generation = sent.request.own[0]
    if answer.begun:
        link.checkpoint, link.generation = answer.begun, answer.generation
        _continue_above(session, answer.highest)
    if sent.request.learn:
        link.generation = answer.generation
    link.next_checkpoint = ""
    # Cursors of v5 mean nothing to our own protocol.
    link.protocol, link.site_uuid = SyncProtocol.OWN, ""
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
    """Raise LinkFault if ``answer`` does not belong to ``request``, as one from a cache.

    Otherwise records could be taken for stored although the primary never got them.
    """
    is_begun = request.mode is not Mode.BEGIN or bool(answer.begun)
    is_rolled = answer.rolled == bool(request.next_checkpoint)
    # Keys in doubt are answered after the streams, and after a record that comes in parts.
    is_put_off = answer.more is not None or answer.large is not None
    is_answered = bool(answer.answered) or is_put_off or not request.doubts
    is_asked = answer.answered <= len(request.doubts)
    if answer.wanted:
        is_good = request.large is not None and answer.have < request.large.size
    else:
        is_good = is_begun and is_rolled and is_answered and is_asked and _goes_on(request, answer)
    if not is_good:
        raise LinkFault("not_a_sync_server")


def _goes_on(request: Request, answer: Answer) -> bool:
    """Say whether a satellite that asks again comes to an end: nothing bounds a run but that."""
    before = [request.cursors.get(stream, 0) for stream in Stream]
    after = [answer.cursors.get(stream, 0) for stream in Stream] if answer.cursors else before
    if any(new < old for new, old in zip(after, before, strict=True)):
        return False
    large = answer.large
    if large is not None and large.stream is not None and not request.doubts:
        return large.position > request.cursors.get(large.stream, 0)
    return answer.more is None or bool(request.records or answer.begun) or after != before


def _continue_above(session: Session, highest: int) -> None:
    """Continue above the highest own number that the primary knows, as far as that is plausible.

    The primary knows more than this server if it was restored from a backup, or is a copy.
    """
    highest = min(highest, HIGHEST_TOLD_COUNT)
    sequence, link = lock_sequence(session), session.get_one(Link, 1)
    if sequence.seq < highest:
        reason = session.get_one(Generation, sequence.generation).reason
        is_told = link.own_generation in ("", sequence.generation)
        # Where a restore was noticed, or said by hand, the former generation goes on nowhere else.
        is_certain = reason in CERTAIN and not is_told
        begin_generation(session, reason if is_certain else HistoryReason.CLONE, highest)


def _store_found(session: Session, link: Link, sent: Sent, answer: Answer) -> int:
    """Store the records in doubt that the primary has; return how many are new here."""
    if not answer.answered:
        return 0
    link.doubt_key = list(sent.request.doubts[answer.answered - 1])
    streams: dict[Stream, list[Item]] = {}
    for item in answer.found:
        streams.setdefault(inbox.stream_of(item, sent.settings.sync_id), []).append(item)
    return sum(inbox.receive(session, stream, items) for stream, items in streams.items())


def note_fault(session: Session, request: Request, fault: LinkFault) -> None:
    """Halve the next batch after a message was cut off, timed out, or was refused as too large.

    If the answer had begun to arrive, it was too large. Otherwise the request or the answer may
    have been.
    """
    is_refused = fault.code == TOO_LARGE
    if not is_refused and fault.code not in ("cut_off", "timed_out"):
        return
    link = session.get_one(Link, 1)
    if fault.bytes_down:
        link.largest_down = halved(link.largest_down, fault.bytes_down)
    elif request.records:
        link.largest_up = halved(link.largest_up, fault.bytes_up, is_refused=is_refused)
        if not fault.is_piece:
            before = link.seconds_per_record_up
            link.seconds_per_record_up = measure_broken(before, len(request.records))
    if request.limit and not is_refused and not fault.is_piece:
        link.seconds_per_record_down = measure_broken(link.seconds_per_record_down)


def hold_back(session: Session, run: Run, sent: Sent) -> None:
    """Note that the one record of ``sent`` is too large for the line, so that others go first."""
    run.set_aside += quarantine.hold_back(session, sent.settings.sync_id, sent.request.records[0])


def recover_sizes(session: Session) -> None:
    """Double the most bytes that a message may have, after a run that ended well."""
    link = session.get_one(Link, 1)
    link.largest_up, link.largest_down = doubled(link.largest_up), doubled(link.largest_down)


def complete_streams(database: Database, answer: Answer) -> list[Stream]:
    """Return the streams that ``answer`` completes and that have records to apply."""
    streams = [Stream.CENTRAL, Stream.ADDRESSED]
    if answer.more is not None:
        streams = streams[: streams.index(answer.more)]
    with database.reading() as session:
        return [stream for stream in streams if not inbox.is_empty(session, stream)]


def apply_stream(session: Session, stream: Stream, own_sync_id: int) -> int:
    """Apply the received records of a complete stream; return how many were quarantined."""
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
            problem = Problem(refused.reason, refused.values)
            quarantine.quarantine(session, own_sync_id, item, problem)
    quarantine.release(session, own_sync_id, list(items.values()))


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
    """Note how long records take, from exchanges with records in one direction only.

    Note also how large a message the line has carried, in each direction.
    """
    up, down = len(sent.request.records), sum(map(len, received.answer.records.values()))
    carrying_seconds = max(received.seconds - received.meter.round_trip_seconds, 0.0)
    if not down:
        before = link.seconds_per_record_up
        allowed = batch_size(sent.settings.request_size, before)
        link.seconds_per_record_up = measure(before, allowed, up, carrying_seconds)
        link.seconds_per_byte_up = measure_bytes(
            link.seconds_per_byte_up, received.bytes_up, carrying_seconds
        )
    if not up:
        before = link.seconds_per_record_down
        allowed = sent.request.limit
        link.seconds_per_record_down = measure(before, allowed, down, carrying_seconds)
    if up:
        # A record that was sent in parts has been carried too.
        link.largest_up = grown(link.largest_up, max(received.bytes_up, len(sent.content)))
    if down:
        link.largest_down = grown(link.largest_down, received.bytes_down)
