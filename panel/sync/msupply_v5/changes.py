"""Changes as v5 tells of them, without owner or version, made into items that have both."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from panel.sync.msupply_v5.codec import Change
from panel.sync.protocol.batch_codec import Item
from panel.sync.store.apply import Outcome, pushed_by
from panel.sync.store.quarantine import take_or_set_aside
from panel.sync.store.records import Present, find_records
from panel.sync.store.sequence import lock_clock
from panel.sync.store.write_checks import Key


def take_changes(
    session: Session, source: int, owner: int, changes: Sequence[Change], spare_waiting: bool
) -> Outcome:
    """Take ``changes`` that came from server ``source``, in order, as records of ``owner``.

    What cannot be taken is set aside. ``spare_waiting`` leaves alone what was written here and is
    still to be pushed: without versions nobody can say which is newer, and this one is the only
    copy.
    """
    # Locked before it is read what is there, since versions are counted on from that.
    clock = lock_clock(session)
    arrived = [(change.key, change.data) for change in changes]
    found = find_records(session, arrived)
    spared = {key for key, record in found.items() if spare_waiting and record.waiting}
    wanted = [change for change in changes if change.key not in spared]
    items = _items(wanted, dict(found), owner)
    # What is written here later shall have a higher version than what is taken now.
    clock.seq = max([clock.seq, *(item.version for item in items if spare_waiting)])
    return take_or_set_aside(session, source, items, pushed_by(owner))


def _items(changes: Sequence[Change], newest: dict[Key, Present], owner: int) -> list[Item]:
    """Give each change a version; what changes nothing is left out.

    The order in which they come is the order in which they were written: each is newer than the
    last.
    """
    items = []
    for change in changes:
        key = change.key
        present = newest.get(key)
        if present is None and change.data is None:
            continue
        if present is not None and present.owner == owner and present.data == change.data:
            continue
        to = present.to if present is not None and present.owner == owner else None
        version = present.version + 1 if present is not None else 1
        items.append(Item(0, *key, owner, to, version, change.data))
        newest[key] = Present(owner, to, version, change.data)
    return items
