"""How many transactions a request takes, and that none reads the settings twice."""

from collections.abc import Callable

import pytest
from sqlalchemy import event

from panel.config import Config
from panel.db import Database
from tests.support.web_sites import make_primary, make_satellite
from tests.web.conftest import Browser

MakeSite = Callable[[Database, Config], object]
on_either = pytest.mark.parametrize("make_site", [make_primary, make_satellite])


@pytest.fixture
def transactions(database: Database) -> list[list[str]]:
    """The statements of each transaction since the list was last emptied."""
    begun: list[list[str]] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("BEGIN"):
            begun.append([])
        begun[-1].append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    return begun


def reads_of_settings(transaction: list[str]) -> int:
    return sum("FROM settings" in statement for statement in transaction)


@on_either
def test_the_page_asks_who_reads_and_then_what_to_show(
    manager: Browser,
    database: Database,
    config: Config,
    transactions: list[list[str]],
    make_site: MakeSite,
) -> None:
    make_site(database, config)
    transactions.clear()
    assert manager.get("/").status_code == 200
    assert [reads_of_settings(one) for one in transactions] == [0, 1]
    assert all("BEGIN IMMEDIATE" not in one for one in transactions)


@on_either
def test_saving_the_interval_writes_once_and_reads_the_page_once(
    manager: Browser,
    database: Database,
    config: Config,
    transactions: list[list[str]],
    make_site: MakeSite,
) -> None:
    make_site(database, config)
    token = manager.token()
    transactions.clear()
    answer = manager.client.post(
        "/interval",
        data={"interval_minutes": "30", "version": "1"},
        headers={"HX-Request": "true", "X-CSRF": token},
    )
    assert answer.status_code == 200
    assert [reads_of_settings(one) for one in transactions] == [0, 1, 1]
    assert ["BEGIN IMMEDIATE" in one for one in transactions] == [False, True, False]
