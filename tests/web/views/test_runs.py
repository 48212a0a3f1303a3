"""The page of runs: what each moved and how it ended, fifty at a time."""

from datetime import timedelta

import pytest

from panel.config import Config
from panel.db import Database
from panel.models.runs import Loop, Run
from tests.support.clock import Clock
from tests.support.web_sites import make_primary, make_satellite, words
from tests.web.conftest import Browser


def add_run(database: Database, time: Clock, minutes_ago: int = 10, **values: object) -> None:
    began = time() - timedelta(minutes=minutes_ago)
    known = {"other": 1, "started_at": began, "ended_at": began, "result": "well", **values}
    with database.writing() as session:
        session.add(Run(**known))


@pytest.fixture
def satellite(database: Database, config: Config) -> None:
    make_satellite(database, config)


@pytest.fixture
def primary(database: Database, config: Config) -> None:
    make_primary(database, config)


def test_a_new_server_has_none(viewer: Browser) -> None:
    assert "No run yet." in viewer.get("/runs").text


@pytest.mark.usefixtures("satellite")
def test_a_run_says_what_it_moved_and_how_it_ended(
    viewer: Browser, database: Database, time: Clock
) -> None:
    add_run(database, time, pushed=3, pulled=1_200, bytes_up=900, bytes_down=52_400, set_aside=1)
    page = words(viewer.get("/runs").text)
    assert "3 1,200 0.9 kB ↑ 52 kB ↓ well 1 record set aside." in page
    assert "23 Nov 2026, 08:50" in page
    assert " Bytes " in page


@pytest.mark.usefixtures("satellite")
@pytest.mark.parametrize(
    ("result", "reason", "shown"),
    [
        ("failed", "timed_out", "failed central.test did not answer in time."),
        ("refused", "site_incorrect_password", "refused The Password is wrong."),
        ("cut_off", "stopped", "cut off The program or the machine was stopped"),
        ("paused", "", "paused"),
        ("failed", "a_code_of_tomorrow", "a_code_of_tomorrow"),
    ],
)
def test_a_run_that_did_not_end_well_says_why(
    viewer: Browser, database: Database, time: Clock, result: str, reason: str, shown: str
) -> None:
    values = {"host": "central.test"}
    add_run(database, time, result=result, reason=reason, reason_values=values)
    assert shown in words(viewer.get("/runs").text)


@pytest.mark.usefixtures("satellite")
def test_what_another_server_sent_is_shown_as_text(
    viewer: Browser, database: Database, time: Clock
) -> None:
    values = {"location": "<script>alert(1)</script>"}
    add_run(database, time, result="failed", reason="redirected", reason_values=values)
    assert "<script>alert" not in viewer.get("/runs").text


@pytest.mark.usefixtures("satellite")
def test_a_run_without_an_end_goes_on_or_was_cut_off(
    viewer: Browser, database: Database, time: Clock
) -> None:
    add_run(database, time, ended_at=None, result="")
    assert "cut off" in viewer.get("/runs").text
    with database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.holder, loop.held_until = "here", time() + timedelta(minutes=1)
    assert "going on" in viewer.get("/runs").text


@pytest.mark.usefixtures("satellite")
def test_fifty_at_a_time(viewer: Browser, database: Database, time: Clock) -> None:
    for number in range(1, 61):
        add_run(database, time, minutes_ago=100 - number, pushed=1_000 + number)
    first = viewer.get("/runs").text
    assert ">1,060<" in first
    assert ">1,011<" in first
    assert ">1,010<" not in first
    second = viewer.get("/runs?before=11").text
    assert ">1,010<" in second
    assert ">1,011<" not in second
    assert "Newest" in second


@pytest.mark.usefixtures("primary")
def test_a_primary_shows_those_of_one_satellite(
    viewer: Browser, database: Database, time: Clock
) -> None:
    add_run(database, time, other=7, pushed=77, bytes_up=900, bytes_down=52_400)
    add_run(database, time, other=8, pushed=88)
    everything = viewer.get("/runs").text
    assert "77 0 0.9 kB ↑ 52 kB ↓" in words(everything)
    assert ">77<" in everything
    assert ">88<" in everything
    one = viewer.get("/runs?server=7", htmx=True).text
    assert ">77<" in one
    assert ">88<" not in one
    assert "<html" not in one


@pytest.mark.parametrize(
    "query", ["before=x", "server=-1", "server=99999999999999999999", "before="]
)
def test_an_address_that_is_none_shows_everything(viewer: Browser, query: str) -> None:
    assert viewer.get(f"/runs?{query}").status_code == 200


def test_nobody_sees_runs(nobody: Browser) -> None:
    assert nobody.get("/runs").status_code == 303
    assert nobody.get("/runs", htmx=True).status_code == 401


def test_runs_are_only_read(manager: Browser) -> None:
    assert manager.post("/runs").status_code == 405
