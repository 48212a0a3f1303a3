"""The encoding of batches: the field names of a table once, then its values in columns.

Equal values then stand together, where a compressor finds them (PROTOCOL.md, *Batches*).
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from panel.errors import Invalid
from panel.models.base import HIGHEST_SYNC_ID
from panel.models.records import RECORD_ID_LENGTH, TABLE_NAME_LENGTH, Record
from panel.sync.protocol.column_codec import (
    HIGHEST_VERSION,
    pack_column,
    pack_numbers,
    unpack_column,
    unpack_numbers,
)
from panel.sync.protocol.json_reader import (
    BadMessage,
    JsonObject,
    is_plain,
    load_json,
    to_text,
    whole,
)

MOST_RECORDS = 5_000
# Bytes that Python takes for the JSON texts of a batch once it is decoded: one, two or four a
# character of a text, as its highest character needs.
LARGEST_DATA = 32 * 1024 * 1024
# Characters of the shortest field in a record's text: "":0.
_SHORTEST_FIELD = 4


@dataclass(frozen=True)
class Item:
    """A record in an exchange: ``position`` is the sender's ``seq``, ``data`` None a tombstone."""

    position: int
    table: str
    record_id: str
    owner: int
    to: int | None
    version: int
    data: str | None

    @property
    def key(self) -> tuple[str, str]:
        """Return the table name and the record id, which identify a record."""
        return self.table, self.record_id


@dataclass
class _Shape:
    """The records of a batch with the same table and fields; ``fields`` is None for tombstones."""

    table: str
    fields: tuple[str, ...] | None
    ids: list[str]
    rows: list[list[Any]]


def item_of(record: Record) -> Item:
    """Return the item that ``record`` is sent as; the numbers of archived ones are negative."""
    return Item(
        record.seq,
        record.table_name,
        record.record_id,
        abs(record.owner),
        None if record.to is None else abs(record.to),
        record.version,
        record.data,
    )


def pack(items: Sequence[Item]) -> dict[str, Any]:
    """Return the JSON object that encodes ``items`` in their order."""
    shapes: dict[tuple[str, tuple[str, ...] | None], _Shape] = {}
    order = []
    for item in items:
        values = load_json(item.data) if item.data is not None else None
        key = item.table, None if values is None else tuple(values)
        shape = shapes.setdefault(key, _Shape(*key, [], []))
        shape.ids.append(item.record_id)
        shape.rows.append([] if values is None else list(values.values()))
        order.append(key)
    numbers = {key: number for number, key in enumerate(shapes)}
    return {
        "shapes": [_pack_shape(shape) for shape in shapes.values()],
        "order": [[numbers[key], len(list(same))] for key, same in groupby(order)],
        "positions": pack_numbers([item.position for item in items]),
        "versions": pack_numbers([item.version for item in items]),
        "owners": pack_column([item.owner for item in items]),
        "to": pack_column([item.to for item in items]),
    }


def unpack(batch: Any, highest_version: int = HIGHEST_VERSION) -> list[Item]:
    """Return the items that the JSON value ``batch`` encodes. Raise :class:`BadMessage`.

    A higher version is refused: the wire might not carry the ones that follow it.
    """
    fields = JsonObject(batch)
    order, packed_shapes = _order(fields.list("order")), fields.list("shapes")
    counts = Counter(order)
    # Checked before work is done for each shape: a few bytes can name very many.
    if len(counts) != len(packed_shapes) or max(counts, default=-1) >= len(packed_shapes):
        raise BadMessage("the order names other shapes than there are")
    room = LARGEST_DATA
    shapes: list[Iterator[tuple[str, str, str | None]]] = []
    for number, packed in enumerate(packed_shapes):
        records = _unpack_shape(packed, counts[number], room)
        room -= sum(_memory_bytes(data or "") for _, _, data in records)
        shapes.append(iter(records))
    columns = zip(
        unpack_numbers(fields.list("positions"), len(order)),
        (next(shapes[number]) for number in order),
        unpack_column(fields.get("owners"), len(order)),
        unpack_column(fields.get("to"), len(order)),
        unpack_numbers(fields.list("versions"), len(order), highest_version),
        strict=True,
    )
    return [
        Item(position, table, record_id, _sync_id(owner), _address(to), version, data)
        for position, (table, record_id, data), owner, to, version in columns
    ]


def _pack_shape(shape: _Shape) -> list[Any]:
    columns = zip(*shape.rows, strict=True)
    values = [pack_column(list(column), shape.ids) for column in columns]
    return [shape.table, pack_column(shape.ids), shape.fields, values]


def _unpack_shape(packed: Any, count: int, room: int) -> list[tuple[str, str, str | None]]:
    match packed:
        case [table, _, _, _] if not _is_name(table, TABLE_NAME_LENGTH):
            raise BadMessage("a table's name is no text, too long or has control characters")
        case [table, column, None, _]:
            ids = _ids(column, count)
            texts: list[str | None] = [None] * count
        case [table, column, list(names), list(columns)]:
            ids = _ids(column, count)
            texts = _texts(names, columns, ids, room)
        case _:
            raise BadMessage("a shape is a table, ids, fields and columns")
    return [(table, record_id, text) for record_id, text in zip(ids, texts, strict=True)]


def _ids(column: Any, count: int) -> list[str]:
    ids = unpack_column(column, count)
    if not all(_is_name(record_id, RECORD_ID_LENGTH) for record_id in ids):
        raise BadMessage("an id is no text, too long or has control characters")
    return ids


def is_key(table: Any, record_id: Any) -> bool:
    """Say whether these two can be the key of a record."""
    return _is_name(table, TABLE_NAME_LENGTH) and _is_name(record_id, RECORD_ID_LENGTH)


def _is_name(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= longest and is_plain(value)


def _texts(names: list[Any], columns: list[Any], ids: list[str], room: int) -> list[str | None]:
    if len(names) != len(columns) or not all(isinstance(name, str) for name in names):
        raise BadMessage("a shape has another number of fields than columns")
    if len(set(names)) != len(names):
        raise BadMessage("a shape names a field twice")
    if _SHORTEST_FIELD * len(names) * len(ids) > room:
        raise BadMessage("a batch is too large")
    unpacked = [unpack_column(column, len(ids), ids) for column in columns]
    texts: list[str | None] = []
    for row in range(len(ids)):
        data = {name: values[row] for name, values in zip(names, unpacked, strict=True)}
        text = _text(data)
        room -= _memory_bytes(text)
        if room < 0:
            raise BadMessage("a batch is too large")
        texts.append(text)
    return texts


def _memory_bytes(text: str) -> int:
    return sys.getsizeof(text)


def _text(data: dict[str, Any]) -> str:
    try:
        return to_text(data)
    except Invalid as invalid:
        raise BadMessage(str(invalid)) from invalid


def _order(runs: list[Any]) -> list[int]:
    order: list[int] = []
    for run in runs:
        match run:
            case [shape, count]:
                order += [whole(shape, 0, MOST_RECORDS)] * whole(count, 1, MOST_RECORDS)
            case _:
                raise BadMessage("the order is no list of shapes and their numbers")
        if len(order) > MOST_RECORDS:
            raise BadMessage("a batch has too many records")
    return order


def _sync_id(value: Any) -> int:
    return whole(value, 1, HIGHEST_SYNC_ID)


def _address(value: Any) -> int | None:
    return None if value is None else _sync_id(value)
