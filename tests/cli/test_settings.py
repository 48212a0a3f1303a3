"""``sync-panel settings``: the same rules as on the screen, and no secret on a command line."""

import json
import re
from typing import Any

import pytest

from panel.models.settings import Settings
from panel.preferences.shared_password import read_password
from panel.security.vault import Vault
from tests.cli.conftest import SYSTEM_USER
from tests.support.shell import Shell


def shown(shell: Shell) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(shell.do("settings", "show", "--json"))
    return settings


def saved_password(shell: Shell) -> str | None:
    key = (shell.folder / "secret_key").read_text("ascii")
    with shell.database.reading() as session:
        return read_password(session.get_one(Settings, 1), Vault([key]))


def test_what_is_set_is_shown(shell: Shell) -> None:
    shell.do(
        "settings", "set", "sync_id=7", "name=Kadavu = Health", "store=KDV-01", "sync_interval=30",
        "user_name=kadavu", "url=central.example.org", "request_size=200", "protocol=own",
        f"fingerprint={'ab' * 32}",
    )  # fmt: skip
    assert shown(shell) == {
        "sync_interval": 30,
        "sync_id": 7,
        "name": "Kadavu = Health",
        "store": "KDV-01",
        "user_name": "kadavu",
        "password": False,
        "url": "https://central.example.org",
        "request_size": 200,
        "contact": "",
        "protocol": "own",
        "private_ca": "",
        "fingerprint": "ab" * 32,
        "proxy": "",
        "proxy_user": "",
        "proxy_password": False,
        "hardware_id": "test-machine",
    }


def test_an_empty_value_clears(satellite: Shell) -> None:
    satellite.do("settings", "set", "url=central.example.org", "request_size=200")
    satellite.do("settings", "set", "url=", "request_size=automatic", "sync_id=")
    assert (shown(satellite)["url"], shown(satellite)["request_size"]) == ("", None)
    assert shown(satellite)["sync_id"] is None
    assert re.search("^request_size +automatic$", satellite.do("settings", "show"), re.MULTILINE)


def test_each_change_is_recorded_under_the_system_user(satellite: Shell) -> None:
    satellite.do("settings", "set", "sync_interval=0", "store=KDV-02")
    interval, parameters, *_ = satellite.activity()
    assert (interval.what, interval.was) == ("interval_changed", {"interval_minutes": 10})
    assert (parameters.was, parameters.became) == ({"store": "KDV-01"}, {"store": "KDV-02"})
    assert (interval.person, interval.via) == (SYSTEM_USER, "shell")


def test_all_or_nothing(satellite: Shell) -> None:
    reason = satellite.refused("settings", "set", "name=Other", "sync_interval=99999")
    assert reason == "Error: sync_interval: Whole minutes from 0 to 10080.\n"
    assert shown(satellite)["name"] == "Kadavu"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("sync_id=seven", "sync_id: A whole number"),
        ("sync_id=0", "sync_id: A whole number from 1"),
        ("sync_interval=ten", "sync_interval: A whole number"),
        ("sync_interval=", "sync_interval: Whole minutes"),
        ("request_size=5", "request_size: "),
        ("url=ftp://central.example.org", "url: A URL begins with https://"),
        ("protocol=v9", "protocol: "),
        ("fingerprint=12", "fingerprint: "),
        ("proxy=socks5://proxy:1080", "proxy: A URL begins with https:// or http://."),
        ("proxy=proxy:3128/path", "proxy: A proxy has a host and a port, and no path."),
        ("proxy=http://me:letters@proxy", "proxy: No user name or password here"),
    ],
)
def test_a_bad_value_gets_its_reason(satellite: Shell, change: str, reason: str) -> None:
    before = shown(satellite)
    assert reason in satellite.refused("settings", "set", change)
    assert shown(satellite) == before


def test_without_a_sync_id_there_is_no_interval(shell: Shell) -> None:
    assert "Sync ID first" in shell.refused("settings", "set", "sync_interval=5")
    shell.do("settings", "set", "sync_interval=5", "sync_id=7")


@pytest.mark.parametrize("change", ["colour=red", "name", "=x"])
def test_what_is_no_key_is_wrong_usage(shell: Shell, change: str) -> None:
    assert "The keys are sync_interval, sync_id" in shell.refused("settings", "set", change, code=2)


def test_a_key_named_twice_is_wrong_usage(shell: Shell) -> None:
    assert "twice" in shell.refused("settings", "set", "name=A", "name=B", code=2)


def test_a_password_on_the_command_line_is_refused_and_not_repeated(satellite: Shell) -> None:
    reason = satellite.refused("settings", "set", "password=open sesame", code=2)
    assert "others on this machine can see" in reason
    assert "sesame" not in reason
    assert shown(satellite)["password"] is False


def test_a_password_from_a_file_or_standard_input(satellite: Shell) -> None:
    path = satellite.file("password", "open sesame\n")
    satellite.do("settings", "set", f"password=@{path}")
    assert saved_password(satellite) == "open sesame"
    satellite.do("settings", "set", "password=@-", stdin="open barley\n")
    assert saved_password(satellite) == "open barley"
    everything = satellite.do("settings", "show") + satellite.do("settings", "show", "--json")
    assert "barley" not in everything
    assert all("barley" not in str((row.was, row.became)) for row in satellite.activity())


def test_an_empty_password_removes_it(satellite: Shell) -> None:
    satellite.do("settings", "set", "password=@-", stdin="open sesame\n")
    satellite.do("settings", "set", "password=", "name=Other")
    assert (shown(satellite)["password"], shown(satellite)["name"]) == (False, "Other")
    assert satellite.activity()[0].what == "password_removed"


def test_a_serious_change_names_what_confirms_it(primary: Shell) -> None:
    change = ("settings", "set", "url=https://elsewhere.example.org")
    reason = primary.refused(*change)
    assert "disables sync" in reason
    assert "--confirm url_on_primary" in reason
    assert shown(primary)["url"] == ""
    primary.do(*change, "--confirm", "url_on_primary")
    assert shown(primary)["url"] == "https://elsewhere.example.org"
