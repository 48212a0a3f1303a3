"""The encoding of records in mSupply Sync v5 (PROTOCOL.md, *mSupply Sync v5*).

A central server of mSupply is a typed database: a date, a time or an empty number comes back in
another form than it went up in, and a site cannot read the form in which it pushed. ``FORMATS`` has
a conversion for each such field; every other table and field goes back unchanged.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from sqlalchemy.orm import Session

from panel.errors import Refusal
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import RECORD_ID_LENGTH, TABLE_NAME_LENGTH, Key, Record
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.body_codec import decode_json_text
from panel.sync.protocol.column_codec import HIGHEST_TOLD_COUNT
from panel.sync.protocol.json_reader import (
    DEEPEST,
    BadMessage,
    JsonObject,
    dump_json,
    is_plain,
    is_too_deep,
    load_json,
)
from panel.sync.store.apply import Outcome, pulled_by, pushed_by
from panel.sync.store.quarantine import apply_or_quarantine
from panel.sync.store.records import StoredRecord, find_records
from panel.sync.store.sequence import lock_sequence

# The header in which our satellite tells how far it is (:class:`SatelliteState`).
STATE_HEADER = "sync-panel-state"
# In its place: our satellite tests its connection, and nothing is to be written for it.
TRIAL = "test"
# Between the id of a site of ours and the generation of its primary.
ID_SEPARATOR = ":"
# The version that our satellite says it speaks: an older central server may refuse a higher one.
SPOKEN_VERSION = 14
MOST_RECORDS = 5_000
_HIGHEST_OWNER = 2**31 - 1
MARK_LENGTH = 100
_STATE = re.compile(r"(\d{1,18}) (\d{1,18}) (\d{1,18}) ([\w-]{0,12})", re.ASCII)

ACTIONS = ("insert", "update", "delete", "merge")


@dataclass(frozen=True)
class Change:
    """An entry of v5's ``data``: a put or, with ``data`` None, a delete.

    ``mark`` is its ``syncOutId`` or ``ID``. ``owner`` is the other server that owns it; only a
    primary of ours tells it, else it is 0.
    """

    mark: str
    table: str
    record_id: str
    data: str | None
    owner: int = 0

    @property
    def key(self) -> Key:
        """Return the table name and the record id, which identify a record."""
        return self.table, self.record_id


@dataclass(frozen=True)
class SatelliteState:
    """How far a satellite of ours is, so that its primary sees that it was restored.

    The highest numbers that it had of central data and of the queue, and that it sent of its own;
    and the generation of its own numbers.
    """

    central: int
    queued: int
    sent: int
    generation: str

    def to_header(self) -> str:
        """Return the text that goes over the wire."""
        return f"{self.central} {self.queued} {self.sent} {self.generation}"


def read_state(header: str) -> SatelliteState | None:
    """Return what a satellite of ours says of itself; None if that is nothing, or not readable."""
    found = _STATE.fullmatch(header)
    return SatelliteState(int(found[1]), int(found[2]), int(found[3]), found[4]) if found else None


class Unusable(BadMessage):
    """A change that names its record, and that cannot be stored as it is."""

    def __init__(self, table: str, record_id: str, what: str) -> None:
        super().__init__(what)
        # Shortened, without control characters, for people to read.
        self.key = _shown(table, TABLE_NAME_LENGTH), _shown(record_id, RECORD_ID_LENGTH)


def to_bytes(value: Any) -> bytes:
    """Return ``value`` as a JSON body in UTF-8."""
    return dump_json(value).encode()


def read_object(body: bytes) -> JsonObject:
    """Return the JSON object of ``body``.

    Raise :class:`BadMessage`, or as :func:`decode_json_text` does.
    """
    try:
        return JsonObject(load_json(decode_json_text(body)))
    except (Refusal, ValueError, RecursionError) as error:
        raise BadMessage("not JSON in UTF-8") from error


def read_change(value: Any) -> Change:
    """Return the change of one entry of ``data``.

    A merge deletes the record ``mergeIdToDelete``. Raise :class:`BadMessage`, or :class:`Unusable`
    if only the record's name can be read.
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
    """Return the changes of ``entries``, and those that cannot be stored.

    A record is in the second list if its last change cannot be stored, or is larger than
    ``largest_bytes``. Raise :class:`BadMessage`.
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
    """Return the entry of ``data`` for a record, without ``syncOutId`` and ``ID``."""
    change = {"tableName": record.table_name, "recordId": record.record_id}
    if record.data is None:
        return {**change, "action": "delete"}
    # "insert" and "update" mean the same to both sides.
    return {**change, "action": "update", "recordData": load_json(record.data)}


def read_mark(fields: JsonObject) -> str:
    """Return the ``syncOutId`` of a queued entry or the ``ID`` of central data, as a text.

    Raise :class:`BadMessage`.
    """
    if fields.get("syncOutId") is not None:
        return fields.text("syncOutId", MARK_LENGTH)
    return str(fields.whole("ID", 0, 2**63 - 1, default=0))


def take_changes(
    session: Session, source: int, owner: int, changes: Sequence[Change], spare_waiting: bool
) -> Outcome:
    """Apply ``changes`` that server ``source`` sent, in order, as records of ``owner``.

    Those that cannot be applied are quarantined. With ``spare_waiting``, records that wait here to
    be pushed are left as they are: v5 has no versions to tell which is newer. Return the outcome.
    """
    # Locked before the stored records are read, since versions continue from theirs.
    sequence = lock_sequence(session)
    arrived = [(change.key, change.data) for change in changes]
    found = find_records(session, arrived)
    spared = {key for key, record in found.items() if spare_waiting and record.waiting}
    wanted = [change for change in changes if change.key not in spared]
    items = _items(wanted, dict(found), owner)
    # Records that are written here later get higher versions than these.
    told = [item.version for item in items if spare_waiting and item.version <= HIGHEST_TOLD_COUNT]
    sequence.seq = max([sequence.seq, *told])
    return apply_or_quarantine(session, source, items, pushed_by(owner))


def take_addressed(session: Session, own_sync_id: int, changes: Sequence[Change]) -> Outcome:
    """Apply ``changes`` of records that other satellites own and addressed to this one.

    Those that cannot be applied are quarantined. Return the outcome.
    """
    lock_sequence(session)
    newest = dict(find_records(session, [(change.key, change.data) for change in changes]))
    items = []
    for change in changes:
        stored = newest.get(change.key)
        if stored is None and change.data is None:
            continue
        version = stored.version + 1 if stored is not None else 1
        items.append(Item(0, *change.key, change.owner, own_sync_id, version, change.data))
        newest[change.key] = StoredRecord(change.owner, own_sync_id, version, change.data)
    return apply_or_quarantine(session, PRIMARY_SYNC_ID, items, pulled_by(own_sync_id))


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
        owner=_owner(fields.get("owner")),
    )


def _owner(told: Any) -> int:
    # A server that means something else by that name is not to be misunderstood.
    return told if type(told) is int and 0 < told <= _HIGHEST_OWNER else 0


def _name(fields: JsonObject, name: str, longest: int) -> str:
    text = fields.text(name, longest)
    if not text:
        raise BadMessage(f"{name}: empty")
    return text


def _shown(text: str, longest: int) -> str:
    return "".join(char if is_plain(char) else "?" for char in text[:longest])


def _data(data: Any) -> str:
    if not isinstance(data, dict):
        raise BadMessage("recordData: not a JSON object")
    if is_too_deep(data):
        raise BadMessage(f"recordData: deeper than {DEEPEST} levels")
    try:
        text = dump_json(data)
        text.encode()
    except ValueError as error:
        raise BadMessage("recordData: NaN or half a character in it") from error
    return text


def _items(changes: Sequence[Change], newest: dict[Key, StoredRecord], owner: int) -> list[Item]:
    """Return the items of ``changes`` with versions; a change without effect is left out.

    A site sends its changes in the order of writing, so each has a higher version than the last.
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


