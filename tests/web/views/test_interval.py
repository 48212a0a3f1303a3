"""The sync time interval: saved in place, refused in place, nothing typed is lost."""

import re

import pytest

from panel.config import Config
from panel.db import Database
from panel.models.settings import Settings
from tests.support.web_sites import make_satellite, words
from tests.web.conftest import Browser, Happened

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])


@pytest.fixture(autouse=True)
def satellite(database: Database, config: Config) -> None:
    make_satellite(database, config)


def minutes(database: Database) -> int:
    with database.reading() as session:
        return session.get_one(Settings, 1).interval_minutes


def test_it_is_saved_without_unlocking(manager: Browser, database: Database) -> None:
    answer = manager.post("/interval", {"interval_minutes": "30", "version": "1"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/#interval")
    assert minutes(database) == 30


def test_with_htmx_the_form_and_the_sentence_come_back(
    manager: Browser, database: Database
) -> None:
    answer = manager.post("/interval", {"interval_minutes": "0", "version": "1"}, htmx=True)
    assert answer.status_code == 200
    assert '<form id="interval"' in answer.text
    assert 'value="0"' in answer.text
    assert "the interval is 0." in answer.text
    assert "<html" not in answer.text
    assert "Saved." in answer.text
    assert minutes(database) == 0


@either
@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("soon", "A whole number, in digits."),
        ("", "A whole number, in digits."),
        ("1.5", "A whole number, in digits."),
        ("9" * 5000, "A whole number, in digits."),
        ("-1", "Whole minutes from 0 to 10080."),
        ("10081", "Whole minutes from 0 to 10080."),
    ],
)
def test_a_wrong_value_comes_back_with_the_reason(
    manager: Browser, database: Database, typed: str, reason: str, htmx: bool
) -> None:
    answer = manager.post("/interval", {"interval_minutes": typed, "version": "1"}, htmx=htmx)
    assert answer.status_code == 422
    assert reason in answer.text
    assert f'value="{typed}"' in answer.text
    assert 'aria-invalid="true" aria-describedby="i-interval_minutes"' in answer.text
    assert ("<html" in answer.text) != htmx
    assert minutes(database) == 10


@either
def test_who_comes_second_is_told_who_changed_what(
    manager: Browser, database: Database, htmx: bool
) -> None:
    manager.post("/interval", {"interval_minutes": "30", "version": "1"})
    answer = manager.post("/interval", {"interval_minutes": "45", "version": "1"}, htmx=htmx)
    assert answer.status_code == 409
    assert "asha, 23 Nov 2026, 09:00 : Sync time interval 10 → 30" in words(answer.text)
    assert 'value="45"' in answer.text
    assert "Take theirs" in answer.text
    version = re.search(r'name="version" value="(\d+)"', answer.text)
    assert version is not None
    assert "Save mine over it" in answer.text
    manager.post("/interval", {"interval_minutes": "45", "version": version[1]}, htmx=htmx)
    assert minutes(database) == 45


def test_theirs_can_be_taken(manager: Browser) -> None:
    manager.post("/interval", {"interval_minutes": "30", "version": "1"})
    assert 'value="30"' in manager.get("/interval", htmx=True).text
    assert 'value="30"' in manager.get("/interval").text


def test_sent_again_it_changes_nothing_more(manager: Browser, happened: Happened) -> None:
    for _ in range(2):
        answer = manager.post("/interval", {"interval_minutes": "30", "version": "1"}, htmx=True)
        assert answer.status_code == 200
    assert len(happened("interval_changed")) == 1


def test_who_may_only_look_is_refused(
    viewer: Browser, database: Database, happened: Happened
) -> None:
    answer = viewer.post("/interval", {"interval_minutes": "30", "version": "1"})
    assert answer.status_code == 403
    assert minutes(database) == 10
    assert happened("refused_permission")


def test_a_program_gets_the_reason_as_json(manager: Browser) -> None:
    answer = manager.post(
        "/interval", {"interval_minutes": "soon", "version": "1"}, Accept="application/json"
    )
    assert answer.status_code == 422
    reason = "A whole number, in digits."
    problems = {"interval_minutes": reason}
    assert answer.json == {"error": {"code": "invalid", "message": reason, "problems": problems}}
