"""The records of applications: put, delete, get and list.

A record is (table name, record id, one JSON object). The server that writes it first owns it and
alone may write it. The owner may address it to one other server, for the life of the record
(PROTOCOL.md, *What is exchanged*).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import accumulate, groupby
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    String,
    and_,
    any_,
    bindparam,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from panel import clock
from panel.errors import Invalid, NotFound, Refusal, for_each
from panel.i18n import Message, say
from panel.models.base import HIGHEST_SYNC_ID, PRIMARY_SYNC_ID
from panel.models.records import RECORD_ID_LENGTH, TABLE_NAME_LENGTH, Key, Record
from panel.models.runs import Loop, Peer, SiteCopy
from panel.models.settings import Server, Settings, SyncProtocol
from panel.sync.protocol.json_reader import is_plain, to_text
from panel.sync.store.change_feed import LARGEST_BATCH_BYTES
from panel.sync.store.sequence import lock_sequence, next_seqs

# As many as a batch has.
_KEYS_AT_ONCE = 5_000
_CLOCK_TOLERANCE = timedelta(hours=1)
# Rows are written in bulk, past the objects of the session.
_AS_IT_IS = {"populate_existing": True}
# In the place of a text that is not loaded: its size shows that it is another one.
DIFFERENT_TEXT = ""
_COLUMNS = (
    *(Record.id, Record.table_name, Record.record_id, Record.owner, Record.to, Record.version),
    *(Record.deleted, Record.size, Record.waiting, Record.remote_seq),
)


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


@dataclass(frozen=True)
class StoredRecord:
    """The stored record of a key, as far as it decides about a received one.

    ``data`` is None for a tombstone, and :data:`DIFFERENT_TEXT` where it is not the received text.
    """

    owner: int
    to: int | None
    version: int
    data: str | None
    row_id: int | None = field(default=None, compare=False)
    waiting: bool = field(default=False, compare=False)
    remote_seq: int | None = field(default=None, compare=False)


class OwnedByAnother(Refusal):
    """The record belongs to another server, which alone may write it."""

    status = 403
    code = "owned_by_another"


class NoSyncId(Refusal):
    """This server has no Sync ID yet, so a record written here would have no owner."""

    status = 409
    code = "no_sync_id"


class OwnerUnknown(Refusal):
    """The server for which a record is made is not in the list of this primary."""

    status = 409
    code = "owner_unknown"


class OwnerInitialised(Refusal):
    """The server for which a record is made takes such records no more."""

    status = 409
    code = "owner_initialised"


class VersionDiffers(Refusal):
    """The record is in another version than the one that the write is meant for."""

    status = 412
    code = "version_differs"


class AddressFixed(Refusal):
    """The address of a record is fixed until its tombstone is purged."""

    status = 409
    code = "address_fixed"


def put_record(
    session: Session,
    own_sync_id: int,
    table: str,
    record_id: str,
    data: Mapping[str, Any],
    to: int | None = None,
) -> Record:
    """Write one record and return it; data that is the same as before changes nothing.

    ``to`` is the Sync ID of the server to address it to. Raise Invalid, :class:`OwnedByAnother` or
    :class:`AddressFixed`.
    """
    write_records(session, own_sync_id, [Write(table, record_id, data, to)])
    return get_record(session, table, record_id)


def delete_record(session: Session, own_sync_id: int, table: str, record_id: str) -> None:
    """Replace a record by its tombstone; one that is deleted already stays as it is.

    Raise NotFound or :class:`OwnedByAnother`.
    """
    write_records(session, own_sync_id, [Write(table, record_id, None)])


def require_sync_id(session: Session) -> int:
    """Return the Sync ID of this server, which owns what is written here. Raise NoSyncId."""
    sync_id = session.get_one(Settings, 1).sync_id
    if sync_id is None:
        raise NoSyncId(say("Give this server a Sync ID first."))
    return sync_id


def get_record(
    session: Session, table: str, record_id: str, *, deleted_too: bool = False
) -> Record:
    """Return a record, with ``deleted_too`` also a tombstone. Raise NotFound if there is none."""
    query = select(Record).where(Record.table_name == table, Record.record_id == record_id)
    record = session.scalar(query, execution_options=_AS_IT_IS)
    if record is None or (record.deleted and not deleted_too):
        raise _not_found(table, record_id)
    return record


def require_version(
    session: Session, table: str, record_id: str, fits: Callable[[int | None], bool]
) -> None:
    """Raise :class:`VersionDiffers` unless ``fits`` of the record's version; None is no record.

    The sequence stays locked until the caller's commit, so that no other write comes between.
    """
    lock_sequence(session)
    query = select(Record.version).where(Record.table_name == table, Record.record_id == record_id)
    if not fits(session.scalar(query.where(~Record.deleted))):
        raise VersionDiffers(
            say("The record is in another version by now: read it again, then write.")
        )


def list_records(
    session: Session, table: str, after: str = "", limit: int = 500
) -> tuple[Sequence[Record], bool]:
    """Return records of ``table`` with an id above ``after``, by id, and whether there are more.

    Deleted ones are left out. It has at most ``limit`` records and ``LARGEST_BATCH_BYTES`` of data,
    but at least one record if there is any.
    """
    query = select(Record).where(Record.table_name == table, ~Record.deleted)
    query = query.where(Record.record_id > after).order_by(Record.record_id)
    sizes = session.scalars(query.with_only_columns(Record.size).limit(limit + 1)).all()
    fitting = sum(total <= LARGEST_BATCH_BYTES for total in accumulate(sizes[:limit]))
    records = session.scalars(query.limit(max(fitting, 1)), execution_options=_AS_IT_IS).all()
    return records, len(sizes) > len(records)


def write_records(session: Session, own_sync_id: int, writes: Sequence[Write]) -> int:
    """Write all of ``writes`` in order, or none; return how many changed something.

    Every value is checked before the sequence is locked. The lock is held until the caller's
    commit, so commit soon. Raise what :func:`put_record` raises, :class:`OwnerUnknown`,
    :class:`OwnerInitialised`, or NotFound for a delete; the refusal has the number of the write.
    """
    texts = for_each(lambda write: check_write(write, own_sync_id), writes)
    lock_sequence(session)
    wanted = [(write.key, text) for write, text in zip(writes, texts, strict=True)]
    found = find_records(session, wanted)
    if own_sync_id == PRIMARY_SYNC_ID:
        # A satellite does not know the others: its primary checks what it pushes.
        _check_addressees(session, writes, found)
    draft = _Draft(found, own_sync_id, seen_at(session))
    for_each(draft.add, zip(writes, texts, strict=True))
    _check_owners(session, writes, draft.made_for())
    draft.save(session)
    return len(draft.changed)


def server_lookup(session: Session) -> Callable[[int], bool]:
    """Return a function that says of a Sync ID whether this primary or its list has it."""

    @cache
    def is_server(sync_id: int) -> bool:
        query = select(Server.id).where(Server.sync_id == sync_id, Server.removed_at.is_(None))
        return sync_id == PRIMARY_SYNC_ID or session.scalar(query) is not None

    return is_server


def keys_in(session: Session, keys: Sequence[Key]) -> ColumnElement[bool]:
    """Return the condition that a record has one of ``keys``.

    For each table its ids are one value of the statement: pairs would make SQLite scan the table,
    and PostgreSQL plan for longer than it reads.
    """
    ids: dict[str, list[str]] = {}
    for table, record_id in keys:
        ids.setdefault(table, []).append(record_id)
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    among = _among_json if is_sqlite else _among_array
    return or_(*(and_(Record.table_name == table, among(ids[table])) for table in ids))


def _among_json(ids: list[str]) -> ColumnElement[bool]:
    listed = func.json_each(json.dumps(ids)).table_valued("value")
    return Record.record_id.in_(select(listed.c.value))


def _among_array(ids: list[str]) -> ColumnElement[bool]:
    return Record.record_id == any_(literal(ids, ARRAY(String)))


def find_records(
    session: Session, arrived: Sequence[tuple[Key, str | None]]
) -> dict[Key, StoredRecord]:
    """Return the stored records, tombstones too, with the keys of the ``arrived`` keys and texts.

    Only texts of the same size are loaded: memory is bounded by what arrived.
    """
    sizes: dict[Key, set[int]] = {}
    for key, text in arrived:
        sizes.setdefault(key, set()).add(size_of(text))
    found: dict[Key, StoredRecord] = {}
    keys = list(sizes)
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        found |= _find(session, keys[start : start + _KEYS_AT_ONCE], sizes)
    return found


def _check_owners(session: Session, writes: Sequence[Write], made_for: Mapping[Key, int]) -> None:
    """Refuse to make records for servers that would not get them.

    Raise :class:`OwnerUnknown` for one that is not in the list, :class:`OwnerInitialised` for one
    that has all of its own records already.
    """
    if not made_for:
        return
    owners = set(made_for.values())
    query = select(Server.sync_id, Peer.protocol).outerjoin(Peer, Peer.server_id == Server.id)
    query = query.where(Server.sync_id.in_(owners), Server.removed_at.is_(None))
    protocols = {row.sync_id: row.protocol for row in session.execute(query)}

    def check(write: Write) -> None:
        owner = made_for.get(write.key)
        if owner is None:
            return
        if owner not in protocols:
            raise OwnerUnknown(say("There is no server with Sync ID %(owner)s.", owner=owner))
        if protocols[owner] == SyncProtocol.OWN:
            raise OwnerInitialised(
                say(
                    "Server %(owner)s has initialised, and takes a record made for it only when it "
                    "initialises. Address the record to it instead.",
                    owner=owner,
                )
            )

    for_each(check, writes)


def _hand_out(session: Session, made_for: Mapping[Key, int]) -> None:
    """Queue the records made for other servers, for those of them that speak v5."""
    keys = list(made_for)
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        some = keys_in(session, keys[start : start + _KEYS_AT_ONCE])
        copies = select(Server.id, Record.id, literal(0)).join(
            Server, and_(Server.sync_id == Record.owner, Server.removed_at.is_(None))
        )
        columns = ["server_id", "record_id", "known_seq"]
        session.execute(insert(SiteCopy).from_select(columns, copies.where(some)))


def seen_at(session: Session) -> datetime:
    """Return the moment to note for a change: the present one, if the clock can be right.

    The age of a tombstone counts from it. A clock that stands before this release or before the
    last purge would make it look old at once: then it is the latest moment that is known.
    """
    now, purged_at = clock.now(), session.scalar(select(Loop.purged_at))
    if now >= clock.RELEASED_AT and (purged_at is None or now >= purged_at - _CLOCK_TOLERANCE):
        return now
    newest = session.scalar(select(Record.changed_at).order_by(Record.seq.desc()).limit(1))
    known = [moment for moment in (purged_at, newest) if moment is not None]
    return max(now, clock.RELEASED_AT, *known)


def size_of(text: str | None) -> int:
    """Return the bytes of a record's text in UTF-8; 0 for a tombstone."""
    return 0 if text is None else len(text.encode())


