"""Records set aside: they could not be taken, with the reason; shown, retried, never in the way."""

from collections.abc import Sequence
from enum import Enum
from itertools import accumulate

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.actor import Actor
from panel.activity.log import What
from panel.errors import NotFound
from panel.i18n import say
from panel.models.base import Settings
from panel.models.sync import Record, SetAside
from panel.sync.protocol.batch_codec import Item
from panel.sync.store.apply import Outcome, Problem, Rule, pulled_by, pushed_by, take
from panel.sync.store.change_feed import LARGEST_BATCH_BYTES
from panel.sync.store.sequence import lock_clock
from panel.sync.store.write_checks import Key

# A record that did not fit so often waits for a person, or for its next version.
MOST_TRIES = 20
_AT_ONCE = 200
# Nothing of it could be kept, so there is nothing to try again.
UNREADABLE = "unreadable"


class Tried(Enum):
    """What came of trying a record again."""

    TAKEN = "taken"
    REFUSED = "refused"
    # One of our own, that the primary has to take.
    QUEUED = "queued"


def take_or_set_aside(session: Session, source: int, items: Sequence[Item], rule: Rule) -> Outcome:
    """Take ``items`` that came from server ``source``; set aside those that cannot be taken.

    A record that fits by now, or that the owner made fit, is no longer set aside.
    """
    outcome = take(session, items, rule)
    forget(session, source, outcome.taken + outcome.known)
    for item, problem in outcome.refused:
        set_aside(session, source, item, problem)
    return outcome


def set_aside(session: Session, source: int, item: Item, problem: Problem) -> None:
    """Keep ``item`` and why it could not be taken; a newer version takes the place of an older."""
    query = select(SetAside).where(SetAside.source == source)
    query = query.where(SetAside.table_name == item.table, SetAside.record_id == item.record_id)
    row = session.scalar(query)
    if row is not None and row.version > item.version and problem.reason != UNREADABLE:
        return
    now = clock.now()
    if row is None:
        row = SetAside(source=source, table_name=item.table, record_id=item.record_id, first_at=now)
        row.tries = 0
        session.add(row)
    row.tries = row.tries + 1 if row.version == item.version else 1
    row.owner, row.to, row.version = item.owner, item.to, item.version
    row.deleted = item.data is None and problem.reason != UNREADABLE
    row.data = item.data
    row.reason, row.reason_values, row.last_at = problem.reason, dict(problem.values), now
    session.flush()


def note_unreadable(session: Session, source: int, key: Key, what: str) -> tuple[Item, Problem]:
    """Note that server ``source`` sent a record of which nothing can be kept, and return the note.

    Whatever version of it can be read takes its place.
    """
    item, problem = Item(0, *key, source, None, 0, None), Problem(UNREADABLE, {"what": what})
    set_aside(session, source, item, problem)
    return item, problem


def retry(session: Session, source: int, rule: Rule) -> int:
    """Try again what came from ``source``, oldest first, a bounded number; return how many fit."""
    query = select(SetAside).where(SetAside.source == source, SetAside.left_out_at.is_(None))
    query = query.where(SetAside.tries < MOST_TRIES, SetAside.reason != UNREADABLE)
    query = query.order_by(SetAside.last_at, SetAside.id).limit(_AT_ONCE)
    length = func.coalesce(func.length(SetAside.data), 0)
    lengths = session.scalars(query.with_only_columns(length)).all()
    if not lengths:
        return 0
    fitting = sum(total <= LARGEST_BATCH_BYTES for total in accumulate(lengths))
    rows = session.scalars(query.limit(max(fitting, 1))).all()
    items = [_item(row) for row in rows]
    return len(take_or_set_aside(session, source, items, rule).taken)


def try_again(session: Session, actor: Actor, aside_id: int) -> Tried:
    """Try one record at once, as often as asked, and return what came of it. Raise NotFound."""
    # The clock before the row, as every run locks them: else each could wait for the other.
    lock_clock(session)
    row = _row(session, aside_id)
    _record(session, actor, What.SET_ASIDE_RETRIED, row)
    row.left_out_at = None
    settings = session.get_one(Settings, 1)
    own_sync_id = settings.sync_id or 0
    if row.source == own_sync_id:
        return _send_again(session, row)
    if row.reason == UNREADABLE:
        return Tried.REFUSED
    rule = pushed_by(row.source) if settings.is_primary else pulled_by(own_sync_id)
    refused = take_or_set_aside(session, row.source, [_item(row)], rule).refused
    return Tried.REFUSED if refused else Tried.TAKEN


def leave_out(session: Session, actor: Actor, aside_id: int) -> None:
    """Stop trying one record; it stays in the list. Raise NotFound."""
    row = _row(session, aside_id)
    if row.left_out_at is None:
        row.left_out_at = clock.now()
        _record(session, actor, What.SET_ASIDE_LEFT_OUT, row)


def _send_again(session: Session, row: SetAside) -> Tried:
    """A record of our own goes up with the next push; once the primary took it, the note goes."""
    session.execute(
        update(Record)
        .where(Record.table_name == row.table_name, Record.record_id == row.record_id)
        .where(Record.owner == row.owner)
        .values(waiting=True)
    )
    return Tried.QUEUED


def forget(session: Session, source: int, items: Sequence[Item]) -> None:
    """No longer keep aside what came from ``source`` and is in its place by now."""
    if not items or session.scalar(select(SetAside.id).where(SetAside.source == source)) is None:
        return
    for item in items:
        session.execute(
            delete(SetAside)
            .where(SetAside.source == source, SetAside.version <= item.version)
            .where(SetAside.table_name == item.table, SetAside.record_id == item.record_id)
        )


def _item(row: SetAside) -> Item:
    return Item(0, row.table_name, row.record_id, row.owner, row.to, row.version, row.data)


def _row(session: Session, aside_id: int) -> SetAside:
    row = session.get(SetAside, aside_id)
    if row is None:
        raise NotFound(say("This record is no longer set aside."))
    return row


def _record(session: Session, actor: Actor, what: What, row: SetAside) -> None:
    label = f"{row.table_name}/{row.record_id}"
    log.record(session, actor, what, subject="record", subject_id=row.id, label=label)
