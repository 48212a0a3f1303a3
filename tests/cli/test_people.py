"""``sync-panel init``, ``person`` and ``code``: who may come in, set up from the shell."""

import json

import pytest

from panel.accounts.authorisation_code import try_code
from panel.accounts.sign_in import check_sign_in, find_person
from panel.activity.log import Actor
from panel.errors import Refusal
from tests.cli.conftest import SYSTEM_USER
from tests.support.cast import CODE, PASSWORD
from tests.support.shell import Shell


def set_up(shell: Shell) -> None:
    shell.do("init", "--user", "Asha", stdin=f"{PASSWORD}\n{CODE}\n")


def signs_in(shell: Shell, name: str, password: str) -> bool:
    try:
        check_sign_in(shell.database, name, password, "127.0.0.1")
    except Refusal:
        return False
    return True


def opens(shell: Shell, code: str) -> bool:
    with shell.database.reading() as session:
        person = find_person(session, "Asha")
        assert person is not None
    try:
        try_code(shell.database, Actor("Asha", person_id=person.id), code, 15)
    except Refusal:
        return False
    return True


@pytest.mark.both_databases
def test_init_makes_the_first_person_and_the_code(shell: Shell) -> None:
    set_up(shell)
    assert signs_in(shell, "Asha", PASSWORD)
    assert opens(shell, CODE)
    people = json.loads(shell.do("person", "list", "--json"))
    assert people == [
        {
            "name": "Asha",
            "permissions": ["view", "edit", "manage"],
            "disabled": False,
            "password": True,
        }
    ]


def test_init_reads_files_and_takes_no_line_end_for_a_part_of_the_secret(shell: Shell) -> None:
    password = shell.file("password", f"\ufeff{PASSWORD}\r\n")
    code = shell.file("code", f"{CODE}\n")
    shell.do("init", "--user", "Asha", "--password-file", password, "--code-file", code)
    assert signs_in(shell, "Asha", PASSWORD)
    assert opens(shell, CODE)


def test_a_second_init_is_refused(shell: Shell) -> None:
    set_up(shell)
    reason = shell.refused("init", "--user", "Ben", stdin=f"{PASSWORD}\n{CODE}\n")
    assert "set up already" in reason
    assert "Ben" not in shell.do("person", "list")


@pytest.mark.parametrize(
    ("stdin", "reason"),
    [
        (f"short\n{CODE}\n", "password: At least 10 characters."),
        (f"{PASSWORD}\nshort\n", "code: At least 10 characters."),
        (f"{PASSWORD}\n", "Authorisation code: standard input has no line"),
    ],
)
def test_init_says_what_cannot_stand_and_makes_nothing(
    shell: Shell, stdin: str, reason: str
) -> None:
    assert reason in shell.refused("init", "--user", "Asha", stdin=stdin)
    assert json.loads(shell.do("person", "list", "--json")) == []


def test_a_secret_that_cannot_be_read_is_named(shell: Shell) -> None:
    missing = str(shell.folder / "missing")
    reason = shell.refused("init", "--user", "Asha", "--password-file", missing)
    assert f"{missing} cannot be read: No such file" in reason
    two_lines = shell.file("two", f"{PASSWORD}\n{CODE}\n")
    reason = shell.refused("init", "--user", "Asha", "--password-file", two_lines)
    assert "must hold one line" in reason


def test_a_person_comes_changes_and_goes(shell: Shell) -> None:
    set_up(shell)
    shell.do("person", "add", "Ben", stdin=f"{PASSWORD}\n")
    assert "Ben   view\n" in shell.do("person", "list")
    shell.do("person", "permit", "Ben", "edit", "manage")
    assert "Ben   view, edit, manage\n" in shell.do("person", "list")
    shell.do("person", "password", "Ben", stdin="another password\n")
    assert signs_in(shell, "Ben", "another password")
    shell.do("person", "disable", "Ben")
    assert not signs_in(shell, "Ben", "another password")
    assert "disabled" in shell.do("person", "list")
    shell.do("person", "enable", "Ben")
    assert signs_in(shell, "Ben", "another password")


def test_a_person_of_the_proxy_needs_no_password(shell: Shell) -> None:
    shell.do("person", "add", "Ben", "edit", "--no-password")
    assert not signs_in(shell, "Ben", "")
    assert json.loads(shell.do("person", "list", "--json"))[0]["password"] is False


def test_the_last_manager_stays(shell: Shell) -> None:
    set_up(shell)
    assert "the last one" in shell.refused("person", "disable", "Asha")
    assert "the last one" in shell.refused("person", "permit", "Asha", "view")
    assert signs_in(shell, "Asha", PASSWORD)


@pytest.mark.parametrize("act", ["disable", "enable", "password", "permit"])
def test_nobody_of_that_name(shell: Shell, act: str) -> None:
    words = ["view"] if act == "permit" else []
    reason = shell.refused("person", act, "Nobody", *words, stdin=f"{PASSWORD}\n")
    assert reason == "Error: There is no person called Nobody.\n"


def test_a_generated_code_is_shown_once_and_opens(shell: Shell) -> None:
    set_up(shell)
    code = shell.do("code", "set", "--generate").strip()
    assert opens(shell, code)
    assert not opens(shell, CODE)
    assert all(code not in str((row.label, row.was, row.became)) for row in shell.activity())


def test_a_code_from_standard_input(shell: Shell) -> None:
    set_up(shell)
    assert "At least 10" in shell.refused("code", "set", stdin="short\n")
    assert "another-code" not in shell.do("code", "set", "--code-file", "-", stdin="another-code\n")
    assert opens(shell, "another-code")


def test_contradictions_are_wrong_usage(shell: Shell) -> None:
    shell.refused("code", "set", "--generate", "--code-file", "-", code=2)
    shell.refused("person", "add", "Ben", "--no-password", "--password-file", "-", code=2)
    shell.refused("person", "permit", "Ben", "everything", code=2)


def test_what_was_done_is_recorded_under_the_system_user(shell: Shell) -> None:
    set_up(shell)
    shell.do("person", "add", "Ben", stdin=f"{PASSWORD}\n")
    rows = shell.activity()
    assert [row.what for row in rows] == ["person_added", "code_set", "person_added"]
    assert {(row.person, row.via) for row in rows} == {(SYSTEM_USER, "shell")}


def test_behind_sudo_the_person_is_recorded(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ben")
    set_up(shell)
    assert {row.person for row in shell.activity()} == {"ben"}


def test_a_person_who_is_kept_waiting_is_let_in_from_the_shell(shell: Shell) -> None:
    set_up(shell)
    for _ in range(5):
        assert not signs_in(shell, "Asha", "a wrong one")
        assert not opens(shell, "a wrong one")
    assert not signs_in(shell, "Asha", PASSWORD)
    assert not opens(shell, CODE)
    assert shell.do("person", "unlock", "ASHA") == "ASHA may try again.\n"
    assert signs_in(shell, "Asha", PASSWORD)
    assert opens(shell, CODE)
    assert "no person" in shell.refused("person", "unlock", "Nobody")
