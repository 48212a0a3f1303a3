"""What a person does with a quarantined record: try it again, or leave it out."""

from enum import Enum

from sqlalchemy import update
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.kinds import EventKind
from panel.activity.log import Actor
from panel.errors import NotFound
from panel.i18n import say
from panel.models.records import Quarantined, Record
from panel.models.settings import Settings
from panel.sync.store.apply import pulled_by, pushed_by
from panel.sync.store.quarantine import UNREADABLE, apply_or_quarantine, item_of
from panel.sync.store.sequence import lock_sequence


class Tried(Enum):
    """What came of trying a record again."""

    TAKEN = "taken"
    REFUSED = "refused"
    # One of our own, that the primary has to take.
    QUEUED = "queued"


def try_again(session: Session, actor: Actor, aside_id: int) -> Tried:
    """Try one record at once, as often as asked, and return what came of it. Raise NotFound."""
    # The clock before the row, as every run locks them: else each could wait for the other.
    lock_sequence(session)
    row = _row(session, aside_id)
    _record(session, actor, EventKind.SET_ASIDE_RETRIED, row)
    row.left_out_at = None
    settings = session.get_one(Settings, 1)
    own_sync_id = settings.sync_id or 0
    if row.source == own_sync_id:
        return _send_again(session, row)
    if row.reason == UNREADABLE:
        return Tried.REFUSED
    rule = pushed_by(row.source) if settings.is_primary else pulled_by(own_sync_id)
    refused = apply_or_quarantine(session, row.source, [item_of(row)], rule).refused
    return Tried.REFUSED if refused else Tried.TAKEN


def leave_out(session: Session, actor: Actor, aside_id: int) -> None:
    """Stop trying one record; it stays in the list. Raise NotFound."""
    row = _row(session, aside_id)
    if row.left_out_at is None:
        row.left_out_at = clock.now()
        _record(session, actor, EventKind.SET_ASIDE_LEFT_OUT, row)


def _send_again(session: Session, row: Quarantined) -> Tried:
    """A record of our own goes up with the next push; once the primary took it, the note goes."""
    session.execute(
        update(Record)
        .where(Record.table_name == row.table_name, Record.record_id == row.record_id)
        .where(Record.owner == row.owner)
        .values(waiting=True)
    )
    return Tried.QUEUED


def _row(session: Session, aside_id: int) -> Quarantined:
    row = session.get(Quarantined, aside_id)
    if row is None:
        raise NotFound(say("This record is no longer set aside."))
    return row


def _record(session: Session, actor: Actor, what: EventKind, row: Quarantined) -> None:
    label = f"{row.table_name}/{row.record_id}"
    log.add_entry(session, actor, what, subject="record", subject_id=row.id, label=label)
