"""The application of received records to the store, in the order in which they arrived.

A record that is here already is left alone, so receiving it twice changes nothing. A record that
cannot be applied is returned with the reason, and does not hold up the others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from panel import clock
from panel.models.records import Key
from panel.sync.protocol.batch_codec import Item
from panel.sync.store.records import StoredRecord, find_records, save_rows, size_of
from panel.sync.store.sequence import lock_sequence, next_seqs

_KEYS_AT_ONCE = 500


@dataclass(frozen=True)
class Problem:
    """Why a record cannot be applied: a code of :mod:`panel.sync.protocol.error_codes`."""

    reason: str
    values: Mapping[str, Any]


class _Known:
    """A verdict to leave the stored record as it is."""


TAKE, KNOWN, KEEP = None, _Known(), _Known()
# TAKE to apply the item, KNOWN if it is stored as it is, KEEP if a newer version is stored, or why
# it cannot be applied.
Verdict = Problem | _Known | None
Rule = Callable[[Item, StoredRecord | None], Verdict]


@dataclass
class Outcome:
    """The items that were applied, those stored already, and those refused with the reason."""

    taken: list[Item] = field(default_factory=list)
    known: list[Item] = field(default_factory=list)
    refused: list[tuple[Item, Problem]] = field(default_factory=list)


def pushed_by(sync_id: int) -> Rule:
    """Return the rule of a primary for the records that satellite ``sync_id`` pushes."""

    def rule(item: Item, stored: StoredRecord | None) -> Verdict:
        if item.owner != sync_id:
            return Problem("not_the_owner", {"owner": item.owner})
        if stored is None:
            return TAKE
        if stored.owner != sync_id:
            return Problem("owned_by_another", {"owner": stored.owner})
        if stored.to != item.to:
            return Problem("address_fixed", {})
        return TAKE if item.version > stored.version else KEEP

    return rule


def pulled_by(own_sync_id: int) -> Rule:
    """Return the rule of a satellite for central data and for records addressed to it."""

    def rule(item: Item, stored: StoredRecord | None) -> Verdict:
        problem = _foreign_problem(item, stored, own_sync_id)
        if problem or stored is None:
            return problem
        return TAKE if item.version > stored.version else KEEP

    return rule


def renewed_by(own_sync_id: int) -> Rule:
    """Return the rule of an initialise for central data and for addressed records.

    The primary's version is applied even if it is lower, as after a restored backup.
    """

    def rule(item: Item, stored: StoredRecord | None) -> Verdict:
        problem = _foreign_problem(item, stored, own_sync_id)
        return problem or (KNOWN if _is_stored(item, stored) else TAKE)

    return rule


def restored_to(own_sync_id: int) -> Rule:
    """Return the rule of an initialise for this satellite's own records, which it gets back.

    What this satellite wrote since stays, and waits to be pushed. Where one version has different
    data on the two sides, the primary's is applied, since others may have received it
    (PROTOCOL.md, *States of a satellite*).
    """

    def rule(item: Item, stored: StoredRecord | None) -> Verdict:
        if item.owner != own_sync_id:
            return Problem("not_the_owner", {"owner": item.owner})
        if stored is not None and stored.owner != own_sync_id:
            return Problem("owned_by_another", {"owner": stored.owner})
        if stored is not None and item.version < stored.version:
            return KEEP
        return KNOWN if _is_stored(item, stored) else TAKE

    return rule


def apply_items(
    session: Session, items: Sequence[Item], rule: Rule, *, from_primary: bool = False
) -> Outcome:
    """Apply ``items`` in order as ``rule`` decides, and return the outcome of each.

    ``from_primary`` says that their positions are the primary's numbers. The sequence stays locked
    until the caller's commit.
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


def _apply_chunk(
    session: Session, items: Sequence[Item], rule: Rule, outcome: Outcome, from_primary: bool
) -> None:
    found = find_records(session, [(item.key, item.data) for item in items])
    stored = dict(found)
    rows: dict[Key, dict[str, Any]] = {}
    known: list[dict[str, Any]] = []
    for item in items:
        verdict = rule(item, stored.get(item.key))
        if isinstance(verdict, Problem):
            outcome.refused.append((item, verdict))
        elif verdict is KNOWN:
            outcome.known.append(item)
            if row_id := _row_id(found.get(item.key)):
                known.append({"id": row_id, "waiting": False, **_origin(item, from_primary)})
        elif verdict is TAKE:
            stored[item.key] = StoredRecord(item.owner, item.to, item.version, item.data)
            # Removed first: a record that changes again moves to the end of the order.
            rows.pop(item.key, None)
            row = _row(item, found.get(item.key))
            rows[item.key] = row | _origin(item, from_primary)
            outcome.taken.append(item)
    for row, seq in zip(rows.values(), next_seqs(session, len(rows)), strict=True):
        row["seq"] = seq
    save_rows(session, [*known, *rows.values()])


def _row_id(stored: StoredRecord | None) -> int | None:
    return stored.row_id if stored else None


def _origin(item: Item, from_primary: bool) -> dict[str, Any]:
    # One that is retried after it was quarantined has no position.
    return {"remote_seq": item.position or None} if from_primary else {}


def _row(item: Item, stored: StoredRecord | None) -> dict[str, Any]:
    return {
        "id": _row_id(stored),
        "table_name": item.table,
        "record_id": item.record_id,
        "owner": item.owner,
        "to": item.to,
        "version": item.version,
        "deleted": item.data is None,
        "data": item.data,
        "size": size_of(item.data),
        "waiting": False,
        "changed_at": clock.now(),
    }
