"""An application waits for changes: it is told soon, waits no longer than asked, and in bounds."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from panel.config import MOST_WAITING_ANSWERS, STILL_WANTED
from panel.db import Database
from panel.sync.store.records import put_record
from panel.web.api import records as api
from tests.web.api.conftest import Application

LONG_SECONDS = 30


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LOOK_SECONDS", 0.01)


@pytest.mark.both_databases
def test_a_change_ends_the_wait_whoever_made_it(
    app: Flask, application: Application, database: Database
) -> None:
    cursor = application.get("/changes")["cursor"]
    is_waiting = threading.Event()

    def look() -> bool:
        is_waiting.set()
        return True

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(
            Application(app.test_client(), application.token).call,
            *("GET", f"/changes?since={cursor}&wait={LONG_SECONDS}"),
            environ_overrides={STILL_WANTED: look},
        )
        assert is_waiting.wait(LONG_SECONDS)
        with database.writing() as session:
            put_record(session, 1, "item", "a", {})
        page = answer.result(LONG_SECONDS).get_json()
    assert [change["id"] for change in page["changes"]] == ["a"]
    assert page["cursor"] != cursor


def test_what_is_there_already_is_answered_at_once(application: Application) -> None:
    application.put("item/a", {})
    assert len(application.get(f"/changes?wait={LONG_SECONDS}")["changes"]) == 1


def test_a_wait_ends_empty_when_its_time_is_over_or_nobody_wants_it(
    application: Application,
) -> None:
    gone = {STILL_WANTED: lambda: False}
    response = application.call("GET", f"/changes?wait={LONG_SECONDS}", environ_overrides=gone)
    assert response.get_json()["changes"] == []
    assert application.get("/changes?wait=1")["changes"] == []


@pytest.mark.parametrize("wait", ["-1", "31", "x", ""])
def test_a_wait_that_is_none(application: Application, wait: str) -> None:
    response = application.call("GET", f"/changes?wait={wait}")
    assert response.status_code == 422
    assert set(response.get_json()["error"]["problems"]) == {"wait"}


def test_no_more_wait_than_may(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    full = threading.BoundedSemaphore(MOST_WAITING_ANSWERS)
    for _ in range(MOST_WAITING_ANSWERS):
        full.acquire()
    monkeypatch.setattr(api, "_waiters", full)
    response = application.call("GET", f"/changes?wait={LONG_SECONDS}")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    assert response.get_json()["error"]["code"] == "too_many_waiting"
    assert application.get("/changes")["more"] is False