class _Draft:
    """The rows to write, in the order of their changes."""

    def __init__(
        self, found: dict[Key, StoredRecord], own_sync_id: int, changed_at: datetime
    ) -> None:
        self._found = found
        self._changed_at = changed_at
        self._own_sync_id = own_sync_id
        # By key: a later write of the same record replaces the earlier one.
        self.changed: dict[Key, dict[str, Any]] = {}

    def add(self, written: tuple[Write, str | None]) -> None:
        write, text = written
        owner = self._owner(write)
        record = self._found.get(write.key)
        stored = self.changed.get(write.key) or (_values(record) if record else None)
        if stored is None and text is None:
            raise _not_found(write.table, write.record_id)
        if write.to == owner and (stored is None or stored["to"] != owner):
            raise Invalid({"to": say("Must be the Sync ID of another server.")})
        if stored is not None:
            is_same = stored["data"] == text
            if is_same and stored["owner"] == owner and write.to in (None, stored["to"]):
                return
            self._check(write, owner, stored)
        self.changed.pop(write.key, None)
        self.changed[write.key] = {
            "id": record.row_id if record else None,
            "table_name": write.table,
            "record_id": write.record_id,
            "owner": owner,
            "to": stored["to"] if stored else write.to,
            "deleted": text is None,
            "data": text,
            "size": size_of(text),
            # A primary pushes to nobody.
            "waiting": self._own_sync_id != PRIMARY_SYNC_ID,
            "changed_at": self._changed_at,
        }

    def made_for(self) -> dict[Key, int]:
        """Return the owners of the records that are made for other servers."""
        rows = self.changed.items()
        return {key: row["owner"] for key, row in rows if row["owner"] != self._own_sync_id}

    def _owner(self, write: Write) -> int:
        is_primary = self._own_sync_id == PRIMARY_SYNC_ID
        return write.owner if is_primary and write.owner is not None else self._own_sync_id

    def _check(self, write: Write, owner: int, stored: Mapping[str, Any]) -> None:
        if {stored["owner"], owner} != {self._own_sync_id}:
            raise OwnedByAnother(
                say(
                    "%(table)s/%(record_id)s belongs to server %(owner)s: only that one writes it.",
                    table=write.table,
                    record_id=write.record_id,
                    owner=abs(stored["owner"]),
                )
            )
        if write.to is not None and write.to != stored["to"]:
            raise AddressFixed(
                say(
                    "%(table)s/%(record_id)s cannot be addressed to another server than before.",
                    table=write.table,
                    record_id=write.record_id,
                )
            )

    def save(self, session: Session) -> None:
        seqs = next_seqs(session, len(self.changed))
        for row, seq in zip(self.changed.values(), seqs, strict=True):
            # Whatever version its owner gives to a record, it is higher than the one made for it.
            row["seq"], row["version"] = seq, seq if row["owner"] == self._own_sync_id else 0
        save_rows(session, list(self.changed.values()))
        _hand_out(session, self.made_for())


