"""Killed, restored, copied and cut off under load, servers lose nothing without a sentence."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import select

from panel.models.records import Record
from tests.conftest import NewDatabase
from tests.real.conftest import NewSite
from tests.soak.storm import Storm
from tests.support.faulty_line import FaultyLine
from tests.support.real_site import KADAVU, NATIONAL, ROTUMA, Site

# On each kind of database, each kind of event once; `make soak EVENTS=n` asks for more.
EVENTS = int(os.environ.get("EVENTS", "7"))
SEED = int(os.environ.get("SEED") or 1)

SECONDS_AN_EVENT = 10


@pytest.fixture
def primary(new_site: NewSite, new_database: NewDatabase) -> Site:
    return new_site(NATIONAL, new_database(True), others=(KADAVU, ROTUMA))


@pytest.fixture
def line(primary: Site) -> Iterator[FaultyLine]:
    line = FaultyLine(primary.process.port)
    yield line
    line.close()


@pytest.mark.both_databases
@pytest.mark.timeout(300 + SECONDS_AN_EVENT * EVENTS)
def test_whatever_happens_nothing_is_lost_without_a_sentence(
    primary: Site,
    line: FaultyLine,
    new_site: NewSite,
    new_database: NewDatabase,
    new_sqlite: NewDatabase,
) -> None:
    url = f"http://127.0.0.1:{line.port}/"
    kadavu = new_site(KADAVU, new_sqlite(True), primary=primary, url=url, batch=10)
    rotuma = new_site(ROTUMA, new_database(True), primary=primary, url=url)
    copy = new_site(KADAVU, new_sqlite(True), primary=primary, url=url)
    kind = primary.database.engine.dialect.name
    with closing(Storm(primary, [kadavu, rotuma], copy, line, SEED)) as storm:
        storm.rage(EVENTS, lambda text: print(f"{kind}: {text}", flush=True))
        runs = storm.settle()
        faults = storm.find_faults()
    print(
        f"{kind}: {storm.events.total()} events in {storm.seconds:.0f} s"
        f" ({', '.join(f'{count} x {event}' for event, count in storm.events.items())}),"
        f" {storm.written} writes acknowledged, {len(primary.rows())} records on the primary; of"
        f" the satellites' runs {storm.count_runs('well')} went well, {storm.count_runs('failed')}"
        f" failed and {storm.count_runs('cut_off')} were cut off; all alike after {runs} more."
        " Differences were announced:",
        *(f"{count} by {sentence!r}" for sentence, count in storm.announced.most_common()),
        f"{len(faults)} faults (SEED={SEED})",
        sep="\n  ",
        flush=True,
    )
    assert not faults, f"SEED={SEED}: {faults}"


def test_the_comparison_sees_what_is_lost_and_what_is_different(
    primary: Site, line: FaultyLine, new_site: NewSite, new_sqlite: NewDatabase
) -> None:
    kadavu = new_site(KADAVU, new_sqlite(True), primary=primary)
    with closing(Storm(primary, [kadavu], kadavu, line, SEED)) as storm:
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