# --- the forms in which a central server hands back --------------------------------------------

# Returns the value in the central server's form; one that it cannot read, as it is.
Conversion = Callable[[Any], Any]

_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})T\d{2}:\d{2}:\d{2}", re.ASCII)
_TIME = re.compile(r"(\d{2}):(\d{2}):(\d{2})", re.ASCII)


def to_date(value: Any) -> Any:
    """``2026-05-18T00:00:00`` → ``2026-05-18``."""
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found and _is_valid(lambda: date.fromisoformat(found[1])) else value


def to_seconds(value: Any) -> Any:
    """``01:02:03`` → ``3723``, the seconds of the day."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None or not _is_valid(lambda: time.fromisoformat(found[0])):
        return value
    hours, minutes, seconds = (int(part) for part in found.groups())
    return hours * 3_600 + minutes * 60 + seconds


def to_zero(value: Any) -> Any:
    """``null`` → ``0``."""
    return 0 if value is None else value


def to_json(value: Any) -> Any:
    """JSON as a text → the JSON itself."""
    if not isinstance(value, str):
        return value
    try:
        return load_json(value, constants=False)
    except (Refusal, ValueError, RecursionError):
        return value


def _is_valid(read: Callable[[], object]) -> bool:
    try:
        read()
    except ValueError:
        return False
    return True


def _each(fields: Iterable[str], conversion: Conversion) -> dict[str, Conversion]:
    return dict.fromkeys(fields, conversion)


_COSTS = ("document_charge", "communications_charge", "insurance_charge", "freight_charge")

FORMATS: Mapping[str, Mapping[str, Conversion]] = {
    "transact": {
        "entry_date": to_date,
        **_each(("entry_time", "confirm_time", "finalised_time"), to_seconds),
        **_each(("insuranceDiscountAmount", "insuranceDiscountRate"), to_zero),
    },
    "requisition": {"date_entered": to_date},
    "Stock_take": {"stock_take_created_date": to_date, "stock_take_time": to_seconds},
    "location_movement": _each(("enter_time", "exit_time"), to_seconds),
    "sensor": {"lastConnectionTime": to_seconds},
    "temperature_breach": _each(("start_time", "end_time"), to_seconds),
    "temperature_log": {"time": to_seconds},
    "vaccine_vial_monitor_status_log": {"date": to_date, "time": to_seconds},
    "message": {"createdTime": to_seconds},
    "purchase_order": _each(("agent_commission", *_COSTS, "curr_rate"), to_zero),
    "purchase_order_line": {"quan_adjusted_order": to_zero},
    "om_document": {"data": to_json},
}


def as_handed_back(table: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``data`` of a record of ``table`` in the forms in which a site reads it."""
    conversions = FORMATS.get(table, {})
    return {
        name: conversions[name](value) if name in conversions else value
        for name, value in data.items()
    }
