"""The writes of applications and their checks, made before anything is locked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from panel.errors import Invalid
from panel.i18n import Message, say
from panel.models.base import HIGHEST_SYNC_ID, PRIMARY_SYNC_ID
from panel.models.records import RECORD_ID_LENGTH, TABLE_NAME_LENGTH, Key
from panel.sync.protocol.json_reader import is_plain, to_text


@dataclass(frozen=True)
class Write:
    """A put or, with ``data`` None, a delete; ``to`` None keeps the address of the record.

    ``owner`` is the server for which a primary makes the record; None or its own Sync ID is itself.
    A satellite makes records for nobody else, and ignores it.
    """

    table: str
    record_id: str
    data: Mapping[str, Any] | None
    to: int | None = None
    owner: int | None = None

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
    # A record of a shared table of v5 is addressed to the primary itself; an export says so.
    is_kept = own_sync_id == PRIMARY_SYNC_ID == write.to and type(write.to) is int
    if write.to is not None and not is_kept and not _is_another(write.to, own_sync_id):
        problems["to"] = say("Must be the Sync ID of another server.")
    if write.owner is not None and own_sync_id == PRIMARY_SYNC_ID and not _is_sync_id(write.owner):
        problems["owner"] = say("Must be the Sync ID of a server in the list.")
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
    return _is_sync_id(sync_id) and sync_id != own_sync_id


def _is_sync_id(value: object) -> bool:
    # bool is a subclass of int.
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and 1 <= int(str(value)) <= HIGHEST_SYNC_ID
