"""``sync-panel token`` and ``status-line``: made, listed without secrets, revoked."""

import json

from tests.support.shell import Shell


def test_a_token_is_shown_once_and_never_listed(shell: Shell) -> None:
    secret = shell.do("token", "add", "Dispensary").strip()
    assert len(secret) > 40
    listed = shell.do("token", "list") + shell.do("token", "list", "--json")
    assert "Dispensary" in listed
    assert secret not in listed
    (row,) = json.loads(shell.do("token", "list", "--json"))
    assert (row["name"], row["last_used_at"], row["revoked_at"]) == ("Dispensary", None, None)


def test_a_revoked_token_is_listed_as_such(shell: Shell) -> None:
    shell.do("token", "add", "Dispensary")
    shell.do("token", "revoke", "Dispensary")
    (row,) = json.loads(shell.do("token", "list", "--json"))
    assert row["revoked_at"]
    assert [row.what for row in shell.activity()] == ["token_revoked", "token_added"]


def test_what_cannot_be_is_refused_in_words(shell: Shell) -> None:
    shell.do("token", "add", "Dispensary")
    assert "Revoke it first" in shell.refused("token", "add", "Dispensary")
    assert "no token" in shell.refused("token", "revoke", "Ward")


def test_a_token_may_start_a_sync_only_where_that_was_said(shell: Shell) -> None:
    shell.do("token", "add", "Dispensary")
    shell.do("token", "add", "Ward", "--may-sync")
    listed = json.loads(shell.do("token", "list", "--json"))
    assert [(row["name"], row["may_sync"]) for row in listed] == [
        ("Dispensary", False),
        ("Ward", True),
    ]
    shell.do("token", "revoke", "Ward")
    shell.do("token", "add", "Ward")
    assert not any(row["may_sync"] for row in json.loads(shell.do("token", "list", "--json")))


def test_the_address_of_the_status_line_is_made_and_ended(shell: Shell) -> None:
    first, second = (shell.do("status-line", "make").strip() for _ in range(2))
    assert first != second
    assert first.startswith("/status/")
    shell.do("status-line", "revoke")
    assert "no address" in shell.refused("status-line", "revoke")
    made, ended = "status_address_made", "status_address_revoked"
    assert [row.what for row in shell.activity()] == [ended, made, made]
