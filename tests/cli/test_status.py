"""``sync-panel status``, ``sync now`` and ``test-connection``: facts and exit codes for scripts."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from panel import clock
from panel.models.runs import Link, Loop, Run
from panel.models.settings import Server
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
    assert "Not ready: the URL of the primary is empty." in result.stdout


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


def test_sync_now_asks_the_loop(complete: Shell) -> None:
    complete.do("sync", "now")
    assert status(complete)["asked"]
    assert complete.activity()[0].what == "sync_asked"


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
