"""``sync-panel status``, ``sync now`` and ``test-connection``: facts and exit codes for scripts."""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from panel import clock
from panel.cli import sync as sync_commands
from panel.cli import terminal
from panel.models.runs import InitialiseState, Link, Loop, Run, RunResult
from panel.models.settings import Server
from panel.operations.sync_requests import ask_to_initialise, asked_run
from panel.sync.satellite.schedule import LEASE
from tests.support.cast import ASHA
from tests.support.real_site import wait_until
from tests.support.shell import Shell

LATE, NEEDS_SOMEBODY = 3, 4


@pytest.fixture
def complete(satellite: Shell, nowhere: str) -> Shell:
    """A satellite with all that it needs; nobody listens at its URL."""
    password = satellite.file("password", "coral letters")
    satellite.do("settings", "set", "user_name=fiji", f"password=@{password}", f"url={nowhere}")
    satellite.do("servers", "add", "--sync-id=1", "--name=National Store", "--store=NAT-01")
    return satellite


def succeed(shell: Shell, **ago: float) -> None:
    with shell.database.writing() as session:
        session.get_one(Link, 1).last_success_at = clock.now() - timedelta(**ago)


def status(shell: Shell, code: int = 0) -> dict[str, Any]:
    result = shell.run("status", "--json")
    assert result.exit_code == code
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def test_a_stand_alone_server_has_nothing_to_see_to(shell: Shell) -> None:
    assert status(shell)["state"] == "standalone"


@pytest.mark.parametrize(
    ("ago", "state", "code"),
    [
        ({"minutes": 5}, "up_to_date", 0),
        ({"days": 2}, "late", LATE),
        ({"days": 4}, "very_late", NEEDS_SOMEBODY),
    ],
)
def test_how_late(complete: Shell, ago: dict[str, float], state: str, code: int) -> None:
    succeed(complete, **ago)
    assert status(complete, code)["state"] == state


def test_what_is_missing_is_said(satellite: Shell) -> None:
    result = satellite.run("status")
    assert result.exit_code == NEEDS_SOMEBODY
    assert "Not ready. Missing: the URL of the primary, a user name and" in result.stdout


def test_paused_is_as_it_should_be(complete: Shell) -> None:
    complete.do("settings", "set", "sync_interval=0")
    assert "Paused" in complete.do("status")


def test_a_refusal_says_what_to_do_next(complete: Shell) -> None:
    succeed(complete, minutes=5)
    with complete.database.writing() as session:
        session.get_one(Loop, 1).refusal = "site_incorrect_password"
    facts = status(complete, NEEDS_SOMEBODY)
    assert facts["reason"] == "site_incorrect_password"
    assert facts["what"] == "The Password is wrong."
    assert facts["next"].startswith("Type it again")
    assert "The Password is wrong. Type it again" in complete.run("status").stdout


def test_a_run_that_goes_on(complete: Shell) -> None:
    now = clock.now()
    with complete.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.holder, loop.held_until = "another:1:a", now + timedelta(minutes=1)
        session.add(Run(other=1, started_at=now, step="pulling_central", pulled=10, to_pull=50))
    assert status(complete)["run"]["pulled"] == 10
    assert "Now: pulling central; pushed 0 of 0, pulled 10 of 50." in complete.do("status")


def test_a_primary_counts_its_satellites(primary: Shell) -> None:
    pair = f"password=@{primary.file('pair', 'coral letters')}"
    primary.do("settings", "set", "user_name=fiji", pair)
    primary.do("servers", "add", "--sync-id=7", "--name=Kadavu", "--store=KDV-01")
    with primary.database.writing() as session:
        session.scalars(select(Server)).one().last_success_at = clock.now()
    satellites = status(primary)["satellites"]
    assert (satellites["total"], satellites["up_to_date"]) == (1, 1)


def test_sync_now_asks_the_loop_and_need_not_wait(complete: Shell) -> None:
    complete.do("sync", "now", "--no-wait")
    assert status(complete)["asked"]
    assert complete.activity()[0].what == "sync_asked"


Ends = dict[str, Any]


@contextmanager
def another_process(
    shell: Shell, ends: Ends, watched: threading.Event | None = None
) -> Iterator[None]:
    """A process that synchronises at once when asked, with a run that ``ends`` so.

    It goes on until it is ``watched``, if that is given.
    """

    def run() -> None:
        wait_until(lambda: loop_of(shell).asked_at is not None, "it is asked")
        now = clock.now()
        with shell.database.writing() as session:
            loop = session.get_one(Loop, 1)
            loop.asked_at, loop.holder, loop.held_until = None, "another:1:a", now + LEASE
            session.add(Run(other=1, started_at=now, step="pushing", pushed=3, to_push=8))
        if watched is not None:
            assert watched.wait(20)
        with shell.database.writing() as session:
            loop, link = session.get_one(Loop, 1), session.get_one(Link, 1)
            run = session.scalars(select(Run)).one()
            loop.holder, loop.held_until, run.ended_at = None, None, clock.now()
            run.result, run.reason = RunResult(ends["result"]), ends.get("reason", "")
            link.last_success_at = clock.now()
            loop.refusal = run.reason if run.result is RunResult.REFUSED else ""
            loop.failures = int(run.result is RunResult.FAILED)

    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(run)
        yield
        doing.result()


