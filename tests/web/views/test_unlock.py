"""The bar: the dialog for the code, until when the lock is open, Lock now."""

import re

import brotli
import pytest

from panel.config import Config
from panel.db import Database
from tests.support.cast import CODE
from tests.support.clock import Clock
from tests.support.web_sites import make_primary, words
from tests.web.conftest import Browser, Happened

# What an unlock may weigh on the line, less its headers.
MOST_BYTES = 2000 - 400

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])


@pytest.fixture(autouse=True)
def primary(database: Database, config: Config) -> None:
    make_primary(database, config)


@either
def test_the_dialog_takes_the_bars_place(manager: Browser, htmx: bool) -> None:
    answer = manager.get("/unlock", htmx=htmx)
    assert 'role="dialog"' in answer.text
    assert "Authorisation code" in answer.text
    assert ("<html" in answer.text) != htmx
    assert "Click to un-lock" not in answer.text


def test_cancel_brings_the_bar_back(manager: Browser) -> None:
    assert "Click to un-lock" in manager.get("/bar", htmx=True).text
    assert " autofocus" in manager.get("/bar", htmx=True).text
    assert manager.get("/bar").headers["Location"] == "/#bar"


def test_the_bar_fetched_by_the_script_takes_the_focus_from_nobody(manager: Browser) -> None:
    assert " autofocus" not in manager.get("/bar?quiet=1", htmx=True).text


@either
def test_a_wrong_code_is_named_invalid_and_all_stays_read_only(
    manager: Browser, htmx: bool, happened: Happened
) -> None:
    answer = manager.post("/unlock", {"authorisation_code": "no such code"}, htmx=htmx)
    assert answer.status_code == 422
    assert "This authorisation code is invalid. Everything stays read-only." in answer.text
    assert 'aria-describedby="code-why"' in answer.text
    assert "no such code" not in answer.text
    assert not manager.cookie("u")
    assert happened("wrong_code")


def test_the_right_code_opens_the_fields_and_sends_no_rows(manager: Browser) -> None:
    sent = {"authorisation_code": CODE, "parameters": "text"}
    answer = manager.post("/unlock", sent, htmx=True)
    assert answer.status_code == 200
    assert "Unlocked until 09:15" in words(answer.text)
    assert 'id="parameters-form"' in answer.text
    assert not re.search(r'id="add"[^>]* disabled', answer.text)
    assert "Rotuma" not in answer.text
    assert len(brotli.compress(answer.data, quality=5)) < MOST_BYTES


@pytest.mark.parametrize("path", ["/unlock", "/unlock?parameters=text"])
def test_fields_that_stand_open_stay_as_they_are(manager: Browser, path: str) -> None:
    parameters = "parameters=text" in path
    sent = {"parameters": "text"} if parameters else {}
    answer = manager.post("/unlock", {"authorisation_code": CODE, **sent}, htmx=True)
    again = manager.get(path, htmx=True)
    for text in (answer.text, again.text):
        assert "Unlocked until 09:15" in words(text)
        assert ('id="parameters-form"' in text) == parameters


def test_without_script_the_right_code_leads_back_to_the_page(manager: Browser) -> None:
    answer = manager.post("/unlock", {"authorisation_code": CODE})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/#bar")
    assert "Unlocked until 09:15" in words(manager.get("/").text)


def test_too_many_wrong_codes_close_the_dialog(manager: Browser, time: Clock) -> None:
    wrong = {"authorisation_code": "no such code"}
    said = [manager.post("/unlock", wrong, htmx=True).text for _ in range(5)]
    assert "Tries left before a wait: 4." in said[0]
    assert "Tries left before a wait: 1." in said[3]
    assert "Try again in one minute." in said[4]
    answer = manager.post("/unlock", {"authorisation_code": CODE}, htmx=True)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) == 60
    assert 'role="alert"' in answer.text
    time.pass_by(minutes=16)
    assert manager.post("/unlock", {"authorisation_code": CODE}).status_code == 303


@either
def test_lock_now_makes_all_read_only(unlocked: Browser, htmx: bool, happened: Happened) -> None:
    answer = unlocked.post("/lock", htmx=htmx)
    page = answer.text if htmx else unlocked.get("/").text
    assert "Click to un-lock" in page
    assert 'id="parameters-form"' not in page
    # In a page that stands, the script does it (tests/browser): the toolbar is not sent again.
    assert htmx or re.search(r'id="add"[^>]* disabled', page)
    assert not unlocked.cookie("u")
    assert happened("locked_now")


def test_the_dialog_is_not_asked_of_who_has_unlocked(unlocked: Browser) -> None:
    assert "Unlocked until" in words(unlocked.get("/unlock", htmx=True).text)
    assert unlocked.get("/unlock").status_code == 303


@either
def test_who_may_only_look_has_no_dialog(viewer: Browser, htmx: bool) -> None:
    assert viewer.get("/unlock", htmx=htmx).status_code == 403
    sent = {"authorisation_code": CODE}
    assert viewer.post("/unlock", sent, htmx=htmx).status_code == 403


def test_a_program_gets_the_reason_as_json(manager: Browser) -> None:
    sent = {"authorisation_code": "no such code"}
    answer = manager.post("/unlock", sent, Accept="application/json")
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["error"]["code"] == "invalid"
