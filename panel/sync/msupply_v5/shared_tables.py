"""Tables that several v5 sites write: merged field by field into one record of the primary.

The last writer of a field wins; a field that a site does not know is missing in what it pushes, and
stays. Such a record belongs to the primary whoever wrote it first, so that each site and the
applications here may write it. ``TABLES`` says who else gets it (PROTOCOL.md, *Shared tables*).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Row, delete, insert, select
from sqlalchemy.orm import Session

from panel import APP_NAME
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Key, Record
from panel.models.runs import Peer, SiteCopy
from panel.models.settings import Server, SyncProtocol
from panel.sync.msupply_v5.codec import Change
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.json_reader import LARGEST_RECORD_BYTES, dump_json, load_json
from panel.sync.store.apply import Outcome
from panel.sync.store.quarantine import note_unreadable, release
from panel.sync.store.records import keys_in, save_rows, seen_at, size_of
from panel.sync.store.sequence import lock_sequence, next_seqs

_KEYS_AT_ONCE = 500


class Readers(Enum):
    """The sites that get a record of a shared table which a site made."""

    ALL = "all"
    # Those that wrote it themselves, and those that are to see the patient whom it is about.
    CONCERNED = "concerned"


@dataclass(frozen=True)
class SharedTable:
    """The readers of a table's records, and the field that names the patient they are about."""

    readers: Readers
    patient_field: str = ""


NAME, NAME_STORE_JOIN, STORE = "name", "name_store_join", "store"
TABLES: Mapping[str, SharedTable] = {
    NAME: SharedTable(Readers.CONCERNED, "ID"),
    NAME_STORE_JOIN: SharedTable(Readers.CONCERNED, "name_ID"),
    "nameInsuranceJoin": SharedTable(Readers.CONCERNED, "nameID"),
    "om_document": SharedTable(Readers.CONCERNED, "owner_name_ID"),
    "clinician": SharedTable(Readers.ALL),
    "clinician_store_join": SharedTable(Readers.ALL),
    "barcode": SharedTable(Readers.ALL),
}


@dataclass
class _Shared:
    """A shared record as it is here or, once ``is_changed``, as it is to be."""

    key: Key
    row_id: int | None
    owner: int
    to: int | None
    text: str | None
    is_changed: bool = False

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = {} if self.text is None else load_json(self.text)
        return data


def merge(
    session: Session, server: Server, changes: Sequence[Change]
) -> tuple[list[Change], Outcome]:
    """Merge those ``changes`` that ``server`` pushed of shared records, in order.

    Return the changes of other records, and what became of the merged ones.
    """
    lock_sequence(session)
    present = _find(session, [change.key for change in changes if change.table in TABLES])
    sites = _v5_sites(session, {one.owner for one in present.values()})
    merged: dict[Key, _Shared] = {}
    others, outcome = [], Outcome()
    for change in changes:
        one = merged.get(change.key) or present.get(change.key)
        if not _is_shared(change, one, sites):
            others.append(change)
        elif one is not None or change.data is not None:
            result = _merged(change, one)
            if size_of(result.text) > LARGEST_RECORD_BYTES:
                what = f"recordData: larger than {LARGEST_RECORD_BYTES} bytes when merged"
                outcome.refused.append(note_unreadable(session, server.sync_id, change.key, what))
            else:
                merged[change.key] = result
    outcome.taken = _save(session, [one for one in merged.values() if one.is_changed])
    release(session, server.sync_id, outcome.taken)
    _note_copies(session, server, list(merged.values()), present, sites)
    return others, outcome


def _find(session: Session, keys: Sequence[Key]) -> dict[Key, _Shared]:
    columns = (Record.table_name, Record.record_id, Record.id, Record.owner, Record.to, Record.data)
    return {
        (row.table_name, row.record_id): _Shared(
            (row.table_name, row.record_id), row.id, row.owner, row.to, row.data
        )
        for row in _rows(session, keys, columns)
    }


def _rows(session: Session, keys: Sequence[Key], columns: Sequence[Any]) -> Iterator[Row[Any]]:
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _KEYS_AT_ONCE):
        some = wanted[start : start + _KEYS_AT_ONCE]
        query = select(*columns).where(keys_in(session, some))
        yield from session.execute(query)


def _v5_sites(session: Session, sync_ids: Iterable[int]) -> dict[int, int]:
    """Return the rows' ids of those Sync IDs that are sites of mSupply, and not ours."""
    query = select(Server.sync_id, Server.id).join(Peer, Peer.server_id == Server.id)
    query = query.where(Server.sync_id.in_(sync_ids), Server.removed_at.is_(None))
    query = query.where(Peer.protocol == SyncProtocol.V5, Peer.app_name != APP_NAME)
    return {row.sync_id: row.id for row in session.execute(query)}


def _is_shared(change: Change, present: _Shared | None, sites: Mapping[int, int]) -> bool:
    if change.table not in TABLES:
        return False
    if present is not None and present.owner == PRIMARY_SYNC_ID:
        # What is addressed to one server is that server's alone.
        may_write = present.to in (None, PRIMARY_SYNC_ID)
    else:
        # Our own satellites count their versions themselves: nobody else may write theirs.
        may_write = present is None or present.owner in sites
    if change.table != NAME or not may_write:
        return may_write
    is_patient = change.data is not None and load_json(change.data).get("type") == "patient"
    return is_patient or (present is not None and present.data.get("type") == "patient")


