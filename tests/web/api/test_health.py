"""``/healthz`` tells a supervisor whether this server can do its work."""

import os
from pathlib import Path

import pytest
from sqlalchemy import event, text
from werkzeug.test import TestResponse

from panel.db import Database
from panel.models.runs import Loop
from tests.support.cast import MANAGER
from tests.web.conftest import Browser


def error_code(response: TestResponse) -> str:
    return str(response.get_json()["error"]["code"])


def test_well(nobody: Browser) -> None:
    response = nobody.get("/healthz")
    assert (response.status_code, response.json) == (200, {"status": "ok"})
    assert "Set-Cookie" not in response.headers


def test_a_full_disk_and_a_lost_key_are_said(
    nobody: Browser, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.writing() as session:
        session.get_one(Loop, 1).refusal = "password_unreadable"
    response = nobody.get("/healthz")
    assert (response.status_code, error_code(response)) == (503, "password_unreadable")
    monkeypatch.setattr(Database, "_free_bytes", lambda _: 1_000)
    response = nobody.get("/healthz")
    assert (response.status_code, error_code(response)) == (503, "disk_full")


def test_a_database_that_cannot_be_written(
    nobody: Browser, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(str(database.engine.url.database))
    monkeypatch.setattr(os, "access", lambda path, _mode: path != file)
    response = nobody.get("/healthz")
    assert (response.status_code, error_code(response)) == (503, "database_read_only")


def test_an_act_in_a_database_that_cannot_be_written(nobody: Browser, database: Database) -> None:
    event.listen(
        database.engine, "connect", lambda one, _record: one.execute("PRAGMA query_only=ON")
    )
    database.engine.dispose()
    response = nobody.sign_in(MANAGER)
    assert response.status_code == 503
    assert "cannot be written" in response.text


def test_a_database_that_was_not_migrated(nobody: Browser, database: Database) -> None:
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    response = nobody.get("/healthz")
    assert response.status_code == 503
    assert response.json is not None
    assert response.json["error"]["code"] == "not_migrated"


def test_a_database_that_does_not_answer(nobody: Browser, database: Database) -> None:
    with database.writing() as session:
        session.execute(text("DROP TABLE alembic_version"))
        session.execute(text("CREATE VIEW alembic_version AS SELECT no_such_function()"))
    response = nobody.get("/healthz")
    assert response.status_code == 503
    assert response.json is not None
    assert response.json["error"]["message"]
