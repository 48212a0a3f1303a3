"""The application of received records to the store, in the order in which they arrived.

A record that is stored already is left alone, so receiving it twice changes nothing. A record that
cannot be applied is returned with the reason, and the others are applied all the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.models.records import Key, Record
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.column_codec import HIGHEST_NUMBER
from panel.sync.store.records import StoredRecord, find_records, save_rows, seen_at, size_of
from panel.sync.store.sequence import lock_sequence, next_seqs

# As many as a batch has.
_KEYS_AT_ONCE = 5_000


@dataclass(frozen=True)
class Problem:
    """Why a record cannot be applied: a code of :mod:`panel.sync.protocol.error_codes`."""

    reason: str
    values: Mapping[str, Any]


class Verdict(Enum):
    """What happens to a received item that can be applied."""

    # It is stored in the place of what was there.
    TAKE = auto()
    # The same is stored already.
    KNOWN = auto()
    # What is stored is not older, and stays.
    KEEP = auto()
    # What is stored is newer, and the sender does not have it: it stays, and is pushed again.
    PUSH = auto()
    # The two were written in different pasts. The stored content stays; the other is quarantined.
    KEEP_OWN = auto()
    # The two were written in different pasts. The item is stored; the other content is quarantined.
    TAKE_OTHER = auto()


# Decides about an item, given what is stored under its key (None: nothing). It returns a Problem if
# the item cannot be applied.
Rule = Callable[[Item, StoredRecord | None], Verdict | Problem]


@dataclass
class Outcome:
    """The items that were applied, those that were stored already, and those that were refused."""

    taken: list[Item] = field(default_factory=list)
    known: list[Item] = field(default_factory=list)
    refused: list[tuple[Item, Problem]] = field(default_factory=list)
    # Items that are older than what is stored, or have its version and another content.
    outdated: list[Item] = field(default_factory=list)
    # Contents that were replaced by the content of another past.
    replaced: list[Item] = field(default_factory=list)


def pushed_by(sync_id: int, is_server: Callable[[int], bool] = lambda _: True) -> Rule:
    """Return the rule of a primary for the records that satellite ``sync_id`` pushes.

    ``is_server`` says whether there is a server with a Sync ID. A record that is addressed to no
    server would be lost unnoticed, so it is quarantined until somebody adds that server.
    """

    def rule(item: Item, stored: StoredRecord | None) -> Verdict | Problem:
        if item.owner != sync_id:
            return Problem("not_the_owner", {"owner": item.owner})
        if stored is None:
            is_lost = item.to is not None and item.data is not None and not is_server(item.to)
            return Problem("no_such_addressee", {"sync_id": item.to}) if is_lost else Verdict.TAKE
        if problem := _problem_with_stored(item, stored):
            return problem
        if _is_stored(item, stored):
            return Verdict.KNOWN
        return Verdict.TAKE if item.version > stored.version else Verdict.KEEP

    return rule


def _problem_with_stored(item: Item, stored: StoredRecord) -> Problem | None:
    """Return why a pushed ``item`` may not take the place of what is stored."""
    if stored.owner < 0:
        return Problem("archived", {"owner": -stored.owner})
    if stored.owner != item.owner:
        return Problem("owned_by_another", {"owner": stored.owner})
    if _is_archived_address(item, stored):
        # The deletion of such a record is taken.
        is_deletion = item.data is None
        return None if is_deletion else Problem("address_archived", {"sync_id": item.to})
    return None if stored.to == item.to else Problem("address_fixed", {})


def pulled_by(own_sync_id: int) -> Rule:
    """Return the rule of a satellite for central data and for records addressed to it."""

    def rule(item: Item, stored: StoredRecord | None) -> Verdict | Problem:
        problem = _foreign_problem(item, stored, own_sync_id)
        if problem:
            return problem
        is_newer = stored is None or item.version > stored.version
        return Verdict.TAKE if is_newer else Verdict.KEEP

    return rule


def renewed_by(own_sync_id: int) -> Rule:
    """Return the rule of an initialise for central data and for addressed records.

    The primary's version is applied even if it is lower, as it is after a backup was restored.
    """

    def rule(item: Item, stored: StoredRecord | None) -> Verdict | Problem:
        problem = _foreign_problem(item, stored, own_sync_id)
        if problem:
            return problem
        return Verdict.KNOWN if _is_stored(item, stored) else Verdict.TAKE

    return rule


def restored_to(own_sync_id: int, written_since: int | None) -> Rule:
    """Return the rule of an initialise for this satellite's own records, which it gets back.

    ``written_since`` is the first own number that was given out after a past was lost; None if none
    was lost (PROTOCOL.md, *Own records that come back*).
    """

    def rule(item: Item, stored: StoredRecord | None) -> Verdict | Problem:
        if item.owner != own_sync_id:
            return Problem("not_the_owner", {"owner": item.owner})
        if stored is None:
            return Verdict.TAKE
        if stored.owner != own_sync_id:
            return Problem("owned_by_another", {"owner": stored.owner})
        if _is_stored(item, stored):
            return Verdict.KNOWN
        if stored.waiting:
            return _between_pasts(item, stored, written_since)
        if item.version != stored.version:
            return Verdict.TAKE if item.version > stored.version else Verdict.PUSH
        return Verdict.TAKE_OTHER

    return rule


def _between_pasts(item: Item, stored: StoredRecord, written_since: int | None) -> Verdict:
    """Return the verdict on an own record that was changed here and not pushed since."""
    if item.to != stored.to:
        # No push can change the address of a record that the primary has.
        return Verdict.TAKE_OTHER
    if item.data == stored.data:
        return Verdict.TAKE if item.version > stored.version else Verdict.KEEP
    was_pushed_from_here = item.position <= (stored.remote_seq or 0)
    if written_since is None or was_pushed_from_here:
        if item.version >= stored.version:
            return Verdict.TAKE_OTHER
        # If this server did not push it, as far as it knows, a copy of this server may have.
        return Verdict.KEEP if was_pushed_from_here else Verdict.KEEP_OWN
    if stored.version >= written_since:
        return Verdict.KEEP_OWN
    # Written before the backup was made, and changed again in the past that was lost.
    if item.version != stored.version:
        return Verdict.TAKE if item.version > stored.version else Verdict.KEEP
    return Verdict.TAKE_OTHER


def apply_items(
    session: Session, items: Sequence[Item], rule: Rule, *, from_primary: bool = False
) -> Outcome:
    """Apply ``items`` in their order as ``rule`` decides, and return the outcome.

    ``from_primary`` says that the items' positions are numbers of the primary's sequence. The own
    sequence stays locked until the caller's commit.
    """
    outcome = Outcome()
    lock_sequence(session)
    for start in range(0, len(items), _KEYS_AT_ONCE):
        _apply_chunk(session, items[start : start + _KEYS_AT_ONCE], rule, outcome, from_primary)
    return outcome


def _foreign_problem(item: Item, stored: StoredRecord | None, own_sync_id: int) -> Problem | None:
    if item.owner == own_sync_id:
        return Problem("not_the_owner", {"owner": item.owner})
    if stored is not None and stored.owner != item.owner:
        return Problem("owned_by_another", {"owner": stored.owner})
    return None


def _is_stored(item: Item, stored: StoredRecord | None) -> bool:
    return stored == StoredRecord(item.owner, item.to, item.version, item.data)


class _Chunk:
    """Some of the items, with what is stored under their keys and the rows to write for them."""

    def __init__(self, session: Session, items: Sequence[Item], from_primary: bool) -> None:
        self._session, self._from_primary = session, from_primary
        self._found = find_records(session, [(item.key, item.data) for item in items])
        self.stored = dict(self._found)
        self._changed_at = seen_at(session)
        # Changes of rows that keep their place in the order, and of rows that move to its end.
        self._marked: list[dict[str, Any]] = []
        self._moved: dict[Key, dict[str, Any]] = {}

    def take(self, item: Item) -> None:
        self.stored[item.key] = StoredRecord(item.owner, item.to, item.version, item.data)
        # Removed first: a record that changes again moves to the end of the order.
        self._moved.pop(item.key, None)
        row = _row(item, self._found.get(item.key), self._changed_at)
        self._moved[item.key] = row | self._origin(item)

    def note_known(self, item: Item) -> None:
        self._mark(item, waiting=False, **self._origin(item))

    def note_unpushed(self, item: Item) -> None:
        self._mark(item, waiting=True)

    def renew(self, item: Item) -> None:
        """Keep what is stored instead of ``item``, with a version above that of ``item``."""
        stored = self.stored[item.key]
        self.stored[item.key] = replace(stored, version=HIGHEST_NUMBER, waiting=True)
        if stored.row_id and stored.version <= item.version:
            self._moved[item.key] = {"id": stored.row_id, "version": None, "waiting": True}

    def loaded(self, item: Item) -> Item:
        """Return what is stored in the place of ``item``, with its data."""
        stored = self.stored[item.key]
        data = stored.data
        if data is not None and stored.row_id:
            data = self._session.scalar(select(Record.data).where(Record.id == stored.row_id))
        return Item(0, *item.key, stored.owner, stored.to, stored.version, data)

    def save(self) -> None:
        seqs = next_seqs(self._session, len(self._moved))
        for row, seq in zip(self._moved.values(), seqs, strict=True):
            row["seq"] = seq
            if row["version"] is None:
                row["version"] = seq
        save_rows(self._session, [*self._marked, *self._moved.values()])

    def _mark(self, item: Item, **values: Any) -> None:
        if row_id := _row_id(self._found.get(item.key)):
            self._marked.append({"id": row_id, **values})

    def _origin(self, item: Item) -> dict[str, Any]:
        # An item from the quarantine has no position.
        return {"remote_seq": item.position or None} if self._from_primary else {}


def _apply_chunk(
    session: Session, items: Sequence[Item], rule: Rule, outcome: Outcome, from_primary: bool
) -> None:
    chunk = _Chunk(session, items, from_primary)
    for item in items:
        verdict = rule(item, chunk.stored.get(item.key))
        if isinstance(verdict, Problem):
            outcome.refused.append((item, verdict))
        elif verdict is Verdict.KNOWN:
            outcome.known.append(item)
            chunk.note_known(item)
        elif verdict is Verdict.KEEP_OWN:
            outcome.replaced.append(item)
            chunk.renew(item)
        elif verdict is Verdict.KEEP or verdict is Verdict.PUSH:
            outcome.outdated.append(item)
            if verdict is Verdict.PUSH:
                chunk.note_unpushed(item)
        else:
            if verdict is Verdict.TAKE_OTHER:
                outcome.replaced.append(chunk.loaded(item))
            outcome.taken.append(item)
            chunk.take(item)
    chunk.save()


def _row_id(stored: StoredRecord | None) -> int | None:
    return stored.row_id if stored else None


def _is_archived_address(item: Item, stored: StoredRecord) -> bool:
    return item.to is not None and stored.to == -item.to


def _address(item: Item, stored: StoredRecord | None) -> int | None:
    # A deletion leaves an archived address as it is.
    return stored.to if stored and _is_archived_address(item, stored) else item.to


def _row(item: Item, stored: StoredRecord | None, changed_at: datetime) -> dict[str, Any]:
    return {
        "id": _row_id(stored),
        "table_name": item.table,
        "record_id": item.record_id,
        "owner": item.owner,
        "to": _address(item, stored),
        "version": item.version,
        "deleted": item.data is None,
        "data": item.data,
        "size": size_of(item.data),
        "waiting": False,
        "changed_at": changed_at,
    }
