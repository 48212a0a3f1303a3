"""What an application wants to write, checked before anything is locked or written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from panel.errors import Invalid
from panel.i18n import Message, say
from panel.models.base import HIGHEST_SYNC_ID
from panel.models.sync import RECORD_ID_LENGTH, TABLE_NAME_LENGTH
from panel.sync.protocol.json_reader import is_plain

Key = tuple[str, str]

LARGEST_RECORD_BYTES = 1024 * 1024
# Python reads JSON to a depth that depends on who calls: what one reader takes, all must.
DEEPEST = 100


@dataclass(frozen=True)
class Write:
    """One thing to write: ``data`` None deletes. ``to`` None leaves a record addressed as it is."""

    table: str
    record_id: str
    data: Mapping[str, Any] | None
    to: int | None = None

    @property
    def key(self) -> Key:
        """Return what tells the record from every other on this server."""
        return self.table, self.record_id


def check_write(write: Write, own_sync_id: int) -> str | None:
    """Return the text that will be kept, None for a delete. Raise Invalid with every problem."""
    problems: dict[str, Message] = {}
    _check_name(problems, "table", write.table, TABLE_NAME_LENGTH)
    _check_name(problems, "record_id", write.record_id, RECORD_ID_LENGTH)
    if write.to is not None and not _is_another(write.to, own_sync_id):
        problems["to"] = say("Must be the Sync ID of another server.")
    text = None
    if write.data is not None:
        try:
            text = to_text(write.data)
        except Invalid as invalid:
            problems |= invalid.problems
    if problems:
        raise Invalid(problems)
    return text


def to_text(data: Mapping[str, Any]) -> str:
    """Return ``data`` as the JSON text that is kept and compared. Raise Invalid."""
    if not isinstance(data, dict):
        raise Invalid({"data": say("Must be a JSON object.")})
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
        if is_too_deep(data):
            raise ValueError(f"deeper than {DEEPEST} levels")
    except (TypeError, ValueError, RecursionError) as error:
        # Not JSON (NaN, a date), half a character, or nested too deep.
        raise Invalid({"data": say("Cannot be written as JSON.")}) from error
    if size > LARGEST_RECORD_BYTES:
        raise Invalid({"data": say("Is larger than a record may be, 1 MiB.")})
    return text


def is_too_deep(data: Mapping[str, Any]) -> bool:
    """Say whether objects and lists stand in each other deeper than :data:`DEEPEST`."""
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        if not level:
            return False
        insides = (one.values() if isinstance(one, dict) else one for one in level)
        level = [value for inside in insides for value in inside if isinstance(value, dict | list)]
    return bool(level)


def _check_name(problems: dict[str, Message], field: str, name: object, longest: int) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= longest:
        problems[field] = say("Must have 1 to %(longest)s characters.", longest=longest)
    elif not is_plain(name):
        problems[field] = say("Must not have control characters in it.")


def _is_another(sync_id: object, own_sync_id: int) -> bool:
    # A bool is an int to Python, but not to people.
    whole = isinstance(sync_id, int) and not isinstance(sync_id, bool)
    return whole and 1 <= int(str(sync_id)) <= HIGHEST_SYNC_ID and sync_id != own_sync_id
