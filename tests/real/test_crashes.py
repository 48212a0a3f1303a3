"""Servers are killed at random moments under load: nothing may be lost, and nothing doubled."""

import os
from contextlib import closing

import pytest
from sqlalchemy import select

from panel.models.records import Record
from tests.conftest import NewDatabase
from tests.real.conftest import NewSite
from tests.soak.storm import Storm
from tests.support.real_site import KADAVU, NATIONAL, ROTUMA

# Of both kinds of database together; `make soak KILLS=n` asks for more.
KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("SEED") or 1)


@pytest.mark.both_databases
@pytest.mark.timeout(300 + 10 * KILLS)
def test_killed_servers_lose_nothing_and_double_nothing(
    new_site: NewSite, new_database: NewDatabase, new_sqlite: NewDatabase
) -> None:
    primary = new_site(NATIONAL, new_database(True), others=(KADAVU, ROTUMA))
    satellites = [
        new_site(KADAVU, new_sqlite(True), primary=primary, batch=10),
        new_site(ROTUMA, new_database(True), primary=primary),
    ]
    kind = primary.database.engine.dialect.name
    with closing(Storm(primary, satellites, SEED)) as storm:
        storm.rage(KILLS // 2, lambda text: print(f"{kind}: {text}", flush=True))
        runs = storm.settle()
        faults = storm.find_faults()
    print(
        f"{kind}: {storm.kills} kills in {storm.seconds:.0f} s, {storm.written} writes"
        f" acknowledged, {len(primary.rows())} records on the primary; of the satellites' runs"
        f" {storm.count_runs('well')} went well, {storm.count_runs('failed')} failed and"
        f" {storm.count_runs('cut_off')} were cut off; all alike after {runs} more;"
        f" {len(faults)} faults (SEED={SEED})",
        flush=True,
    )
    assert not faults, f"SEED={SEED}: {faults}"


def test_the_comparison_sees_what_is_lost_and_what_is_different(
    new_site: NewSite, new_sqlite: NewDatabase
) -> None:
    primary = new_site(NATIONAL, new_sqlite(True), others=(KADAVU,))
    kadavu = new_site(KADAVU, new_sqlite(True), primary=primary)
    with closing(Storm(primary, [kadavu], SEED)) as storm:
        while storm.written < 60:
            for author in storm.authors.values():
                author.write()
        storm.settle()
        assert storm.find_faults() == []

        own = Record.owner == KADAVU.sync_id
        with kadavu.database.writing() as session:
            lost = session.scalars(select(Record).where(own, ~Record.deleted)).first()
            session.delete(lost)
        with primary.database.writing() as session:
            central = Record.owner == NATIONAL.sync_id
            changed = session.scalars(select(Record).where(central, ~Record.deleted)).first()
            assert changed is not None
            changed.data = '{"n": 0}'
        faults = "\n".join(storm.find_faults())
    assert lost is not None
    assert f"Kadavu Health Centre: ('{lost.table_name}', '{lost.record_id}') is None" in faults
    assert f"National Store: ('{changed.table_name}', '{changed.record_id}') is 0" in faults
    assert "Kadavu Health Centre, own: primary" in faults
    assert "a reader has another" in faults
