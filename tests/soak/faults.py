"""Compares servers after a storm: with what people were told, and with each other."""

import json
from collections.abc import Iterable, Mapping

from sqlalchemy import select

from panel.models.records import Inbox, Quarantined
from panel.sync.store.quarantine import KEPT_SOURCE
from tests.soak.people import Author, Key, Reader
from tests.support.real_site import Row, Site


def find_faults(
    primary: Site, authors: Mapping[Site, Author], readers: Mapping[Site, Reader]
) -> list[str]:
    """Return what is lost, made up or different, in words."""
    faults: list[str] = []
    for site, author in authors.items():
        faults += _lost(site, author)
        faults += _not_followed(site, readers[site])
        if site is not primary:
            faults += _different(primary, site)
    return faults


def rows_by_key(rows: Iterable[Row]) -> dict[Key, Row]:
    """Return rows by table and record id."""
    return {(row[0], row[1]): row for row in rows}


def number_of(row: Row | None) -> int | None:
    """Return the number that was written last; None for a record that is deleted or missing."""
    return None if row is None or row[6] is None else int(json.loads(row[6])["n"])


def kept(site: Site) -> set[tuple[Key, int]]:
    """Return the record and number of every content that the server keeps aside."""
    with site.database.reading() as session:
        rows = session.scalars(select(Quarantined).where(Quarantined.source == KEPT_SOURCE)).all()
    return {((r.table_name, r.record_id), json.loads(r.data)["n"]) for r in rows if r.data}


def _lost(site: Site, author: Author) -> list[str]:
    """Return what the application at ``site`` was told is stored, and is not."""
    present = rows_by_key(site.rows(owner=site.place.sync_id))
    faults = [f"{site.place.name} made up {key}" for key in present.keys() - author.possible.keys()]
    for key, possible in author.possible.items():
        value = number_of(present.get(key))
        if value not in possible:
            faults.append(f"{site.place.name}: {key} is {value}, not {possible}")
    return faults


def _not_followed(site: Site, reader: Reader) -> list[str]:
    """Return what an application that follows the changes knows otherwise than the server."""
    reader.catch_up()
    present: dict[Key, object] = {
        (row[0], row[1]): json.loads(row[6]) for row in site.rows() if row[6] is not None
    }
    wrong = {
        key
        for key in present.keys() | reader.copy.keys()
        if present.get(key) != reader.copy.get(key)
    }
    return [f"{site.place.name}: a reader has another {key}" for key in sorted(wrong)]


def _different(primary: Site, satellite: Site) -> list[str]:
    """Return what the two do not have alike, of all that both should have.

    Of what a restored primary lost, a satellite that had it keeps a tombstone.
    """
    number, name = satellite.place.sync_id, satellite.place.name
    pairs = {
        "own": (_alive(primary.rows(owner=number)), _alive(satellite.rows(owner=number))),
        "central": (_alive(primary.central()), _alive(satellite.central())),
        "addressed": (_alive(primary.rows(to=number)), _alive(satellite.rows(to=number))),
    }
    faults = [
        f"{name}, {kind}: primary {sorted(there - here)[:3]} satellite {sorted(here - there)[:3]}"
        for kind, (there, here) in pairs.items()
        if there != here
    ]
    foreign = _alive(satellite.rows()).difference(*(here for _, here in pairs.values()))
    faults += [f"{name} has {row}, which is not for it" for row in sorted(foreign)]
    for site in (primary, satellite):
        for table, waits in ((Inbox, Inbox.id > 0), (Quarantined, Quarantined.source > 0)):
            if count := site.count(table, waits):
                faults.append(f"{site.place.name} still has {count} in {table.__tablename__}")
    return faults


def _alive(rows: Iterable[Row]) -> set[Row]:
    return {row for row in rows if not row[5]}