def save_rows(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose ``id`` is None, and update the others."""
    new = [{k: v for k, v in row.items() if k != "id"} for row in rows if row["id"] is None]
    old = [
        {("row_id" if k == "id" else k): v for k, v in row.items()}
        for row in rows
        if row["id"] is not None
    ]
    for statement, some in ((_INSERT, new), (_UPDATE, old)):
        # One statement names the same columns for all of its rows.
        for _names, alike in groupby(sorted(some, key=tuple), key=tuple):
            # Past the ORM, which takes as long for a row as the database does.
            session.connection().execute(statement, list(alike))


_INSERT = insert(Record)
_UPDATE = update(Record).where(Record.id == bindparam("row_id"))


def _find(
    session: Session, keys: Sequence[Key], sizes: Mapping[Key, set[int]]
) -> dict[Key, StoredRecord]:
    columns = select(*_COLUMNS).where(keys_in(session, keys))
    rows = {(row.table_name, row.record_id): row for row in session.execute(columns)}
    alike = [row.id for key, row in rows.items() if not row.deleted and row.size in sizes[key]]
    query = select(Record.id, Record.data).where(Record.id.in_(alike))
    texts = {row.id: row.data for row in session.execute(query)} if alike else {}
    return {
        key: StoredRecord(
            row.owner,
            row.to,
            row.version,
            None if row.deleted else texts.get(row.id, DIFFERENT_TEXT),
            row.id,
            row.waiting,
            row.remote_seq,
        )
        for key, row in rows.items()
    }


def _check_addressees(
    session: Session, writes: Sequence[Write], found: Mapping[Key, StoredRecord]
) -> None:
    """Raise Invalid for a new record that is addressed to no server of the list."""
    is_server = server_lookup(session)

    def check(write: Write) -> None:
        if write.to is not None and write.key not in found and not is_server(write.to):
            reason = say(
                "%(table)s/%(record_id)s: there is no server %(to)s in the list.",
                table=write.table,
                record_id=write.record_id,
                to=write.to,
            )
            raise Invalid({"to": reason})

    for_each(check, writes)


def _values(record: StoredRecord) -> dict[str, Any]:
    return {"owner": record.owner, "to": record.to, "data": record.data}


def _not_found(table: str, record_id: str) -> NotFound:
    return NotFound(
        say("There is no record %(table)s/%(record_id)s.", table=table, record_id=record_id)
    )


# --- the checks of a write, made before anything is locked ---------------------------------------


def check_write(write: Write, own_sync_id: int) -> str | None:
    """Return the JSON text to store, None for a delete.

    Raise Invalid with every problem by field. The limits are those of PROTOCOL.md, *What is
    exchanged*.
    """
    problems: dict[str, Message] = {}
    _check_name(problems, "table", write.table, TABLE_NAME_LENGTH)
    _check_name(problems, "id", write.record_id, RECORD_ID_LENGTH)
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
