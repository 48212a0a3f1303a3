"""The quarantine of received records that could not be applied, with their reasons and retries."""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate

from sqlalchemy import ColumnElement, delete, exists, func, select, update
from sqlalchemy.orm import Session

from panel import clock
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Key, Quarantined, Record
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.error_codes import TOO_LARGE
from panel.sync.store.apply import Outcome, Problem, Rule, apply_items
from panel.sync.store.change_feed import LARGEST_BATCH_BYTES

# A record that was refused this often waits for a person, or for its next version.
MOST_TRIES = 20
_AT_ONCE = 200
# The reason of a record of which no data could be stored, so that it cannot be retried.
UNREADABLE = "unreadable"
# Contents that gave way to what another past wrote, or that the primary does not have any more.
# They are kept for a while, for a person to put back, under a source of their own: no server sent
# them, so nothing that one sends replaces or releases them.
REPLACED, REMOVED = "replaced", "removed"
KEPT_SOURCE = 0


def apply_or_quarantine(
    session: Session, source: int, items: Sequence[Item], rule: Rule
) -> Outcome:
    """Apply ``items`` that server ``source`` sent; quarantine those that cannot be applied.

    A record that could be applied leaves the quarantine. Return the outcome.
    """
    outcome = apply_items(session, items, rule, from_primary=source == PRIMARY_SYNC_ID)
    release(session, source, outcome.taken + outcome.known)
    for item, problem in outcome.refused:
        quarantine(session, source, item, problem)
    for item in outcome.replaced:
        keep_aside(session, item, REPLACED)
    return outcome


def keep_aside(session: Session, item: Item, reason: str) -> None:
    """Keep the content of ``item``, which gave way; a tombstone has none."""
    if item.data is not None:
        quarantine(session, KEPT_SOURCE, item, Problem(reason, {}))


def quarantine(session: Session, source: int, item: Item, problem: Problem) -> None:
    """Store ``item`` with the reason; a newer version replaces an older one."""
    query = select(Quarantined).where(Quarantined.source == source)
    query = query.where(
        Quarantined.table_name == item.table, Quarantined.record_id == item.record_id
    )
    row = session.scalar(query)
    # Of contents kept aside the last one counts; their versions are of different pasts.
    is_compared = source != KEPT_SOURCE and problem.reason != UNREADABLE
    if row is not None and row.version > item.version and is_compared:
        return
    now = clock.now()
    if row is None:
        row = Quarantined(
            source=source, table_name=item.table, record_id=item.record_id, first_at=now
        )
        row.tries = 0
        session.add(row)
    row.tries = row.tries + 1 if row.version == item.version else 1
    row.owner, row.to, row.version = item.owner, item.to, item.version
    row.deleted = item.data is None and problem.reason != UNREADABLE
    row.data = item.data
    row.reason, row.reason_values, row.last_at = problem.reason, dict(problem.values), now
    session.flush()


def hold_back(session: Session, own_sync_id: int, item: Item) -> bool:
    """Note that a record of this server is too large for the line; say whether that is news."""
    quarantine(session, own_sync_id, item, Problem(TOO_LARGE, {}))
    query = select(Quarantined.tries).where(Quarantined.source == own_sync_id)
    query = query.where(
        Quarantined.table_name == item.table, Quarantined.record_id == item.record_id
    )
    return session.scalar(query) == 1


def holds_back(session: Session, own_sync_id: int) -> bool:
    """Say whether a record of this server is too large for the line."""
    query = select(Quarantined.id).where(
        Quarantined.source == own_sync_id, Quarantined.reason == TOO_LARGE
    )
    return session.scalar(query.limit(1)) is not None


def held_back(own_sync_id: int, before: datetime | None = None) -> ColumnElement[bool]:
    """Return the condition of the records of this server that are too large for the line.

    With ``before``, of those only that were tried before that, and that nobody left out.
    """
    condition = exists().where(
        Quarantined.source == own_sync_id,
        Quarantined.reason == TOO_LARGE,
        Quarantined.table_name == Record.table_name,
        Quarantined.record_id == Record.record_id,
        Quarantined.version == Record.version,
    )
    if before is None:
        return condition
    return condition.where(Quarantined.last_at < before, Quarantined.left_out_at.is_(None))


def note_unreadable(session: Session, source: int, key: Key, what: str) -> tuple[Item, Problem]:
    """Quarantine the name of a record that server ``source`` sent and that cannot be stored.

    ``what`` is the problem. Its version is 0, so that the next readable one replaces it. Return
    the item and the problem.
    """
    item, problem = Item(0, *key, source, None, 0, None), Problem(UNREADABLE, {"what": what})
    quarantine(session, source, item, problem)
    return item, problem


def retry_quarantined(session: Session, source: int, rule: Rule) -> int:
    """Apply again a bounded number of the records that ``source`` sent; return how many were taken.

    Those whose last try was the longest ago come first.
    """
    query = select(Quarantined).where(
        Quarantined.source == source, Quarantined.left_out_at.is_(None)
    )
    query = query.where(Quarantined.tries < MOST_TRIES, Quarantined.reason != UNREADABLE)
    query = query.order_by(Quarantined.last_at, Quarantined.id).limit(_AT_ONCE)
    length = func.coalesce(func.length(Quarantined.data), 0)
    lengths = session.scalars(query.with_only_columns(length)).all()
    if not lengths:
        return 0
    fitting = sum(total <= LARGEST_BATCH_BYTES for total in accumulate(lengths))
    rows = session.scalars(query.limit(max(fitting, 1))).all()
    items = [item_of(row) for row in rows]
    return len(apply_or_quarantine(session, source, items, rule).taken)


def release(session: Session, source: int, items: Sequence[Item]) -> None:
    """Delete from the quarantine the ``items`` that server ``source`` sent and that are applied."""
    if (
        not items
        or session.scalar(select(Quarantined.id).where(Quarantined.source == source)) is None
    ):
        return
    for item in items:
        session.execute(
            delete(Quarantined)
            .where(Quarantined.source == source, Quarantined.version <= item.version)
            .where(Quarantined.table_name == item.table, Quarantined.record_id == item.record_id)
        )


def expect_again(session: Session, source: int) -> None:
    """Let whatever ``source`` sends now replace what it sent before, older versions too."""
    session.execute(update(Quarantined).where(Quarantined.source == source).values(version=0))


def release_missing(session: Session, source: int) -> None:
    """Delete from the quarantine what ``source`` did not send again since :func:`expect_again`."""
    missing = Quarantined.source == source, Quarantined.version == 0
    session.execute(delete(Quarantined).where(*missing, Quarantined.reason != UNREADABLE))


def item_of(row: Quarantined) -> Item:
    """Return the record of a row as it was received, without its position."""
    return Item(0, row.table_name, row.record_id, row.owner, row.to, row.version, row.data)
