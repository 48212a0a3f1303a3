"""Removing servers: one question that names them, the deed, and the way back."""

import re

import pytest
from sqlalchemy import select

from panel.config import Config
from panel.db import Database
from panel.models.settings import Server
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from tests.support.cast import CODE, OPERATOR
from tests.support.clock import Clock
from tests.support.web_sites import make_primary
from tests.web.conftest import Browser, Happened

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])


@pytest.fixture(autouse=True)
def rows(database: Database, config: Config) -> list[str]:
    return [str(row) for row in make_primary(database, config)]


def listed(database: Database) -> list[int]:
    with database.reading() as session:
        here = Server.removed_at.is_(None)
        return list(session.scalars(select(Server.sync_id).where(here).order_by(Server.sync_id)))


@either
def test_one_question_names_what_is_to_go(
    unlocked: Browser, database: Database, rows: list[str], htmx: bool
) -> None:
    answer = unlocked.post("/servers/remove", {"ids": rows}, htmx=htmx)
    assert answer.status_code == 200
    assert "Remove 7 Kadavu, 8 Rotuma?" in answer.text
    assert ("<html" in answer.text) != htmx
    assert listed(database) == [7, 8]


def test_keep_takes_the_question_back(unlocked: Browser) -> None:
    assert "Remove" not in unlocked.get("/servers/remove", htmx=True).text
    assert unlocked.get("/servers/remove?sort=name").headers["Location"] == "/?sort=name#servers"


@either
def test_nothing_selected_is_said(unlocked: Browser, htmx: bool) -> None:
    answer = unlocked.post("/servers/remove", {"ids": ["", "x", "9" * 30]}, htmx=htmx)
    assert answer.status_code == 422
    assert "Select the servers to remove first." in answer.text


@either
def test_removing_that_is_sent_again_is_done_once_and_can_be_undone(
    unlocked: Browser, database: Database, rows: list[str], happened: Happened, htmx: bool
) -> None:
    sent = {"ids": rows, "confirmed": "1"}
    first = unlocked.post("/servers/remove", sent, htmx=htmx)
    again = unlocked.post("/servers/remove", sent, htmx=htmx)
    assert (again.status_code, again.location) == (first.status_code, first.location)
    assert not htmx or "Removed: 7 Kadavu, 8 Rotuma." in again.text
    assert listed(database) == []
    assert len(happened("server_removed")) == 2


def test_removed_rows_leave_their_places_and_undo_brings_them_back(
    unlocked: Browser, database: Database, rows: list[str], happened: Happened
) -> None:
    sent = {"ids": rows, "confirmed": "1"}
    gone = unlocked.post("/servers/remove", sent, htmx=True)
    assert listed(database) == []
    assert "Removed: 7 Kadavu, 8 Rotuma." in gone.text
    for row in rows:
        assert f'<tr id="s{row}" hidden hx-swap-oob="true"></tr>' in gone.text
    assert re.search(r"<button[^>]* autofocus>Undo</button>", gone.text)
    assert "0 of 0" in gone.text
    # One of the places is on the page no more: that row comes first in the list.
    back = unlocked.post("/servers/undo", {"ids": rows, "gone": rows[:1]}, htmx=True)
    assert listed(database) == [7, 8]
    assert f'<tr id="s{rows[0]}" hx-swap-oob="true">' in back.text
    first = back.text[back.text.index('hx-swap-oob="afterbegin:#rows"') :]
    assert f'<tr id="s{rows[1]}">' in first
    removed, restored = happened("server_removed"), happened("server_restored")
    assert len(removed) == len(restored) == 2
    assert removed[1].was == restored[1].became
    assert removed[1].was == {
        "sync_id": 7, "name": "Kadavu", "store": "KDV-01", "url": "", "user_name": "",
    }  # fmt: skip


@either
def test_undo_pressed_again_finds_it_done(
    unlocked: Browser, database: Database, rows: list[str], happened: Happened, htmx: bool
) -> None:
    unlocked.post("/servers/remove", {"ids": rows, "confirmed": "1"})
    for _ in range(2):
        answer = unlocked.post("/servers/undo", {"ids": rows}, htmx=htmx)
        assert answer.status_code == (200 if htmx else 303)
    assert "Kadavu" not in answer.text
    assert listed(database) == [7, 8]
    assert len(happened("server_restored")) == 2


def test_without_script_undo_stays_until_the_page_is_left(
    unlocked: Browser, database: Database, rows: list[str]
) -> None:
    gone = unlocked.post("/servers/remove?sort=name", {"ids": rows[0], "confirmed": "1"})
    assert gone.status_code == 303
    page = unlocked.get(gone.headers["Location"]).text
    assert "Removed: 7 Kadavu." in page
    assert f'name="ids" value="{rows[0]}"' in page
    assert "Removed:" not in unlocked.get("/").text
    assert unlocked.post("/servers/undo", {"ids": rows[0]}).status_code == 303
    assert listed(database) == [7, 8]


@either
def test_a_place_that_was_taken_is_named(
    unlocked: Browser, database: Database, rows: list[str], htmx: bool
) -> None:
    unlocked.post("/servers/remove", {"ids": rows[0], "confirmed": "1"})
    with database.writing() as session:
        add_server(session, OPERATOR, ServerFields(7, "Another", "ANO"))
    answer = unlocked.post("/servers/undo", {"ids": rows[0]}, htmx=htmx)
    assert answer.status_code == 422
    assert "7 Kadavu cannot come back." in answer.text


def test_the_next_change_takes_the_undo_away(unlocked: Browser, rows: list[str]) -> None:
    unlocked.post("/servers/remove", {"ids": rows[0], "confirmed": "1"}, htmx=True)
    sent = {"interval_minutes": "20", "version": "1"}
    answer = unlocked.post("/interval", sent, htmx=True)
    undo = answer.text[answer.text.index('<div id="undo" hx-swap-oob="true">') :]
    assert "Undo" not in undo


def test_a_search_takes_the_question_away_but_not_the_undo(unlocked: Browser) -> None:
    answer = unlocked.get("/?find=rot", htmx=True).text
    assert '<div id="question" hx-swap-oob="true">' in answer
    assert 'id="undo"' not in answer


@either
def test_a_lock_that_ran_out_asks_for_the_code_and_then_for_the_rest(
    unlocked: Browser, database: Database, time: Clock, rows: list[str], htmx: bool
) -> None:
    time.pass_by(minutes=16)
    asked = unlocked.post("/servers/remove", {"ids": rows[0]}, htmx=htmx)
    assert asked.status_code == 403
    assert 'name="authorisation_code"' in asked.text
    code = {"ids": rows[0], "authorisation_code": CODE}
    question = unlocked.post("/servers/remove", code, htmx=htmx)
    assert "Remove 7 Kadavu?" in question.text
    if htmx:
        # The prompt below the toolbar has done its work.
        assert '<div id="toolbar" hx-swap-oob="true">' in question.text
    assert listed(database) == [7, 8]
    unlocked.post("/servers/remove", {"ids": rows[0], "confirmed": "1"}, htmx=htmx)
    assert listed(database) == [8]


def test_a_program_is_told_what_is_missing(unlocked: Browser) -> None:
    answer = unlocked.post("/servers/remove", {}, Accept="application/json")
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["error"]["code"] == "invalid"
