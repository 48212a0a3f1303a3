"""How many transactions a request takes, and that none reads the settings twice."""

from collections.abc import Callable

import pytest
from sqlalchemy import event
from werkzeug.test import TestResponse

from panel.config import Config
from panel.db import Database
from panel.models.settings import Settings
from panel.web.base.context import reading, writing
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
def test_the_page_is_read_in_one_transaction_with_who_reads(
    manager: Browser,
    database: Database,
    config: Config,
    transactions: list[list[str]],
    make_site: MakeSite,
) -> None:
    make_site(database, config)
    transactions.clear()
    assert manager.get("/").status_code == 200
    assert [reads_of_settings(one) for one in transactions] == [1]
    assert all("BEGIN IMMEDIATE" not in one for one in transactions)


@on_either
def test_what_is_saved_is_drawn_in_the_transaction_that_writes_it(
    manager: Browser,
    database: Database,
    config: Config,
    transactions: list[list[str]],
    make_site: MakeSite,
) -> None:
    make_site(database, config)
    token = manager.token()
    transactions.clear()
    answer = send_interval(manager, token, "30")
    assert answer.status_code == 200
    assert [reads_of_settings(one) for one in transactions] == [0, 1]
    assert ["BEGIN IMMEDIATE" in one for one in transactions] == [False, True]


@on_either
def test_a_form_that_is_wrong_in_itself_begins_no_transaction_that_writes(
    manager: Browser,
    database: Database,
    config: Config,
    transactions: list[list[str]],
    make_site: MakeSite,
) -> None:
    make_site(database, config)
    token = manager.token()
    transactions.clear()
    assert send_interval(manager, token, "thirty").status_code == 422
    assert ["BEGIN IMMEDIATE" in one for one in transactions] == [False]


def test_a_change_shows_what_others_saved_since_the_request_began(
    manager: Browser, database: Database, config: Config
) -> None:
    make_primary(database, config)
    with manager.app.test_request_context("/"):
        assert reading().get_one(Settings, 1).name == "National Store"
        with database.writing() as other:
            other.get_one(Settings, 1).name = "Suva"
        with writing() as session:
            assert session.get_one(Settings, 1).name == "Suva"
            assert reading() is session
        assert reading().get_one(Settings, 1).name == "Suva"


def send_interval(manager: Browser, token: str, minutes: str) -> TestResponse:
    return manager.client.post(
        "/interval",
        data={"interval_minutes": minutes, "version": "1"},
        headers={"HX-Request": "true", "X-CSRF": token},
    )
