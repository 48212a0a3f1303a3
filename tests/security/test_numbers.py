"""Numbers from other servers: none stops a server, and what stopped one before is healed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update

from panel.config import Config
from panel.db import Database, make_engine
from panel.installation import open_installation
from panel.models.records import BEYOND_VERSIONS, ChangeSequence, Record
from panel.models.settings import Settings
from panel.sync.msupply_v5.codec import Change, take_changes
from panel.sync.protocol.batch_codec import Item, pack, unpack
from panel.sync.protocol.column_codec import (
    HIGHEST_PUSHED_VERSION,
    HIGHEST_TOLD_COUNT,
    HIGHEST_VERSION,
)
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import MOST_WAITING, Answer, Request
from panel.sync.satellite import pull
from panel.sync.store import records
from panel.sync.store.records import Write
from panel.sync.store.sequence import MARGIN, heal_numbers
from tests.support.cast import SECRET_KEY

# What was taken before.
OLD_LIMIT = 2**62
pytestmark = pytest.mark.both_databases


class Satellite:
    """An installation that is started again."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.database = open_installation(config).database

    def restart(self) -> None:
        self.database.close()
        self.database = open_installation(self._config).database

    def count(self) -> int:
        with self.database.reading() as session:
            return session.get_one(ChangeSequence, 1).seq

    def write(self, record_id: str) -> int:
        """Write a record and return its version."""
        with self.database.writing() as session:
            records.write_records(session, 7, [Write("stock", record_id, {})])
        return self.count()


def batch(version: int) -> dict[str, Any]:
    return sent(Item(5, "stock", "a", 9, 7, version, "{}"))


def sent(item: Item) -> dict[str, Any]:
    """Return a batch of ``item`` as it comes out of a body."""
    packed: dict[str, Any] = json.loads(json.dumps(pack([item])))
    return packed


def test_a_version_that_could_not_be_passed_on_is_refused() -> None:
    about = {"about": "x" * 16, "version": 1}
    Request.from_json({**about, "records": batch(HIGHEST_PUSHED_VERSION)})
    for version in (HIGHEST_PUSHED_VERSION + 1, OLD_LIMIT):
        with pytest.raises(BadMessage):
            Request.from_json({**about, "records": batch(version)})
    Answer.from_json({"version": 1, "central": batch(HIGHEST_VERSION)})
    with pytest.raises(BadMessage):
        Answer.from_json({"version": 1, "restore": batch(OLD_LIMIT)})


def test_numbers_of_what_waits_fit_the_columns_of_runs() -> None:
    about = {"about": "x" * 16, "version": 1}
    Request.from_json({**about, "waiting": MOST_WAITING})
    Answer.from_json({"version": 1, "to_pull": MOST_WAITING})
    with pytest.raises(BadMessage):
        Request.from_json({**about, "waiting": 2**31 - 1})
    with pytest.raises(BadMessage):
        Answer.from_json({"version": 1, "to_pull": 2**31 - 1})


@pytest.fixture
def satellite(database_url: str, tmp_path: Path) -> Iterator[Satellite]:
    server = Satellite(Config(tmp_path, database_url, (SECRET_KEY,), hardware_id="machine-7"))
    with server.database.writing() as session:
        session.get_one(Settings, 1).sync_id = 7
        records.write_records(session, 7, [Write("stock", name, {}) for name in "ab"])
    yield server
    server.database.close()


def test_what_was_pushed_can_be_changed_over_v5_and_passed_on(satellite: Satellite) -> None:
    with satellite.database.writing() as session:
        session.execute(
            update(Record).values(owner=9, version=HIGHEST_PUSHED_VERSION, waiting=False)
        )
    with satellite.database.writing() as session:
        change = Change("1", "stock", "a", '{"n":1}')
        (taken,) = take_changes(session, 9, 9, [change], spare_waiting=True).taken
    assert taken.version > HIGHEST_PUSHED_VERSION
    assert unpack(sent(taken)) == [taken]
    # What this server writes itself goes on from its own count.
    assert satellite.count() < HIGHEST_TOLD_COUNT


def test_a_primarys_word_does_not_push_the_count_out_of_reach(satellite: Satellite) -> None:
    with satellite.database.writing() as session:
        pull._continue_above(session, HIGHEST_VERSION)
    assert satellite.count() <= HIGHEST_TOLD_COUNT + MARGIN
    assert satellite.write("c") <= HIGHEST_PUSHED_VERSION


def test_a_count_that_stands_out_of_reach_is_healed_at_the_next_start(satellite: Satellite) -> None:
    with satellite.database.writing() as session:
        session.get_one(ChangeSequence, 1).seq = OLD_LIMIT + 1
    assert satellite.write("c") > HIGHEST_VERSION
    with satellite.database.writing() as session:
        foreign = update(Record).where(Record.record_id == "b")
        session.execute(foreign.values(owner=1, version=OLD_LIMIT))
    satellite.restart()
    with satellite.database.reading() as session:
        rows = {row.record_id: row for row in session.scalars(select(Record))}
    assert rows["c"].waiting
    assert rows["b"].version == 0
    assert max(rows.values(), key=lambda row: row.seq).seq == satellite.count()
    assert all(row.version <= HIGHEST_PUSHED_VERSION for row in rows.values())
    assert satellite.write("d") <= HIGHEST_PUSHED_VERSION
    # Nothing is left to heal.
    before = satellite.count()
    satellite.restart()
    assert satellite.count() == before


def test_a_start_reads_no_record_to_find_that_all_is_well(sqlite_url: str) -> None:
    """With a million of them it would be slow."""
    assert f"version > {HIGHEST_VERSION}" == BEYOND_VERSIONS
    database = Database(make_engine(sqlite_url))
    statements: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    heal_numbers(database)
    event.remove(database.engine, "before_cursor_execute", note)
    with database.engine.connect() as connection:
        plans = [
            row[3]
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    reads = [plan for plan in plans if " records " in plan]
    assert len(reads) == 2
    assert all(" INDEX " in plan for plan in reads)
    database.close()
