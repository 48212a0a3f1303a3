"""The list: find, sort, pages; and that 40 000 rows take no more queries than 40."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from panel.db import Database
from panel.models.settings import Server
from panel.preferences.server_fields import ServerFields
from panel.preferences.server_list import (
    PAGE_SIZE,
    Listing,
    Look,
    ServerState,
    list_servers,
)
from panel.preferences.servers import remove_servers
from panel.security.vault import Vault
from tests.support.cast import PRIMARY
from tests.support.clock import Clock
from tests.support.steps import SETTER_UP, add, become

pytestmark = pytest.mark.both_databases

MANY = 40_000


@pytest.fixture
def primary(database: Database, vault: Vault) -> Database:
    become(database, vault, PRIMARY)
    return database


def listed(database: Database, **how: Any) -> Listing:
    with database.reading() as session:
        return list_servers(session, Look(**how))


def ids(database: Database, **how: Any) -> list[int]:
    return [server.sync_id for server in listed(database, **how).rows]


def fill(database: Database, count: int) -> None:
    """Add ``count`` servers, named and numbered so that every order is another one."""
    with database.writing() as session:
        session.execute(
            text(
                "INSERT INTO servers (sync_id, name, store, url, user_name, version,"
                " name_key, store_key, user_name_key)"
                " WITH RECURSIVE numbers (n) AS"
                " (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n <= :count)"
                " SELECT n, 'Site ' || (n * 7919 % 40009), 'ST-' || (n * 31 % 40009), '', '',"
                " 1, 'site ' || (n * 7919 % 40009), 'st-' || (n * 31 % 40009), ''"
                " FROM numbers"
            ),
            {"count": count},
        )
        session.execute(
            text(
                "INSERT INTO server_words (word, server_id) SELECT name_key, id FROM servers UNION"
                " SELECT substr(name_key, 6), id FROM servers UNION"
                " SELECT store_key, id FROM servers"
            )
        )
    with database.engine.begin() as connection:
        # What a database does by itself after a while.
        for table in ("servers", "server_words"):
            connection.execute(text(f"ANALYZE {table}"))


@contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect what is sent to the database meanwhile, as statement and parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def plan(database: Database, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if database.engine.dialect.name == "sqlite" else "EXPLAIN"
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
        return "\n".join(str(row) for row in rows)


# --- finding --------------------------------------------------------------------------------------


@pytest.fixture
def islands(primary: Database) -> Database:
    add(
        primary,
        ServerFields(12, "Ärzte-Station", "AST-01"),
        ServerFields(120, "Kadavu", "KDV-01", user_name="nurse", password="its own word"),
        ServerFields(1_299, "kadavu north", "100%"),
        ServerFields(21, "Levuka_", "NUR-07"),
        ServerFields(77, "Hôpital Central Saint-Louis-Dakar", "HCS"),
        ServerFields(2_147_483_647, "Last", "LST"),
    )
    return primary


FOUND_BY = [
    ("", [12, 21, 77, 120, 1_299, 2_147_483_647]),
    ("12", [12, 120, 1_299]),
    ("2147483647", [2_147_483_647]),
    ("21474836470", []),
    ("9" * 60, []),
    ("0", [12, 21, 120]),
    ("012", []),
    ("kada", [120, 1_299]),
    ("KADAVU ", [120, 1_299]),
    ("ä", [12]),
    ("arzte", [12]),
    ("station", [12]),
    ("hôpital CEN", [77]),
    ("hopital", [77]),
    ("central", [77]),
    ("louis-d", [77]),
    ("avu", []),
    ("nur", [21, 120]),
    ("100", [1_299]),
    ("100%", [1_299]),
    ("%", []),
    ("levuka_", [21]),
    ("levuka__", []),
    ("l", [21, 77, 2_147_483_647]),
    ("\x00l", [21, 77, 2_147_483_647]),
    ("²", []),
    ("' OR 1=1", []),
]


def test_find_goes_by_the_beginning(islands: Database) -> None:
    for find, found in FOUND_BY:
        listing = listed(islands, find=find)
        assert ([server.sync_id for server in listing.rows], find) == (found, find)
        assert (listing.count, listing.total) == (len(found), 6)


def test_removed_rows_are_not_found(islands: Database) -> None:
    with islands.writing() as session:
        remove_servers(session, SETTER_UP, [list_servers(session, Look(find="kadavu")).rows[0].id])
    assert ids(islands, find="kad") == [1_299]
    assert listed(islands).total == 5


# --- sorting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["sync_id", "name", "store", "user_name", "url", "hardware_id"])
def test_every_column_sorts_both_ways_and_empty_is_lowest(primary: Database, column: str) -> None:
    low, high, empty = add(
        primary,
        ServerFields(3, "alpha", "a", user_name="a", password="reef and palm", url="a.example"),
        ServerFields(5, "Beta", "B", user_name="B", password="reef and palm", url="b.example"),
        ServerFields(4, "aaa", "0"),
    )
    with primary.writing() as session:
        session.get_one(Server, low.id).hardware_id = "1"
        session.get_one(Server, high.id).hardware_id = "2"
    expected = [3, 4, 5] if column == "sync_id" else [empty.sync_id, 3, 5]
    assert ids(primary, sort=column) == expected
    assert ids(primary, sort=column, descending=True) == expected[::-1]


def test_who_was_never_seen_comes_before_who_was_seen_longest_ago(
    primary: Database, time: Clock
) -> None:
    rows = add(primary, *(ServerFields(number, "a", "a") for number in (2, 3, 4)))
    with primary.writing() as session:
        session.get_one(Server, rows[0].id).last_success_at = time.now
        session.get_one(Server, rows[2].id).last_success_at = time.now - timedelta(days=4)
    assert ids(primary, sort="last_success_at") == [3, 4, 2]
    assert ids(primary, sort="last_success_at", descending=True) == [2, 4, 3]


def test_equals_are_in_the_order_of_their_sync_ids(primary: Database) -> None:
    add(primary, *(ServerFields(number, "same", "same") for number in (9, 3, 6)))
    assert ids(primary, sort="name") == [3, 6, 9]


def test_an_unknown_column_sorts_by_sync_id(primary: Database) -> None:
    add(primary, *(ServerFields(number, "a", "a") for number in (9, 3)))
    assert ids(primary, sort="password_hash") == [3, 9]


def test_case_does_not_count_in_the_order(primary: Database) -> None:
    add(primary, ServerFields(2, "Zulu", "z"), ServerFields(3, "alpha", "a"))
    assert ids(primary, sort="name") == [3, 2]


# --- pages ----------------------------------------------------------------------------------------


def test_pages_hold_fifty_and_leave_none_out(primary: Database) -> None:
    fill(primary, 120)
    listing = listed(primary)
    assert (listing.count, listing.pages, len(listing.rows)) == (120, 3, PAGE_SIZE)
    every = [number for page in (1, 2, 3) for number in ids(primary, page=page)]
    assert every == list(range(2, 122))


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-5, 1), (4, 3), (10**30, 3)])
def test_a_page_that_is_not_there_becomes_the_nearest(
    primary: Database, asked: int, given: int
) -> None:
    fill(primary, 120)
    assert listed(primary, page=asked).page == given


def test_an_empty_list_has_one_empty_page(primary: Database) -> None:
    assert listed(primary, page=7) == Listing([], 0, 0, 1, 1)


# --- many -----------------------------------------------------------------------------------------

LOOKS: list[dict[str, Any]] = [
    {},
    {"page": 400},
    {"find": "12"},
    {"find": "site 1"},
    {"find": "s", "sort": "store", "descending": True, "page": 3},
    {"sort": "name"},
    {"sort": "store", "descending": True},
    {"sort": "user_name"},
    {"sort": "url"},
    {"sort": "last_success_at"},
    {"state": ServerState.NOT_SEEN, "find": "site 1"},
]


def test_forty_thousand_rows_take_the_queries_of_forty(primary: Database) -> None:
    counts = []
    for rows in (40, MANY):
        with primary.writing() as session:
            session.execute(text("DELETE FROM server_words"))
            session.execute(text("DELETE FROM servers"))
        fill(primary, rows)
        with statements(primary.engine) as sent:
            for look in LOOKS:
                listed(primary, **look)
        counts.append(len([statement for statement, _ in sent if statement.startswith("SELECT")]))
    assert counts[0] == counts[1] <= 3 * len(LOOKS)


def test_forty_thousand_rows_are_read_along_an_index(primary: Database) -> None:
    fill(primary, MANY)
    looks: list[dict[str, Any]] = [{}, {"find": "1234"}, {"find": "site 123"}, {"sort": "name"}]
    for look in looks:
        with statements(primary.engine) as sent:
            listed(primary, **look)
        statement, parameters = sent[-1]
        assert "ORDER BY" in statement
        how = plan(primary, statement, parameters)
        if primary.engine.dialect.name == "sqlite":
            whole = [line for line in how.splitlines() if "SCAN servers" in line]
            assert not [line for line in whole if "USING" not in line], (look, how)
        else:
            assert "Seq Scan on servers" not in how, (look, how)


def test_pages_of_forty_thousand_hold_what_those_of_few_would(primary: Database) -> None:
    fill(primary, MANY)
    listing = listed(primary, find="399")
    expected = [
        number
        for number in range(2, MANY + 2)
        if any(str(one).startswith("399") for one in (number, number * 7919 % 40009))
    ]
    assert [server.sync_id for server in listing.rows] == expected[:PAGE_SIZE]
    assert listing.count == len(expected)


def test_a_copied_filter_is_cut_to_what_a_name_may_have(primary: Database) -> None:
    (server,) = add(primary, ServerFields(2, "a" * 80, "a"))
    assert ids(primary, find="a" * 200) == [server.sync_id]
