"""Records as mSupply Sync v5 writes them on the wire (PROTOCOL.md, *v5*)."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from panel.models.records import RECORD_ID_LENGTH, TABLE_NAME_LENGTH, Key, Record
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.json_reader import DEEPEST, BadMessage, JsonObject, is_plain, is_too_deep
from panel.sync.store.apply import Outcome, pushed_by
from panel.sync.store.quarantine import apply_or_quarantine
from panel.sync.store.records import StoredRecord, find_records
from panel.sync.store.sequence import lock_sequence

# The records are opaque here, so an older client whose calls are the same is welcome; a newer one
# may expect answers that this version does not know.
OLDEST_VERSION, NEWEST_VERSION = 1, 14
MOST_RECORDS = 5_000
MARK_LENGTH = 100

ACTIONS = ("insert", "update", "delete", "merge")


@dataclass(frozen=True)
class Change:
    """One record as v5 tells of it; ``data`` None deletes. ``mark`` names it in its queue."""

    mark: str
    table: str
    record_id: str
    data: str | None

    @property
    def key(self) -> Key:
        """Return what tells the record from every other."""
        return self.table, self.record_id


class Unusable(BadMessage):
    """A change that says which record it is of, and that no server could keep as it is."""

    def __init__(self, table: str, record_id: str, what: str) -> None:
        super().__init__(what)
        # As far as they can be shown.
        self.key = _shown(table, TABLE_NAME_LENGTH), _shown(record_id, RECORD_ID_LENGTH)


def to_bytes(value: Any) -> bytes:
    """Return ``value`` as a JSON body."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def read_object(body: bytes) -> JsonObject:
    """Return the JSON object that ``body`` is. Raise :class:`BadMessage`."""
    try:
        return JsonObject(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise BadMessage("not JSON in UTF-8") from error


def read_change(value: Any) -> Change:
    """Return what one entry of ``data`` tells. Raise :class:`BadMessage`, or :class:`Unusable`.

    A merge deletes the record that went into another; which one that was stays behind.
    """
    fields = JsonObject(value)
    action = fields.text("action", 20).lower()
    if action not in ACTIONS:
        raise BadMessage(f"action: not one of {', '.join(ACTIONS)}")
    table, record_id = fields.get("tableName"), fields.get("recordId")
    if not isinstance(table, str) or not isinstance(record_id, str):
        raise BadMessage("a change without tableName or recordId")
    try:
        return _change(fields, action)
    except BadMessage as error:
        raise Unusable(table, record_id, str(error)) from error


def read_changes(
    entries: Sequence[Any], largest_bytes: float = math.inf
) -> tuple[list[Change], list[Unusable]]:
    """Return the changes that ``entries`` tell, and what of them no record here can be.

    Of one record only the last counts for the second. Raise :class:`BadMessage`.
    """
    changes: list[Change] = []
    unusable: dict[Key, Unusable] = {}
    for entry in entries:
        try:
            change = read_change(entry)
            if len((change.data or "").encode()) > largest_bytes:
                raise Unusable(*change.key, f"recordData: larger than {largest_bytes} bytes")
        except Unusable as error:
            unusable[error.key] = error
        else:
            unusable.pop(change.key, None)
            changes.append(change)
    return changes, list(unusable.values())


def change_of(record: Record) -> dict[str, Any]:
    """Return a record as v5 tells of it, still without the name of its place in a queue."""
    change = {"tableName": record.table_name, "recordId": record.record_id}
    if record.data is None:
        return {**change, "action": "delete"}
    # Whether the other side has it already, neither side needs to know: both mean "as it is now".
    return {**change, "action": "update", "recordData": json.loads(record.data)}


def _change(fields: JsonObject, action: str) -> Change:
    data = fields.get("recordData")
    record_id = _name(fields, "recordId", RECORD_ID_LENGTH)
    if action == "merge":
        record_id = _name(JsonObject(data), "mergeIdToDelete", RECORD_ID_LENGTH)
    return Change(
        mark=read_mark(fields),
        table=_name(fields, "tableName", TABLE_NAME_LENGTH),
        record_id=record_id,
        data=_data(data) if action in ("insert", "update") else None,
    )


def _name(fields: JsonObject, name: str, longest: int) -> str:
    text = fields.text(name, longest)
    if not text:
        raise BadMessage(f"{name}: empty")
    return text


def _shown(text: str, longest: int) -> str:
    return "".join(one if is_plain(one) else "?" for one in text[:longest])


def _data(data: Any) -> str:
    if not isinstance(data, dict):
        raise BadMessage("recordData: not a JSON object")
    if is_too_deep(data):
        raise BadMessage(f"recordData: deeper than {DEEPEST} levels")
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except ValueError as error:
        raise BadMessage("recordData: NaN or half a character in it") from error
    return text


def read_mark(fields: JsonObject) -> str:
    """Return what names an entry of ``data`` in its queue. Raise :class:`BadMessage`."""
    # Central data has a number, ID; what is queued for a site has a text, syncOutId.
    if fields.get("syncOutId") is not None:
        return fields.text("syncOutId", MARK_LENGTH)
    return str(fields.whole("ID", 0, 2**63 - 1, default=0))


def take_changes(
    session: Session, source: int, owner: int, changes: Sequence[Change], spare_waiting: bool
) -> Outcome:
    """Take ``changes`` that came from server ``source``, in order, as records of ``owner``.

    What cannot be taken is set aside. ``spare_waiting`` leaves alone what was written here and is
    still to be pushed: without versions nobody can say which is newer, and this one is the only
    copy.
    """
    # Locked before it is read what is there, since versions are counted on from that.
    clock = lock_sequence(session)
    arrived = [(change.key, change.data) for change in changes]
    found = find_records(session, arrived)
    spared = {key for key, record in found.items() if spare_waiting and record.waiting}
    wanted = [change for change in changes if change.key not in spared]
    items = _items(wanted, dict(found), owner)
    # What is written here later shall have a higher version than what is taken now.
    clock.seq = max([clock.seq, *(item.version for item in items if spare_waiting)])
    return apply_or_quarantine(session, source, items, pushed_by(owner))


def _items(changes: Sequence[Change], newest: dict[Key, StoredRecord], owner: int) -> list[Item]:
    """Give each change a version; what changes nothing is left out.

    The order in which they come is the order in which they were written: each is newer than the
    last.
    """
    items = []
    for change in changes:
        key = change.key
        stored = newest.get(key)
        if stored is None and change.data is None:
            continue
        if stored is not None and stored.owner == owner and stored.data == change.data:
            continue
        to = stored.to if stored is not None and stored.owner == owner else None
        version = stored.version + 1 if stored is not None else 1
        items.append(Item(0, *key, owner, to, version, change.data))
        newest[key] = StoredRecord(owner, to, version, change.data)
    return items