def _merged(change: Change, present: _Shared | None) -> _Shared:
    text = change.data
    if text is not None and present is not None:
        text = dump_json({**present.data, **load_json(text)})
    if present is not None and present.owner == PRIMARY_SYNC_ID:
        is_changed = present.is_changed or present.text != text
        return _Shared(change.key, present.row_id, PRIMARY_SYNC_ID, present.to, text, is_changed)
    # To the primary itself: no stream takes it to anybody, and those with a copy get it.
    concerned = TABLES[change.table].readers is Readers.CONCERNED
    to = PRIMARY_SYNC_ID if concerned else None
    row_id = None if present is None else present.row_id
    return _Shared(change.key, row_id, PRIMARY_SYNC_ID, to, text, is_changed=True)


def _save(session: Session, changed: Sequence[_Shared]) -> list[Item]:
    now, items, rows = seen_at(session), [], []
    for one, seq in zip(changed, next_seqs(session, len(changed)), strict=True):
        items.append(Item(seq, *one.key, one.owner, one.to, seq, one.text))
        row = {"id": one.row_id, "table_name": one.key[0], "record_id": one.key[1]}
        row |= {"owner": one.owner, "to": one.to, "version": seq, "seq": seq}
        row |= {"deleted": one.text is None, "data": one.text, "size": size_of(one.text)}
        rows.append({**row, "waiting": False, "changed_at": now})
    save_rows(session, rows)
    return items


# --- who has a copy ------------------------------------------------------------------------------


def _note_copies(
    session: Session,
    server: Server,
    merged: Sequence[_Shared],
    before: Mapping[Key, _Shared],
    sites: Mapping[int, int],
) -> None:
    """Note that the site has what it wrote, and who else is to get it."""
    columns = (Record.table_name, Record.record_id, Record.id, Record.seq)
    rows = list(_rows(session, [one.key for one in merged], columns))
    ids = {(row.table_name, row.record_id): row.id for row in rows}
    mine = SiteCopy.server_id == server.id, SiteCopy.record_id.in_(ids.values())
    session.execute(delete(SiteCopy).where(*mine))
    known = [{"server_id": server.id, "record_id": row.id, "known_seq": row.seq} for row in rows]
    if known:
        session.execute(insert(SiteCopy), known)
    # A record was the site's that made it, before there were shared ones.
    owners = {
        (sites[before[key].owner], record_id)
        for key, record_id in ids.items()
        if key in before and before[key].owner in sites
    }
    _add_copies(session, owners | _concerned(session, merged, ids))


def _concerned(
    session: Session, merged: Sequence[_Shared], ids: Mapping[Key, int]
) -> set[tuple[int, int]]:
    """Return (site, record) for each site that is to see a patient whom a record is about."""
    restricted = [one for one in merged if one.to == PRIMARY_SYNC_ID]
    names = {
        one.key: (NAME, str(one.data.get(TABLES[one.key[0]].patient_field)))
        for one in restricted
        if one.key[0] != NAME
    }
    name_ids = {
        (row.table_name, row.record_id): row.id
        for row in _rows(
            session, list(names.values()), (Record.table_name, Record.record_id, Record.id)
        )
    }
    copies = set()
    readers = _readers(session, name_ids.values())
    joined = _stores_sites(session, [one for one in restricted if one.key[0] == NAME_STORE_JOIN])
    for key, name in names.items():
        if name not in name_ids:
            continue
        if key[0] != NAME_STORE_JOIN:
            copies |= {(site, ids[key]) for site in readers.get(name_ids[name], ())}
        elif key in joined:
            copies |= {(joined[key], ids[key]), (joined[key], name_ids[name])}
    return copies


def _readers(session: Session, record_ids: Iterable[int]) -> dict[int, set[int]]:
    query = select(SiteCopy.record_id, SiteCopy.server_id)
    found: dict[int, set[int]] = {}
    for record_id, server_id in session.execute(query.where(SiteCopy.record_id.in_(record_ids))):
        found.setdefault(record_id, set()).add(server_id)
    return found


def _stores_sites(session: Session, joins: Sequence[_Shared]) -> dict[Key, int]:
    """Return the row's id of the site whose store each join is of, if it is active."""
    stores = {
        one.key: (STORE, str(one.data.get("store_ID")))
        for one in joins
        if one.text is not None and one.data.get("inactive") is not True
    }
    sync_ids: dict[Key, Any] = {
        (row.table_name, row.record_id): load_json(row.data).get("sync_id_remote_site")
        for row in _rows(
            session, list(stores.values()), (Record.table_name, Record.record_id, Record.data)
        )
        if row.data is not None
    }
    sites = _v5_sites(session, {one for one in sync_ids.values() if type(one) is int})
    found = {key: sites.get(sync_ids.get(store, 0)) for key, store in stores.items()}
    return {key: site for key, site in found.items() if site is not None}


def _add_copies(session: Session, copies: set[tuple[int, int]]) -> None:
    """Let these sites get these records, unless they have them already."""
    record_ids = {record_id for _, record_id in copies}
    query = select(SiteCopy.server_id, SiteCopy.record_id).where(SiteCopy.record_id.in_(record_ids))
    new = copies - {(row.server_id, row.record_id) for row in session.execute(query)}
    if new:
        session.execute(
            insert(SiteCopy),
            [{"server_id": site, "record_id": one, "known_seq": 0} for site, one in sorted(new)],
        )
