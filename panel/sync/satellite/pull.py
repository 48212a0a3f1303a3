"""The satellite's handling of an answer: stored in one transaction, then applied by stream."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from panel.db import Database
from panel.models.runs import Link, Run, RunStep
from panel.models.settings import SyncProtocol
from panel.security.vault import Vault
from panel.sync.protocol.messages import Answer, Request, Stream
from panel.sync.satellite.progress import count_bytes
from panel.sync.satellite.push import Sent, note_pushed
from panel.sync.store import inbox
from panel.sync.store.apply import Problem, pulled_by
from panel.sync.store.quarantine import quarantine, release
from panel.sync.transport.batch_size import batch_size, measure, measure_broken
from panel.sync.transport.http import LinkFault
from panel.sync.transport.link_meter import Meter

_STEPS = {
    Stream.RESTORE: RunStep.INITIALISING,
    Stream.CENTRAL: RunStep.PULLING_CENTRAL,
    Stream.ADDRESSED: RunStep.PULLING_ADDRESSED,
}


@dataclass(frozen=True)
class Received:
    """An answer, the seconds that the exchange took, and the meter of its link."""

    answer: Answer
    seconds: float
    meter: Meter


def store_answer(session: Session, run: Run, vault: Vault, sent: Sent, received: Received) -> None:
    """Store the answer to ``sent``: checkpoint, token, cursors, records, counts, batch times."""
    answer, link = received.answer, session.get_one(Link, 1)
    if answer.rolled:
        link.checkpoint = sent.request.next_checkpoint
    if answer.begun:
        link.checkpoint = answer.begun
    link.next_checkpoint = ""
    # Cursors of v5 mean nothing to our own protocol.
    link.protocol, link.site_uuid = SyncProtocol.OWN, ""
    if answer.token:
        link.device_token_sealed = vault.seal(answer.token)
    if answer.cursors:
        link.central_cursor = answer.cursors.get(Stream.CENTRAL, 0)
        link.addressed_cursor = answer.cursors.get(Stream.ADDRESSED, 0)
        link.restore_cursor = answer.cursors.get(Stream.RESTORE, 0)
    _store_pushed(session, sent, answer)
    pulled = sum(inbox.receive(session, s, items) for s, items in answer.records.items())
    _count(run, sent.request, received, pulled)
    _measure(link, sent, received)


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
