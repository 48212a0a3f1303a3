"""The migrations: from the first to the last with data, by many at once, whole or not at all."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from panel.db import make_engine
from panel.errors import Refusal
from panel.migrate import newest_revision, present_revision, upgrade, upgrade_if_needed
from panel.models.base import Base
from panel.paths import MIGRATIONS
from tests.migrations.rows import Kept, read_row, reflect, write_row

pytestmark = pytest.mark.both_databases

REVISIONS = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
ONLY_INDEXES = ("0003", "0009", "0018")
# Columns that are empty until a sync fills them.
ONLY_COLUMNS = ("0007", "0009", "0010", "0012", "0013", "0014", "0015", "0017")
SERVER = (
    "INSERT INTO servers (sync_id, name, store, url, user_name, version, name_key, store_key,"
    " user_name_key) VALUES (:sync_id, :name, 'a', '', '', 1, :name, 'a', '')"
)
ROOT = Path(__file__).resolve().parents[2]
START = (
    "import sys; from panel.migrate import upgrade_if_needed;"
    " upgrade_if_needed(sys.stdin.readline().strip())"
)


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url)
    yield engine
    engine.dispose()


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def test_data_of_every_version_is_there_after_the_last(empty: Engine) -> None:
    kept: Kept = {}
    for revision in REVISIONS:
        upgrade(url_of(empty), revision)
        with empty.begin() as connection:
            new = [table for table in reflect(connection) if table.name not in kept]
            assert new or revision in (*ONLY_INDEXES, *ONLY_COLUMNS), (
                f"{revision} made no table: add here what it changed in the older ones"
            )
            for table in new:
                kept[table.name] = write_row(connection, table)
    with empty.connect() as connection:
        for table in reflect(connection):
            present = read_row(connection, table)
            assert {name: present[name] for name in kept[table.name]} == kept[table.name]
    with Session(empty) as session:
        for mapper in Base.registry.mappers:
            assert len(session.scalars(select(mapper.class_)).all()) == 1


def test_the_migrated_tables_are_those_of_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []
        assert _checks(connection) == _checks_of_models()


def _checks(connection: Connection) -> set[str]:
    inspector = inspect(connection)
    return {
        str(check["name"])
        for table in inspector.get_table_names()
        for check in inspector.get_check_constraints(table)
    }


def _checks_of_models() -> set[str]:
    return {
        str(constraint.name)
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }


def test_the_one_row_tables_have_their_row(engine: Engine) -> None:
    with engine.connect() as connection:
        filled = {
            table.name: connection.scalar(select(func.count()).select_from(table))
            for table in reflect(connection)
        }
    with_a_row = {name for name, count in filled.items() if count}
    assert with_a_row == {"settings", "authorisation_code", "clock", "history", "loop", "link"}


def test_keys_of_the_list_compare_by_code_points(engine: Engine) -> None:
    with engine.begin() as connection:
        for number, name in enumerate(("a", "B", "é", "z"), start=2):
            connection.execute(text(SERVER), {"sync_id": number, "name": name})
        names = connection.scalars(text("SELECT name FROM servers ORDER BY name_key"))
        assert names.all() == ["B", "a", "z", "é"]


# --- many at once, again, and half ----------------------------------------------------------------


def test_processes_that_start_together_upgrade_once(empty: Engine) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        for _ in range(3)
    ]
    # Loaded or loading, they find their line there: they begin as close together as can be.
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(url_of(empty) + "\n")
        process.stdin.close()
        process.stdin = None
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert present_revision(empty) == newest_revision()
    with empty.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM settings")) == 1


def test_an_upgrade_again_changes_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE settings SET name = 'Kadavu'"))
    upgrade(url_of(engine))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT name FROM settings")) == "Kadavu"


def test_a_database_of_a_newer_panel_is_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Refusal, match="newer version"):
        upgrade_if_needed(url_of(engine))
    assert present_revision(engine) == "9999"


def test_an_upgrade_that_fails_leaves_nothing_of_itself(empty: Engine) -> None:
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE tokens (in_the_way INTEGER)"))
    with pytest.raises(DBAPIError, match="tokens"):
        upgrade(url_of(empty))
    assert present_revision(empty) is None
    assert inspect(empty).get_table_names() == ["tokens"]
    with empty.begin() as connection:
        connection.execute(text("DROP TABLE tokens"))
    upgrade(url_of(empty))
    assert present_revision(empty) == newest_revision()


def test_revisions_follow_one_another_by_number() -> None:
    assert newest_revision() == REVISIONS[-1]
    assert [int(revision) for revision in REVISIONS] == list(range(1, len(REVISIONS) + 1))
    for number, path in enumerate(sorted((MIGRATIONS / "versions").glob("[0-9]*.py"))):
        before = re.search(r'^down_revision = (?:None|"(\d+)")$', path.read_text("utf-8"), re.M)
        assert before is not None
        assert before[1] == (REVISIONS[number - 1] if number else None)


# --- what the database itself refuses -------------------------------------------------------------

ROW = (
    "INSERT INTO activity (at, person, address, via, what, subject, label)"
    " VALUES ('2026-01-31 12:00:00+00:00', 'Asha', '', 'web', 'signed_in', '', '')"
)


@pytest.mark.parametrize(
    "act", ["UPDATE activity SET person = 'Ben'", "DELETE FROM activity", "TRUNCATE activity"]
)
def test_activity_is_kept_as_it_was_written(engine: Engine, act: str) -> None:
    if engine.dialect.name == "sqlite" and act.startswith("TRUNCATE"):
        act = "INSERT OR REPLACE INTO activity SELECT * FROM activity"
    with engine.begin() as connection:
        connection.execute(text(ROW))
    with pytest.raises(DBAPIError, match="kept as it was written"), engine.begin() as connection:
        connection.execute(text(act))
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT person FROM activity")).all() == ["Asha"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE settings SET interval_minutes = 10081",
        "UPDATE settings SET interval_minutes = -1",
        "UPDATE settings SET request_size = 9",
        "UPDATE settings SET request_size = 5001",
        "UPDATE settings SET sync_id = 0",
        "UPDATE settings SET id = 2",
        "UPDATE authorisation_code SET id = 2",
        "UPDATE servers SET sync_id = 0",
        "UPDATE servers SET sync_id = 7",
    ],
)
def test_the_database_refuses_what_the_panel_would(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        for sync_id in (7, 8):
            connection.execute(text(SERVER), {"sync_id": sync_id, "name": "a"})
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text(statement))
