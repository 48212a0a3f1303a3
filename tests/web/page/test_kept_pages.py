"""A page that is asked for again: the same bytes while nothing changed, and nobody's but one's own.

The clock stands still in these tests, so that every page that may be kept is.
"""

from collections.abc import Callable
from ipaddress import ip_network

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from panel.accounts import authorisation_code, people
from panel.accounts.people import Permission
from panel.config import Config
from panel.db import Database
from panel.models.people import Person
from panel.preferences.interval import set_interval
from panel.web.page import kept_pages
from tests.support.clock import Clock
from tests.support.web_sites import make_primary
from tests.web.conftest import MANAGER, OPERATOR, VIEWER, Browser, MakeApp, signed_in


@pytest.fixture(autouse=True)
def primary(database: Database, config: Config) -> None:
    make_primary(database, config)


@pytest.fixture
def queries(database: Database) -> list[str]:
    """What the database was asked, since the list was last emptied."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith("BEGIN"):
            asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    return asked


def test_the_same_request_gets_the_same_bytes_for_one_query(
    manager: Browser, queries: list[str]
) -> None:
    page = manager.get("/")
    queries.clear()
    again = manager.get("/")
    assert (again.data, again.headers) == (page.data, page.headers)
    assert len(queries) == 1


def test_the_next_minute_draws_it_anew(manager: Browser, time: Clock, queries: list[str]) -> None:
    manager.get("/")
    time.pass_by(seconds=59)
    queries.clear()
    manager.get("/")
    assert len(queries) == 1
    time.pass_by(seconds=1)
    manager.get("/")
    assert len(queries) > 2


def test_a_clock_that_was_set_back_draws_it_anew(
    manager: Browser, time: Clock, queries: list[str]
) -> None:
    manager.get("/")
    time.pass_by(hours=-1)
    queries.clear()
    manager.get("/")
    assert len(queries) > 1


def test_another_request_gets_a_page_of_its_own(manager: Browser, queries: list[str]) -> None:
    manager.get("/")
    queries.clear()
    assert "Intervalle" in manager.get("/", Accept_Language="fr").text
    assert len(queries) > 1


def test_everybody_gets_their_own(app: Flask, manager: Browser, viewer: Browser) -> None:
    assert MANAGER in manager.get("/").text
    assert MANAGER not in viewer.get("/").text
    assert VIEWER in viewer.get("/").text
    assert Browser(app).get("/").status_code == 303


def test_what_another_process_changes_is_shown_at_once(
    manager: Browser, database: Database
) -> None:
    manager.get("/")
    with database.writing() as session:
        set_interval(session, OPERATOR, 37, 1)
    assert 'value="37"' in manager.get("/").text


def _disable(database: Database, person_id: int) -> None:
    with database.writing() as session:
        people.disable(session, OPERATOR, person_id)


def _give_password(database: Database, person_id: int) -> None:
    with database.writing() as session:
        people.set_password(session, OPERATOR, person_id, "another password")


@pytest.mark.parametrize("shut_out", [_disable, _give_password])
def test_who_is_shut_out_sees_nothing_more_of_it(
    app: Flask, database: Database, shut_out: Callable[[Database, int], None]
) -> None:
    viewer = signed_in(app, VIEWER)
    assert viewer.get("/").status_code == 200
    shut_out(database, _id_of(database, VIEWER))
    assert viewer.get("/").status_code == 303


def test_what_somebody_may_no_longer_do_is_gone_at_once(
    manager: Browser, database: Database
) -> None:
    with database.writing() as session:
        people.add_person(session, OPERATOR, "ben", "a long password", tuple(Permission))
    assert "Click to un-lock" in manager.get("/").text
    with database.writing() as session:
        people.set_permissions(session, OPERATOR, _id_of(database, MANAGER), [Permission.VIEW])
    assert "Click to un-lock" not in manager.get("/").text


def test_an_unlock_ends_within_the_minute_that_it_ends_in(manager: Browser, time: Clock) -> None:
    time.pass_by(seconds=30)
    manager.unlock()
    time.pass_by(minutes=14, seconds=45)
    assert "Lock now" in manager.get("/").text
    time.pass_by(seconds=20)
    assert "Lock now" not in manager.get("/").text


def test_a_new_code_locks_at_once(unlocked: Browser, database: Database) -> None:
    assert "Lock now" in unlocked.get("/").text
    with database.writing() as session:
        authorisation_code.set_code(session, OPERATOR, "another long code")
    assert "Lock now" not in unlocked.get("/").text


def test_whom_the_proxy_signs_in_gets_the_page_at_the_first_request(make_app: MakeApp) -> None:
    app = make_app(trusted_proxies=(ip_network("10.1.0.0/16"),), remote_user_header="X-Remote-User")
    colleague = Browser(app, REMOTE_ADDR="10.1.0.1")
    for _ in range(3):
        page = colleague.get("/", X_Remote_User=MANAGER)
        assert page.status_code == 200
        assert MANAGER in page.text
    assert VIEWER in colleague.get("/", X_Remote_User=VIEWER).text
    assert colleague.get("/").status_code == 303


def test_a_cookie_that_is_none_of_ours_is_a_strangers(nobody: Browser) -> None:
    nobody.set_cookie("s", "garbage")
    assert nobody.get("/").status_code == 303


def test_strangers_cost_no_query(nobody: Browser, queries: list[str]) -> None:
    assert nobody.get("/").status_code == 303
    assert queries == []


def test_an_error_is_not_kept(
    app: Flask, manager: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.testing = False
    with monkeypatch.context() as broken:
        broken.setattr("panel.web.base.headers._policy", _fail)
        assert manager.get("/").status_code == 500
    assert manager.get("/").status_code == 200


def test_a_very_large_page_is_not_kept(
    manager: Browser, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_pages, "LARGEST_PAGE_BYTES", 1_000)
    manager.get("/")
    queries.clear()
    manager.get("/")
    assert len(queries) > 1


def test_what_is_looked_for_is_as_long_as_a_name(manager: Browser) -> None:
    assert len(manager.get("/?find=" + "x" * 10_000).text) < 40_000


def test_only_the_last_are_kept(
    manager: Browser, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_pages, "MOST_PAGES", 1)
    manager.get("/")
    manager.get("/", X_Whatever="1")
    queries.clear()
    manager.get("/")
    assert len(queries) > 1


def test_its_head_alone_may_be_asked_for(manager: Browser) -> None:
    answer = manager.client.head("/")
    assert answer.status_code == 200
    assert not answer.data


def test_without_the_mark_a_page_is_drawn_as_ever(
    manager: Browser, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.get("/")
    monkeypatch.setattr(kept_pages, "data_mark", _fail)
    queries.clear()
    assert manager.get("/").status_code == 200
    assert queries


def _fail(*_arguments: object) -> None:
    raise OperationalError("SELECT", {}, Exception("database is locked"))


def _id_of(database: Database, name: str) -> int:
    with database.reading() as session:
        return session.scalars(select(Person.id).where(Person.name == name)).one()