def loop_of(shell: Shell) -> Loop:
    with shell.database.reading() as session:
        return session.get_one(Loop, 1)


@pytest.mark.parametrize(
    ("ends", "code", "words"),
    [
        ({"result": "well"}, 0, "3 records sent, 0 received."),
        ({"result": "failed", "reason": "cut_off"}, LATE, "The line to ? broke."),
        (
            {"result": "refused", "reason": "site_incorrect_password"},
            *(NEEDS_SOMEBODY, "The Password is wrong. Type it again"),
        ),
        ({"result": "cut_off", "reason": "stopped_by_hand"}, LATE, "It was stopped here"),
    ],
)
def test_sync_now_waits_for_the_end(complete: Shell, ends: Ends, code: int, words: str) -> None:
    with another_process(complete, ends):
        result = complete.run("sync", "now")
    assert result.exit_code == code
    assert words in result.stdout
    assert result.stderr == ""


def test_sync_now_shows_on_a_terminal_how_it_goes(
    complete: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = threading.Event()

    def is_terminal() -> bool:
        watched.set()
        return True

    monkeypatch.setattr(terminal, "is_terminal", is_terminal)
    with another_process(complete, {"result": "well"}, watched):
        result = complete.run("sync", "now")
    # The line is cleared once it is over.
    assert result.stderr.startswith("\rSyncing now: 3 of 8 records sent.")
    assert result.stderr.endswith("\r")


def test_initialise_waits_for_the_end_too(complete: Shell) -> None:
    with another_process(complete, {"result": "well"}):
        result = complete.run("sync", "initialise")
    assert (result.exit_code, "3 records sent" in result.stdout) == (0, True)
    assert complete.activity()[0].what == "initialise_asked"


def test_initialise_need_not_wait(complete: Shell) -> None:
    assert "it begins in a moment" in complete.do("sync", "initialise", "--no-wait")


def test_an_initialise_that_goes_on_is_waited_for(complete: Shell) -> None:
    with complete.database.writing() as session:
        session.get_one(Link, 1).initialise = InitialiseState.RUNNING
        session.add(Run(other=1, started_at=clock.now()))
    with complete.database.writing() as session:
        asked = ask_to_initialise(session, ASHA)
        running = asked_run(session, asked)
        assert running is not None
        assert running.ended_at is None


def test_the_fields_that_differ_are_listed(complete: Shell) -> None:
    with complete.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.refusal = "identity_differs"
        loop.refusal_values = {"differences": [["store", "KDV-01", "KDV-9"]]}
    (one,) = status(complete, NEEDS_SOMEBODY)["differences"]
    assert one == {"field": "store", "here": "KDV-9", "there": "KDV-01"}
    assert re.search(r"^store +KDV-9 +KDV-01$", complete.run("status").stdout, re.MULTILINE)


def test_sync_now_says_that_no_process_hears_it(
    complete: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_commands, "_HEARD_SECONDS", 0.1)
    said = complete.refused("sync", "now")
    assert "no sync process seems to run here" in said
    assert "--here" in said


def test_sync_now_may_run_in_the_command_itself(complete: Shell) -> None:
    result = complete.run("sync", "now", "--here")
    assert result.exit_code == LATE
    assert "nothing listens there" in result.stdout
    assert loop_of(complete).holder is None


def test_sync_stop_asks_the_loop(complete: Shell) -> None:
    assert complete.do("sync", "stop") == "No sync is under way.\n"
    with complete.database.writing() as session:
        session.add(Run(other=1, started_at=clock.now()))
    assert complete.do("sync", "stop") == "It ends in a moment.\n"
    assert complete.activity()[0].what == "sync_stopped"


def test_sync_now_is_refused_where_nothing_would_come_of_it(
    satellite: Shell, primary: Shell
) -> None:
    assert "Only a satellite" in primary.refused("sync", "now")
    satellite.do("settings", "set", "sync_id=7", "sync_interval=0")
    assert "paused" in satellite.refused("sync", "now")


def test_a_connection_that_fails_says_why_and_what_next(complete: Shell) -> None:
    reason = complete.refused("test-connection")
    assert "nothing listens there" in reason
    assert "Check the URL and its port" in reason


def test_the_same_for_scripts(complete: Shell) -> None:
    result = complete.run("test-connection", "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert (facts["well"], facts["reason"]) == (False, "connection_refused")


def test_a_primary_has_no_connection_to_test(primary: Shell) -> None:
    assert "not a satellite" in primary.refused("test-connection")
