"""``sync-panel export`` and ``import``: to another machine, after a look at what changes."""

import json
from typing import Any

import click
import pytest

from tests.cli.test_servers import add, names
from tests.support.shell import Shell

PASSPHRASE = "a passphrase of the tests"


@pytest.fixture
def site(primary: Shell) -> dict[str, Any]:
    """What a primary with one satellite exports."""
    add(primary, 7, "Kadavu", "KDV-01")
    document: dict[str, Any] = json.loads(primary.do("export"))
    return document


def test_an_export_without_secrets_has_none(primary: Shell, site: dict[str, Any]) -> None:
    assert site["settings"]["name"] == "National Store"
    assert site["servers"] == [
        {"sync_id": 7, "name": "Kadavu", "store": "KDV-01", "url": "", "user_name": ""}
    ]
    assert "secrets" not in site
    assert "exported" not in primary.activity()[0].what


def test_another_machine_takes_it_over(other_shell: Shell, site: dict[str, Any]) -> None:
    path = other_shell.file("site.json", json.dumps(site))
    answer = other_shell.do("import", path, stdin="y\n")
    assert '~ settings  name: "" -> "National Store"\n' in answer
    assert "+ 7 Kadavu\n" in answer
    assert answer.endswith("Imported.\n")
    assert json.loads(other_shell.do("export")) == site
    assert other_shell.do("import", path) == "Nothing to change.\n"


def test_declined_it_changes_nothing(other_shell: Shell, site: dict[str, Any]) -> None:
    path = other_shell.file("site.json", json.dumps(site))
    other_shell.refused("import", path, stdin="n\n")
    other_shell.refused("import", path)
    assert names(other_shell) == []
    assert other_shell.activity() == []


def test_what_changes_during_the_question_is_not_overwritten(
    primary: Shell, site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site["settings"]["name"] = "National Medical Stores"

    def answer(*_: object, **__: object) -> None:
        primary.do("servers", "add", "--sync-id", "8", "--name", "Levuka", "--store", "LVK-01")

    monkeypatch.setattr(click, "confirm", answer)
    reason = primary.refused("import", primary.file("site.json", json.dumps(site)))
    assert reason == "Error: Changed meanwhile: run it again.\n"
    assert names(primary) == ["Kadavu", "Levuka"]
    assert '"name": "National Store"' in primary.do("settings", "show", "--json")


def test_what_a_file_does_not_list_is_removed(primary: Shell, site: dict[str, Any]) -> None:
    add(primary, 8, "Levuka", "LVK-01")
    answer = primary.do("import", "-", "--yes", stdin=json.dumps(site))
    assert answer == "- 8 Levuka\nImported.\n"
    assert names(primary) == ["Kadavu"]


def test_all_or_nothing(other_shell: Shell, site: dict[str, Any]) -> None:
    site["servers"].append({"sync_id": 8, "name": "", "store": "LVK-01"})
    reason = other_shell.refused("import", "-", "--yes", stdin=json.dumps(site))
    assert "server 8 name: A server needs a Name." in reason
    assert names(other_shell) == []
    assert '"sync_id": null' in other_shell.do("settings", "show", "--json")


def test_secrets_travel_under_a_passphrase(satellite: Shell, other_shell: Shell) -> None:
    satellite.do("settings", "set", "password=@-", stdin="open sesame\n")
    exported = satellite.do("export", "--with-secrets", stdin=f"{PASSPHRASE}\n")
    assert "sesame" not in exported
    path = other_shell.file("site.json", exported)
    assert "passphrase" in other_shell.refused("import", path, "--yes")
    wrong = other_shell.file("wrong", "another passphrase")
    reason = other_shell.refused("import", path, "--yes", "--passphrase-file", wrong)
    assert "does not open" in reason
    right = other_shell.file("right", PASSPHRASE)
    answer = other_shell.do("import", path, "--yes", "--passphrase-file", right)
    assert "~ settings  password: changed\n" in answer
    assert "sesame" not in answer
    assert '"password": true' in other_shell.do("settings", "show", "--json")
    again = other_shell.do("import", path, "--yes", "--passphrase-file", right)
    assert again == "Nothing to change.\n"


def test_half_a_pair_is_refused_before_the_question(primary: Shell, other_shell: Shell) -> None:
    own = ("--user-name", "kadavu", "--password-file", "-")
    primary.do("servers", "add", "--sync-id", "7", "--name", "Kadavu", "--store", "KDV-01", *own,
               stdin="open sesame\n")  # fmt: skip
    path = other_shell.file("site.json", primary.do("export"))
    reason = other_shell.refused("import", path, stdin="y\n")
    assert "server 7 password: The file has its User name without its Password" in reason
    assert "Change this?" not in reason
    whole = primary.do("export", "--with-secrets", stdin=f"{PASSPHRASE}\n")
    right = other_shell.file("right", PASSPHRASE)
    path = other_shell.file("whole.json", whole)
    other_shell.do("import", path, "--yes", "--passphrase-file", right)
    assert names(other_shell) == ["Kadavu"]


def test_a_short_passphrase_is_refused(satellite: Shell) -> None:
    reason = satellite.refused("export", "--with-secrets", stdin="short\n")
    assert "passphrase: At least 12 characters." in reason


def test_a_file_that_a_windows_shell_wrote_is_read(
    other_shell: Shell, site: dict[str, Any]
) -> None:
    path = other_shell.folder / "site.json"
    path.write_bytes(json.dumps(site).encode("utf-16"))
    other_shell.do("import", str(path), "--yes")
    assert names(other_shell) == ["Kadavu"]


def test_what_is_no_such_file_is_refused(shell: Shell) -> None:
    assert "is not JSON" in shell.refused("import", shell.file("a", "not JSON"), "--yes")
    assert "no file that" in shell.refused("import", shell.file("b", "[]"), "--yes")
    assert "cannot be read" in shell.refused("import", str(shell.folder / "c"), "--yes")


def test_standard_input_cannot_be_the_file_and_the_answer(shell: Shell) -> None:
    shell.refused("import", "-", stdin="{}", code=2)
    shell.refused("import", "-", "--yes", "--passphrase-file", "-", stdin="{}", code=2)
    shell.refused("export", "--passphrase-file", "-", code=2)
