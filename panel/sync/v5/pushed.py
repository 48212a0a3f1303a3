"""What a v5 site pushes, made into the items that every satellite's records come in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from panel.sync.arrivals import pushed_by
from panel.sync.asides import retry, take_or_set_aside
from panel.sync.batches import Item
from panel.sync.counting import lock_clock
from panel.sync.records import find_records
from panel.sync.v5.wire import Change, read_change
from panel.sync.writes import Key


@dataclass(frozen=True)
class _Newest:
    """What is known of a record: what was here, or the change before in the same batch."""

    owner: int
    to: int | None
    version: int
    data: str | None


def take_batch(session: Session, sync_id: int, values: Sequence[Any]) -> int:
    """Take a batch of records of site ``sync_id``; return how many were taken.

    What cannot be taken is set aside. Raise BadMessage for what is no record at all.
    """
    changes = [read_change(value) for value in values]
    # Locked before it is read what is there, since versions are counted on from that.
    lock_clock(session)
    found = find_records(session, [(change.table, change.record_id) for change in changes])
    newest = {
        key: _Newest(record.owner, record.to, record.version, record.data)
        for key, record in found.items()
    }
    items = _items(changes, newest, sync_id)
    return len(take_or_set_aside(session, sync_id, items, pushed_by(sync_id)).taken)


def try_set_aside(session: Session, sync_id: int) -> None:
    """Try once more what was set aside of this site."""
    retry(session, sync_id, pushed_by(sync_id))


def _items(changes: Sequence[Change], newest: dict[Key, _Newest], sync_id: int) -> list[Item]:
    """Give each change a version, which v5 has none of; what changes nothing is left out.

    The order in which a site sends is the order in which it wrote, so each is newer than the last.
    """
    items = []
    for change in changes:
        key = change.table, change.record_id
        present = newest.get(key)
        if present is None and change.data is None:
            continue
        if present is not None and present.owner == sync_id and present.data == change.data:
            continue
        to = present.to if present is not None and present.owner == sync_id else None
        version = present.version + 1 if present is not None else 1
        items.append(Item(0, *key, sync_id, to, version, change.data))
        newest[key] = _Newest(sync_id, to, version, change.data)
    return items
