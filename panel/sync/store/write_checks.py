"""The writes of applications and their checks, made before anything is locked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from panel.errors import Invalid
from panel.i18n import Message, say
from panel.models.base import HIGHEST_SYNC_ID
from panel.models.records import RECORD_ID_LENGTH, TABLE_NAME_LENGTH, Key
from panel.sync.protocol.json_reader import is_plain, to_text


@dataclass(frozen=True)
class Write:
    """A put or, with ``data`` None, a delete; ``to`` None keeps the address of the record."""

    table: str
    record_id: str
    data: Mapping[str, Any] | None
    to: int | None = None

    @property
    def key(self) -> Key:
        """Return the table name and the record id, which identify a record."""
        return self.table, self.record_id


def check_write(write: Write, own_sync_id: int) -> str | None:
    """Return the JSON text to store, None for a delete.

    Raise Invalid with every problem by field. The limits are those of PROTOCOL.md, *What is
    exchanged*.
    """
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


def _check_name(problems: dict[str, Message], field: str, name: object, longest: int) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= longest:
        problems[field] = say("Must have 1 to %(longest)s characters.", longest=longest)
    elif not is_plain(name):
        problems[field] = say("Must not have control characters in it.")


def _is_another(sync_id: object, own_sync_id: int) -> bool:
    # bool is a subclass of int.
    whole = isinstance(sync_id, int) and not isinstance(sync_id, bool)
    return whole and 1 <= int(str(sync_id)) <= HIGHEST_SYNC_ID and sync_id != own_sync_id
