"""The satellite's next request: its waiting records, and the limit and cursors of its pull."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, update
from sqlalchemy.orm import Session

from panel import clock
from panel.models.records import ChangeSequence, Generation, HistoryReason, Key, Record
from panel.models.runs import InitialiseState, Link, Run, RunStep
from panel.sync.protocol.batch_codec import Item, item_of
from panel.sync.protocol.messages import CHECKPOINT_BYTES, Cursors, Mode, Request, Stream
from panel.sync.satellite.sync_settings import SyncSettings
from panel.sync.store import change_feed, parts
from panel.sync.store.quarantine import held_back, holds_back
from panel.sync.store.sequence import lock_sequence
from panel.sync.transport.batch_size import batch_bytes, batch_size

_SEQS_AT_ONCE = 500
_TOLD_AGAIN_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Sent:
    """A request that is ready to be sent, and the settings that it was prepared with."""

    request: Request
    settings: SyncSettings
    # The packed record that the request only names, because it is sent in parts; else empty.
    content: bytes = b""


def prepare_request(
    session: Session,
    run: Run,
    sync_settings: SyncSettings,
    first: bool,
    doubts: list[Key] | None = None,
) -> Sent:
    """Return the next request, and store the checkpoint that it proposes.

    ``first`` marks the first exchange of the run; ``doubts`` are keys to ask the primary about. The
    caller commits before it sends the request.
    """
    link = session.get_one(Link, 1)
    mode = mode_of(link)
    waiting = change_feed.count_waiting(session) if mode is Mode.NORMAL else 0
    batch = _next_batch(session, run, link, sync_settings) if waiting else _Batch()
    records, left = batch.items, batch.left
    if not link.next_checkpoint and (records or mode is Mode.INITIALISE):
        # A stored one belongs to an exchange that got no answer, and which this one repeats. An
        # exchange that sends nothing proposes none, so that repeating it late changes nothing.
        link.next_checkpoint = secrets.token_urlsafe(CHECKPOINT_BYTES)
    if records:
        # Noted before it is sent: an answer that is lost says nothing of what arrived.
        link.sent_seq = max(link.sent_seq, *(item.position for item in records))
    _note_step(run, mode, len(records), waiting)
    return Sent(
        Request(
            identity=sync_settings.identity,
            mode=mode,
            start=first,
            checkpoint=link.checkpoint,
            next_checkpoint=link.next_checkpoint,
            cursors=cursors_of(link),
            waiting=left,
            # Nothing is pulled before the request that has the last records to push.
            limit=0
            if left
            else batch_size(sync_settings.request_size, link.seconds_per_record_down),
            records=records,
            learn=mode is Mode.NORMAL and not link.generation,
            clock_seconds=_clock_to_tell(link) if first else None,
            most_bytes=0 if left else link.largest_down or 0,
            large=parts.name_of(batch.content, records[0]) if batch.content else None,
            **_initialising(session, link, mode, doubts),
        ),
        sync_settings,
        batch.content,
    )


def _initialising(
    session: Session, link: Link, mode: Mode, keys: list[Key] | None
) -> dict[str, Any]:
    """Return the members of a request that only an initialise has."""
    if mode is Mode.NORMAL:
        return {}
    start = {"common": common_of(link), "generation": link.generation}
    if mode is Mode.BEGIN:
        return start
    sequence = session.get_one(ChangeSequence, 1)
    reason = session.get_one(Generation, sequence.generation).reason
    # A copy of this server may go on in the former generation. The primary has to know that one, to
    # tell the two machines apart.
    before = link.own_generation if reason is HistoryReason.CLONE else ""
    own = sequence.generation, before
    return {**start, "own": own, "doubts": keys or []}


def common_of(link: Link) -> Cursors:
    """Return the cursors up to which both sides had the same when the initialise began."""
    return {Stream.CENTRAL: link.central_common, Stream.ADDRESSED: link.addressed_common}


def _clock_to_tell(link: Link) -> int | None:
    """Return by how many seconds this server's clock is ahead, once a day; else None.

    0 takes back what the primary was told.
    """
    told_at, now = link.clock_told_at, clock.now()
    if link.clock_seconds is None:
        return None if told_at is None else 0
    is_known = told_at is not None and timedelta(0) <= now - told_at < _TOLD_AGAIN_AFTER
    return None if is_known else link.clock_seconds


def note_pushed(session: Session, seqs: Sequence[int], remote_seq: int | None = None) -> None:
    """Note that the records with these ``seqs`` reached the primary.

    A record that has changed since it was sent has another seq, so it still waits. ``remote_seq``
    is a number of the primary's sequence at which it had the records; None if it told none.
    """
    if seqs:
        # Every writer of records locks it first. Otherwise two of them could deadlock.
        lock_sequence(session)
    for start in range(0, len(seqs), _SEQS_AT_ONCE):
        some = seqs[start : start + _SEQS_AT_ONCE]
        session.execute(
            update(Record).where(Record.seq.in_(some)).values(waiting=False, remote_seq=remote_seq),
            execution_options={"synchronize_session": False},
        )


def mode_of(link: Link) -> Mode:
    """Return the mode of the next exchange."""
    if link.initialise == InitialiseState.DONE:
        return Mode.NORMAL
    # The answer to BEGIN brings the checkpoint that the initialise starts from.
    return Mode.INITIALISE if link.checkpoint else Mode.BEGIN


def cursors_of(link: Link) -> Cursors:
    """Return the cursor of each stream; RESTORE has one in an initialise only."""
    cursors = {
        Stream.CENTRAL: link.central_cursor,
        Stream.ADDRESSED: link.addressed_cursor,
    }
    if link.initialise != InitialiseState.DONE:
        cursors[Stream.RESTORE] = link.restore_cursor
    return cursors


@dataclass(frozen=True)
class _Batch:
    items: list[Item] = field(default_factory=list)
    # How many records wait for the next batches.
    left: int = 0
    # The one record, packed, if it is too large for one message; else empty.
    content: bytes = b""


def _next_batch(session: Session, run: Run, link: Link, sync_settings: SyncSettings) -> _Batch:
    """Return the next of the waiting records, as many as the line carries in one batch."""
    size = batch_size(sync_settings.request_size, link.seconds_per_record_up)
    page, left = _waiting_page(session, run, sync_settings.sync_id, size)
    items = [item_of(record) for record in page.records]
    most_bytes = batch_bytes(link.seconds_per_byte_up, link.largest_up)
    if page.size_bytes <= most_bytes:
        most_bytes = 0
    while (count := parts.fitting(items, most_bytes)) < len(items):
        left += len(items) - count
        items = items[:count]
    if len(items) != 1 or not most_bytes or link.largest_up is None:
        return _Batch(items, left)
    content = parts.pack(items)
    return _Batch(items, left, content if len(content) > link.largest_up else b"")


def _waiting_page(
    session: Session, run: Run, own_sync_id: int, size: int
) -> tuple[change_feed.Page, int]:
    """Return a page of waiting records, and how many more this run sends.

    Those that were too large for the line come last, each once in a run and in a batch of its own.
    """
    if not holds_back(session, own_sync_id):
        page = change_feed.waiting(session, size)
        return page, change_feed.count_waiting(session) - len(page.records)
    fit, due = ~held_back(own_sync_id), held_back(own_sync_id, run.started_at)
    page = change_feed.waiting(session, size, fit)
    if not page.records:
        page = change_feed.waiting(session, 1, due)
    left = change_feed.count_waiting(session, or_(fit, due))
    return page, left - len(page.records)


def _note_step(run: Run, mode: Mode, pushing: int, waiting: int) -> None:
    if mode is not Mode.NORMAL:
        run.step = RunStep.INITIALISING
    elif pushing:
        run.step = RunStep.PUSHING
    run.to_push = max(run.to_push, run.pushed + waiting)
