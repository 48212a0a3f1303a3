"""The formats in which a central server of mSupply hands back what a site pushed (PROTOCOL.md).

The central server is a typed database: a date, a time or an empty number comes back in another form
than it went up in, and a site cannot read the form in which it pushed. ``FORMATS`` has a conversion
for each such field; every other table and field goes back unchanged.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from typing import Any

from panel.errors import Refusal
from panel.sync.protocol.json_reader import load_json

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
