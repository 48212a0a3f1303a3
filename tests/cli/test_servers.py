"""``sync-panel servers``: the list from the shell, each server named by its Sync ID."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from panel.activity.log import Actor
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from tests.support.shell import Shell


@pytest.fixture
def listed(primary: Shell) -> Shell:
    for number, name, store in ((7, "Kadavu", "KDV-01"), (8, "Levuka", "LVK-01")):
        add(primary, number, name, store)
    return primary


def add(shell: Shell, number: int, name: str, store: str, *more: str, stdin: str = "") -> None:
    options = ("--sync-id", str(number), "--name", name, "--store", store, *more)
    shell.do("servers", "add", *options, stdin=stdin)


def rows(shell: Shell, *options: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(shell.do("servers", "list", "--json", *options))
    return listed


def names(shell: Shell, *options: str) -> list[str]:
    return [row["name"] for row in rows(shell, *options)]


def test_what_is_added_is_listed(shell: Shell) -> None:
    shell.do("settings", "set", "sync_id=1", "name=National Store", "store=NAT-01")
    add(shell, 7, "Kadavu", "KDV-01")
    assert rows(shell) == [
        {
            "state": "not_seen",
            "sync_id": 7,
            "name": "Kadavu",
            "store": "KDV-01",
            "user_name": "",
            "url": "",
            "hardware_id": None,
            "last_success_at": None,
            "password": False,
            "last_contact_at": None,
        }
    ]
    row = shell.activity()[0]
    assert (row.what, row.via, row.label) == ("server_added", "shell", "7 Kadavu")


def test_the_list_is_found_in_and_sorted(listed: Shell) -> None:
    assert names(listed, "--sort", "name", "--descending") == ["Levuka", "Kadavu"]
    assert names(listed, "--find", "kdv") == ["Kadavu"]
    assert "not_seen  7        Kadavu  KDV-01" in listed.do("servers", "list")
    listed.refused("servers", "list", "--sort", "colour", code=2)


def test_the_whole_list_comes_not_its_first_page(primary: Shell) -> None:
    with primary.database.writing() as session:
        for number in range(2, 122):
            add_server(
                session, Actor("a test"), ServerFields(number, f"Site {number}", f"S{number}")
            )
    assert [row["sync_id"] for row in rows(primary)] == list(range(2, 122))


def test_a_sync_id_that_is_taken_is_refused(listed: Shell) -> None:
    options = ("--sync-id", "7", "--name", "Other", "--store", "OTH-01")
    assert "7 Kadavu has this Sync ID already." in listed.refused("servers", "add", *options)
    assert "7 Kadavu has this Sync ID" in listed.refused("servers", "edit", "8", "--sync-id", "7")
    assert names(listed) == ["Kadavu", "Levuka"]


def test_an_edit_changes_what_is_named_and_nothing_else(listed: Shell) -> None:
    listed.do("servers", "edit", "7", "--sync-id", "9", "--name", "Kadavu Hospital")
    changed = rows(listed, "--find", "9")[0]
    assert (changed["name"], changed["store"]) == ("Kadavu Hospital", "KDV-01")
    assert listed.activity()[0].became == {"sync_id": 9, "name": "Kadavu Hospital"}


def test_a_pair_of_its_own_comes_and_goes(listed: Shell) -> None:
    reason = listed.refused("servers", "edit", "7", "--user-name", "kadavu")
    assert "password: " in reason
    own = ("--user-name", "kadavu", "--password-file", "-")
    listed.do("servers", "edit", "7", *own, stdin="open sesame\n")
    assert [(row["user_name"], row["password"]) for row in rows(listed)] == [
        ("kadavu", True),
        ("", False),
    ]
    listed.do("servers", "edit", "7", "--remove-password")
    assert [row["password"] for row in rows(listed)] == [False, False]
    both = ("--remove-password", "--password-file", "-")
    listed.refused("servers", "edit", "7", *both, code=2)


def test_a_satellites_row_shows_the_one_url(satellite: Shell) -> None:
    add(satellite, 1, "National Store", "NAT-01", "--url", "central.example.org")
    assert rows(satellite)[0]["url"] == "https://central.example.org"
    assert "https://central.example.org" in satellite.do("settings", "show")
    satellite.do("servers", "edit", "1", "--name", "NMS")
    assert rows(satellite)[0]["url"] == "https://central.example.org"
    satellite.do("servers", "edit", "1", "--url", "")
    assert rows(satellite)[0]["url"] == ""


def test_removing_names_the_servers_and_asks(listed: Shell) -> None:
    declined = listed.run("servers", "remove", "7", "8", stdin="n\n")
    assert "Remove 7 Kadavu, 8 Levuka?" in declined.stderr
    assert declined.exit_code == 1
    assert names(listed) == ["Kadavu", "Levuka"]
    listed.do("servers", "remove", "7", "8", stdin="y\n")
    assert names(listed) == []


def test_a_script_that_was_not_asked_removes_nothing(listed: Shell) -> None:
    listed.refused("servers", "remove", "7")
    assert names(listed) == ["Kadavu", "Levuka"]
    listed.do("servers", "remove", "7", "--yes")
    assert names(listed) == ["Levuka"]


@pytest.mark.parametrize("act", ["edit", "remove", "clear-hardware"])
def test_no_server_of_that_number(listed: Shell, act: str) -> None:
    assert listed.refused("servers", act, "99") == "Error: No server here has Sync ID 99.\n"


def test_one_unknown_number_removes_none(listed: Shell) -> None:
    listed.refused("servers", "remove", "7", "99", "--yes")
    assert names(listed) == ["Kadavu", "Levuka"]


def test_clearing_the_hardware_id_asks_first(listed: Shell) -> None:
    with listed.database.writing() as session:
        session.execute(text("UPDATE servers SET hardware_id = 'a-machine' WHERE sync_id = 7"))
    listed.refused("servers", "clear-hardware", "7", stdin="n\n")
    assert rows(listed)[0]["hardware_id"] == "a-machine"
    listed.do("servers", "clear-hardware", "7", "--yes")
    assert rows(listed)[0]["hardware_id"] is None
