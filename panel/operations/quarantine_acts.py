"""A person's acts on quarantined records: retry them, or leave them out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import NotFound
from panel.i18n import say
from panel.models.records import Quarantined, Record
from panel.models.settings import Settings
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.json_reader import load_json
from panel.sync.store.apply import Verdict, apply_items, pulled_by, pushed_by
from panel.sync.store.change_feed import LARGEST_BATCH_BYTES
from panel.sync.store.quarantine import KEPT_SOURCE, UNREADABLE, apply_or_quarantine, item_of
from panel.sync.store.records import StoredRecord, Write, server_lookup, write_records
from panel.sync.store.sequence import lock_sequence

# Of records that are decided on together: other writers wait meanwhile.
MOST_AT_ONCE = 200


class RetryResult(Enum):
    """What a retry of a record led to."""

    TAKEN = "taken"
    REFUSED = "refused"
    # A record of this server: the next push sends it again.
    QUEUED = "queued"


def retry_record(session: Session, actor: Actor, quarantined_id: int) -> RetryResult:
    """Apply one quarantined record again, however often it was tried, and return the result.

    Raise NotFound if it is no longer quarantined.
    """
    # The sequence before the row, in the order of every run: another order could deadlock.
    lock_sequence(session)
    row = _row(session, quarantined_id)
    _record(session, actor, EventKind.SET_ASIDE_RETRIED, row)
    row.left_out_at = None
    settings = session.get_one(Settings, 1)
    own_sync_id = settings.sync_id or 0
    if row.source == KEPT_SOURCE:
        return _put_back(session, own_sync_id, row)
    if row.source == own_sync_id:
        return _send_again(session, row)
    if row.reason == UNREADABLE:
        return RetryResult.REFUSED
    if settings.is_primary:
        rule = pushed_by(row.source, server_lookup(session))
    else:
        rule = pulled_by(own_sync_id)
    refused = apply_or_quarantine(session, row.source, [item_of(row)], rule).refused
    return RetryResult.REFUSED if refused else RetryResult.TAKEN


def retry_many(session: Session, actor: Actor, ids: Sequence[int]) -> Counter[RetryResult]:
    """Retry these records in their order, and return how many came to each result.

    At most :data:`MOST_AT_ONCE` are, and as many bytes as a batch has; who is gone is left out.
    """
    lock_sequence(session)
    results = Counter[RetryResult]()
    for quarantined_id in _fitting(session, ids):
        results[retry_record(session, actor, quarantined_id)] += 1
    return results


def leave_out_many(session: Session, actor: Actor, ids: Sequence[int]) -> int:
    """Stop retrying these records, at most :data:`MOST_AT_ONCE`; return how many there are."""
    here = _sizes(session, ids)
    for quarantined_id in here:
        leave_out(session, actor, quarantined_id)
    return len(here)


def find_of_reason(session: Session, reason: str, source: int | None = None) -> Sequence[int]:
    """Return the ids of the records that were refused for ``reason`` and wait for a decision.

    The longest known come first, at most :data:`MOST_AT_ONCE`; ``source`` is who sent them.
    """
    query = select(Quarantined.id).where(
        Quarantined.reason == reason, Quarantined.left_out_at.is_(None)
    )
    if source is not None:
        query = query.where(Quarantined.source == source)
    return session.scalars(
        query.order_by(Quarantined.last_at, Quarantined.id).limit(MOST_AT_ONCE)
    ).all()


def _sizes(session: Session, ids: Sequence[int]) -> dict[int, int]:
    """Return the length of the data of each of these records that is quarantined still."""
    length = func.coalesce(func.length(Quarantined.data), 0).label("length")
    wanted = list(ids)[:MOST_AT_ONCE]
    query = select(Quarantined.id, length).where(Quarantined.id.in_(wanted))
    sizes = {row.id: row.length for row in session.execute(query)}
    return {one: sizes[one] for one in wanted if one in sizes}


def _fitting(session: Session, ids: Sequence[int]) -> Iterator[int]:
    """Yield the first of these records, as many as a batch takes and at least one."""
    total = 0
    for quarantined_id, size in _sizes(session, ids).items():
        total += size
        if total > LARGEST_BATCH_BYTES and total != size:
            return
        yield quarantined_id


def leave_out(session: Session, actor: Actor, quarantined_id: int) -> None:
    """Stop retrying one record, which stays in the list.

    Raise NotFound if it is no longer quarantined.
    """
    row = _row(session, quarantined_id)
    if row.left_out_at is None:
        row.left_out_at = clock.now()
        _record(session, actor, EventKind.SET_ASIDE_LEFT_OUT, row)


def _put_back(session: Session, own_sync_id: int, row: Quarantined) -> RetryResult:
    """Put back a content that was kept aside: as a change of our own record, or of another's.

    Of another's only if the primary has sent none since.
    """
    item = item_of(row)
    if item.owner == own_sync_id and item.data is not None:
        write_records(session, own_sync_id, [Write(*item.key, load_json(item.data), item.to)])
    elif not apply_items(session, [item], _if_free).taken:
        return RetryResult.REFUSED
    session.delete(row)
    return RetryResult.TAKEN


def _if_free(_item: Item, stored: StoredRecord | None) -> Verdict:
    return Verdict.TAKE if stored is None or stored.data is None else Verdict.KEEP


def _send_again(session: Session, row: Quarantined) -> RetryResult:
    """Let the next push send a record of this server; its answer releases the quarantine."""
    session.execute(
        update(Record)
        .where(Record.table_name == row.table_name, Record.record_id == row.record_id)
        .where(Record.owner == row.owner)
        .values(waiting=True)
    )
    return RetryResult.QUEUED


def _row(session: Session, quarantined_id: int) -> Quarantined:
    row = session.get(Quarantined, quarantined_id)
    if row is None:
        raise NotFound(say("This record is no longer set aside."))
    return row


def _record(session: Session, actor: Actor, what: EventKind, row: Quarantined) -> None:
    label = f"{row.table_name}/{row.record_id}"
    log.add_entry(session, actor, what, subject="record", subject_id=row.id, label=label)
