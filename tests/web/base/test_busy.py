"""A database that somebody else writes to: 503, when to come again, and one line of the log."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from panel import db
from panel.accounts.tokens import add_token
from panel.db import Database
from tests.support.cast import OPERATOR
from tests.web.conftest import Browser

WAIT_SECONDS = 30


@pytest.fixture
def token(database: Database) -> str:
    with database.writing() as session:
        return add_token(session, OPERATOR, "Dispensary")


@pytest.fixture
def held(
    database: Database, token: str, manager: Browser, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Browser]]:
    """Let somebody else write for as long as the test lasts; return who comes."""
    is_held, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with database.writing():
            is_held.set()
            assert may_end.wait(WAIT_SECONDS)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert is_held.wait(WAIT_SECONDS)
        monkeypatch.setattr(db, "BUSY_TIMEOUT_SECONDS", 0.01)
        yield token, manager
        may_end.set()
        writing.result()


def is_one_line(caplog: pytest.LogCaptureFixture) -> bool:
    lines = [line for line in caplog.text.splitlines() if line.strip()]
    return len(lines) == 1 and "database is locked" in lines[0]


def test_an_application_is_told_when_to_come_again(
    app: Flask, held: tuple[str, Browser], caplog: pytest.LogCaptureFixture
) -> None:
    bearer = {"Authorization": f"Bearer {held[0]}"}
    with caplog.at_level(logging.WARNING):
        response = app.test_client().put(
            "/api/v1/records/item/a", json={"data": {}}, headers=bearer
        )
    assert (response.status_code, response.get_json()["error"]["code"]) == (503, "database_busy")
    assert 10 <= int(response.headers["Retry-After"]) < 20
    assert is_one_line(caplog)


def test_a_person_is_told_in_words(
    held: tuple[str, Browser], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        response = held[1].post("/interval", {"interval_minutes": "7", "version": "1"}, htmx=False)
    assert response.status_code == 503
    assert "The database is too busy at this moment." in response.text
    assert "Retry-After" in response.headers
    assert is_one_line(caplog)
