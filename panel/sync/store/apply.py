"""Records that arrived from another server, put in their places in the order in which they came.

What is here already is left alone, so that whatever arrives twice changes nothing; what cannot be
taken is told apart, with the reason, and holds up nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from panel import clock
from panel.models.records import Key, Record
from panel.sync.protocol.batch_codec import Item
from panel.sync.store.records import StoredRecord, find_records, save_rows, size_of
from panel.sync.store.sequence import lock_sequence, next_seqs

_KEYS_AT_ONCE = 500


@dataclass(frozen=True)
class Problem:
    """Why a record cannot be taken: a code of ``panel.sync.protocol.error_codes``, its values."""

    reason: str
    values: Mapping[str, Any]


class _Known:
    """The record is here already."""


TAKE, KNOWN, KEEP = None, _Known(), _Known()
# None to take it, KNOWN if just this is here, KEEP if something newer is, or the Problem.
Verdict = Problem | _Known | None
Rule = Callable[[Item, StoredRecord | None], Verdict]


@dataclass
class Outcome:
    """What became of the records that arrived."""

    taken: list[Item] = field(default_factory=list)
    known: list[Item] = field(default_factory=list)
    refused: list[tuple[Item, Problem]] = field(default_factory=list)


def pushed_by(sync_id: int) -> Rule:
    """Return the rule of a primary for what satellite ``sync_id`` pushes."""

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
    """Return the rule of a satellite for central data and what is addressed to it."""

    def rule(item: Item, stored: StoredRecord | None) -> Verdict:
        problem = _foreign_problem(item, stored, own_sync_id)
        if problem or stored is None:
            return problem
        return TAKE if item.version > stored.version else KEEP

    return rule


def renewed_by(own_sync_id: int) -> Rule:
    """Return the same for an initialise: the primary is right, even if it went back in time."""

    def rule(item: Item, stored: StoredRecord | None) -> Verdict:
        problem = _foreign_problem(item, stored, own_sync_id)
        return problem or (KNOWN if _is_stored(item, stored) else TAKE)

    return rule


def restored_to(own_sync_id: int) -> Rule:
    """Return the rule of a satellite for its own records that its primary hands back.

    What this satellite wrote since stays, and waits to be pushed. Where both have the same version
    and not the same data, two pasts wrote it: the primary's is the one that others have seen.
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


def _foreign_problem(item: Item, stored: StoredRecord | None, own_sync_id: int) -> Problem | None:
    if item.owner == own_sync_id:
        return Problem("not_the_owner", {"owner": item.owner})
    if stored is not None and stored.owner != item.owner:
        return Problem("owned_by_another", {"owner": stored.owner})
    return None


def _is_stored(item: Item, stored: StoredRecord | None) -> bool:
    return stored == StoredRecord(item.owner, item.to, item.version, item.data)


def apply_items(session: Session, items: Sequence[Item], rule: Rule) -> Outcome:
    """Put ``items`` in their places in order, as ``rule`` says, and tell what became of each."""
    outcome = Outcome()
    lock_sequence(session)
    for start in range(0, len(items), _KEYS_AT_ONCE):
        _apply_chunk(session, items[start : start + _KEYS_AT_ONCE], rule, outcome)
    return outcome


def mark_as_pushed(session: Session, ids: Sequence[int]) -> None:
    """Note that these own records are known to have reached the primary as they are."""
    for start in range(0, len(ids), _KEYS_AT_ONCE):
        some = ids[start : start + _KEYS_AT_ONCE]
        session.execute(
            update(Record).where(Record.id.in_(some)).values(waiting=False),
            execution_options={"synchronize_session": False},
        )


def _apply_chunk(session: Session, items: Sequence[Item], rule: Rule, outcome: Outcome) -> None:
    found = find_records(session, [(item.key, item.data) for item in items])
    stored = dict(found)
    rows: dict[Key, dict[str, Any]] = {}
    for item in items:
        verdict = rule(item, stored.get(item.key))
        if isinstance(verdict, Problem):
            outcome.refused.append((item, verdict))
        elif verdict is KNOWN:
            outcome.known.append(item)
        elif verdict is TAKE:
            stored[item.key] = StoredRecord(item.owner, item.to, item.version, item.data)
            # Taken out first: a record that changes again goes to the end of the order.
            rows.pop(item.key, None)
            rows[item.key] = _row(item, found.get(item.key))
            outcome.taken.append(item)
    for row, seq in zip(rows.values(), next_seqs(session, len(rows)), strict=True):
        row["seq"] = seq
    save_rows(session, list(rows.values()))
    mark_as_pushed(
        session, [row_id for item in outcome.known if (row_id := _row_id(found.get(item.key)))]
    )


def _row_id(stored: StoredRecord | None) -> int | None:
    return stored.row_id if stored else None


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
