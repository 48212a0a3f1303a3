"""Servers are killed at random moments under load: nothing may be lost, and nothing doubled."""

import os
import secrets
from contextlib import closing

import pytest

from tests.conftest import NewDatabase
from tests.real.conftest import NewSite
from tests.real.site import KADAVU, NATIONAL, ROTUMA
from tests.soak.storm import Storm

# Of both kinds of database together; `make soak KILLS=n` asks for more.
KILLS = int(os.environ.get("KILLS", "40"))
SEED = int(os.environ.get("SEED", secrets.randbelow(10**6)))


@pytest.mark.timeout(600 + 10 * KILLS)
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
