"""The encoding of columns of values in the shortest of five forms (PROTOCOL.md, *Batches*).

A column is a list of its values; a list of the one value that all share; null where the values are
the records' ids; a text with the base64 of UUIDs' bytes; or, where UUIDs repeat, such a text with
each of them once, and the list of their indexes. Numbers are the first one and a column of steps.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from panel.sync.protocol.json_reader import (
    BadMessage,
    JsonObject,
    WrittenNumber,
    dump_json,
    whole,
)

HIGHEST_NUMBER = 2**62
# Versions that a primary takes from a satellite: a server that gives out 1 000 numbers a second
# gets there in 35 000 years.
HIGHEST_PUSHED_VERSION = 2**50
# Versions that a satellite takes: v5 has none, and its primary counts on from what was pushed.
HIGHEST_VERSION = 2**51
# Up to which another server's word raises the own count. It is far below what is pushed, so that a
# server that was told so goes on for as long as any other.
HIGHEST_TOLD_COUNT = 2**40
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UUID_DIGITS = 32
# Types whose equal values have equal JSON.
_WRITTEN_IN_ONE_WAY = {str, int, bool, type(None), WrittenNumber}


def pack_column(values: list[Any], ids: list[str] | None = None) -> Any:
    """Return the column that encodes ``values`` beside the records' ``ids``."""
    if values == ids:
        return None
    if len(values) > 1 and _are_the_same(values):
        return values[:1]
    if not all(isinstance(value, str) and _UUID.fullmatch(value) for value in values):
        return values
    unique = list(dict.fromkeys(values))
    if len(unique) == len(values):
        return _pack_uuids(values)
    places = {value: place for place, value in enumerate(unique)}
    return {"of": _pack_uuids(unique), "places": [places[value] for value in values]}


def unpack_column(column: Any, count: int, ids: list[Any] | None = None) -> list[Any]:
    """Return the ``count`` values that ``column`` encodes. Raise :class:`BadMessage`."""
    values = _values(column, ids)
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise BadMessage("a column has another number of values than there are records")
    return values


def pack_numbers(numbers: Sequence[int]) -> list[Any]:
    """Return the first number, and the column of the steps from each to the next."""
    steps = [after - before for before, after in pairwise(numbers)]
    return [numbers[0], pack_column(steps)] if numbers else []


def unpack_numbers(column: list[Any], count: int, highest: int = HIGHEST_NUMBER) -> list[int]:
    """Return the ``count`` numbers that ``column`` encodes, from 0 to ``highest``.

    Raise :class:`BadMessage`.
    """
    if not count:
        return []
    match column:
        case [first, packed_steps]:
            steps = unpack_column(packed_steps, count - 1)
        case _:
            raise BadMessage("numbers are the first one and the steps")
    for step in steps:
        whole(step, -HIGHEST_NUMBER, HIGHEST_NUMBER)
    numbers = accumulate([whole(first, 0, HIGHEST_NUMBER), *steps])
    return [whole(number, 0, highest) for number in numbers]


def _values(column: Any, ids: list[Any] | None) -> list[Any]:
    match column:
        case None if ids is not None:
            return ids
        case list():
            return column
        case str():
            return _unpack_uuids(column)
        case dict():
            fields = JsonObject(column)
            unique = _unpack_uuids(column.get("of"))
            return [unique[whole(place, 0, len(unique) - 1)] for place in fields.list("places")]
    raise BadMessage("a column is in none of its forms")


def _are_the_same(values: list[Any]) -> bool:
    if not all(value == values[0] for value in values):
        return False
    # In Python 1, 1.0 and True are equal, and so are 0.0 and -0.0; their JSON differs.
    kinds = set(map(type, values))
    if len(kinds) == 1 and kinds <= _WRITTEN_IN_ONE_WAY:
        return True
    return len(set(map(dump_json, values))) == 1


def _pack_uuids(uuids: list[str]) -> str:
    return base64.b64encode(bytes.fromhex("".join(uuids).replace("-", ""))).decode()


def _unpack_uuids(text: Any) -> list[str]:
    try:
        digits = base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadMessage("a column of UUIDs is no base64") from error
    if len(digits) % _UUID_DIGITS:
        raise BadMessage("a UUID is cut off")
    cut = [digits[at : at + _UUID_DIGITS] for at in range(0, len(digits), _UUID_DIGITS)]
    return [f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}" for d in cut]
