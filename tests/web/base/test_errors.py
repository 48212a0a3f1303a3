"""One shape for every error, and never a traceback."""

from contextlib import closing
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import text

from panel.accounts import people
from panel.accounts.people import Permission
from panel.config import Config
from panel.db import Database, make_engine
from panel.installation import Installation
from panel.models.settings import lock_settings
from panel.web.app import create_app
from tests.conftest import NewDatabase
from tests.support.cast import MANAGER, OPERATOR, PASSWORD
from tests.web.conftest import Browser

CASES = [
    ("GET", "/nowhere", {}, 404, "not_found"),
    ("POST", "/people/99999999999999999999/password", {}, 404, "not_found"),
    ("DELETE", "/people", {}, 405, "method_not_allowed"),
    ("POST", "/people", {"name": "x" * 300_000}, 413, "too_large"),
    ("POST", "/people/77/disable", {}, 404, "not_found"),
]


@pytest.mark.parametrize(("method", "path", "values", "status", "code"), CASES)
def test_programs_get_a_code_and_words(
    manager: Browser, method: str, path: str, values: dict[str, str], status: int, code: str
) -> None:
    headers = {"Accept": "application/json", "X-CSRF": manager.token()}
    response = manager.client.open(path, method=method, data=values, headers=headers)
    assert response.status_code == status
    assert response.json is not None
    assert set(response.json) == {"error"}
    assert set(response.json["error"]) == {"code", "message"}
    assert response.json["error"]["code"] == code


@pytest.mark.parametrize(("method", "path", "values", "status"), [case[:4] for case in CASES])
def test_people_get_a_page(
    manager: Browser, method: str, path: str, values: dict[str, str], status: int
) -> None:
    headers = {"X-CSRF": manager.token()}
    response = manager.client.open(path, method=method, data=values, headers=headers)
    assert response.status_code == status
    assert "<h2>This did not work</h2>" in response.text
    assert 'href="/"' in response.text


@pytest.mark.parametrize(("method", "path", "values", "status"), [case[:4] for case in CASES])
def test_a_standing_page_gets_a_notice(
    manager: Browser, method: str, path: str, values: dict[str, str], status: int
) -> None:
    headers = {"X-CSRF": manager.token(), "HX-Request": "true"}
    response = manager.client.open(path, method=method, data=values, headers=headers)
    assert response.status_code == status
    assert response.headers["HX-Retarget"] == "#notice"
    assert response.headers["HX-Reswap"] == "innerHTML"
    assert "<html" not in response.text


def test_a_wrong_method_is_told_the_right_ones(manager: Browser) -> None:
    allowed = manager.client.put("/activity").headers["Allow"]
    assert {"GET", "HEAD", "OPTIONS"} == set(allowed.split(", "))


@pytest.mark.parametrize("htmx", [False, True])
def test_a_failure_inside_shows_nothing_of_the_inside(
    app: Flask, manager: Browser, database: Database, htmx: bool
) -> None:
    app.testing = False
    with database.writing() as session:
        session.execute(text("ALTER TABLE people RENAME TO persons"))
    response = manager.get("/people", htmx=htmx)
    assert response.status_code == 500
    assert "Something went wrong in the panel." in response.text
    for word in ("Traceback", "sqlalchemy", "SELECT", "no such table"):
        assert word not in response.text


def test_secrets_stay_out_of_the_log_when_the_database_fails(
    app: Flask, manager: Browser, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    app.testing = False
    token = manager.token()
    with database.writing() as session:
        session.execute(
            text(
                "CREATE TRIGGER refuse BEFORE UPDATE ON people "
                "BEGIN SELECT RAISE(ABORT, 'disk on fire'); END"
            )
        )
    response = manager.client.post(
        "/people/2/password",
        data={"_c": token, "password": "p4ssw0rd-lit", "own_password": PASSWORD},
    )
    assert response.status_code == 500
    assert "disk on fire" in caplog.text
    assert "p4ssw0rd-lit" not in caplog.text
    assert "$argon2" not in caplog.text


@pytest.mark.parametrize("path", ["/activity?person=%00", "/activity?before=9" + "9" * 30])
def test_odd_values_in_an_address_break_nothing(manager: Browser, path: str) -> None:
    assert manager.get(path).status_code in (200, 400, 422)


def test_odd_values_break_nothing_on_postgresql_either(
    config: Config, new_postgresql: NewDatabase
) -> None:
    url = new_postgresql(True)
    with closing(Database(make_engine(url))) as database:
        with database.writing() as session:
            people.add_person(session, OPERATOR, MANAGER, PASSWORD, tuple(Permission))
        browser = Browser(create_app(Installation.on(replace(config, database_url=url), database)))
        browser.sign_in("nu\x00l")
        assert browser.sign_in(MANAGER).status_code == 303
        assert browser.get("/healthz").status_code == 200
        assert browser.get("/activity.csv").status_code == 200
        for path in ("/activity?person=%00", "/activity?what=%00&before=99999999999"):
            assert browser.get(path).status_code == 400
        assert browser.post("/people", {"name": "nu\x00l", "password": PASSWORD}).status_code == 422
        assert browser.post("/people", {"name": "maya", "permission": "view"}).status_code == 422


def test_nul_in_a_form_is_refused_like_any_other_bad_value(nobody: Browser) -> None:
    assert nobody.sign_in("nu\x00l").status_code == 422


@pytest.mark.both_databases
def test_a_row_that_another_program_holds_is_not_waited_for_without_end(
    config: Config, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panel.db.BUSY_TIMEOUT_SECONDS", 0.1)
    url = database_url
    with closing(Database(make_engine(url))) as database, closing(Database(make_engine(url))) as it:
        with database.writing() as session:
            people.add_person(session, OPERATOR, MANAGER, PASSWORD, tuple(Permission))
        browser = Browser(create_app(Installation.on(replace(config, database_url=url), database)))
        browser.sign_in(MANAGER)
        with it.writing() as held:
            lock_settings(held)
            answer = browser.post("/interval", {"interval_minutes": "5"})
        assert answer.status_code == 503
        assert "The database is too busy at this moment." in answer.text
        assert browser.post("/interval", {"interval_minutes": "5"}).status_code != 503
