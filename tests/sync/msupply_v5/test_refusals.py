"""Every error of v5: its code, its status, and that nothing was changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from panel.accounts import throttle
from panel.db import Database
from panel.installation import Installation
from panel.models.people import Activity
from panel.models.records import ChangeSequence, Record
from panel.models.runs import Peer, Run
from panel.models.settings import Server, Settings
from panel.preferences.shared_password import wire_password
from panel.security.hashes import hash_secret, verify_secret
from panel.sync.msupply_v5 import primary, sites
from panel.sync.msupply_v5.calls import CALLS as ANSWERED
from panel.sync.msupply_v5.calls import Calls
from panel.sync.primary import run_log
from panel.web.app import create_app
from panel.web.base.context import installation_of
from tests.support.clock import Clock
from tests.support.remote_site import RemoteSite, change_of, error_of

CALLS = [
    ("GET", "site"),
    ("GET", "site_status"),
    ("POST", "initialise"),
    ("GET", "central_records?cursor=0&limit=5"),
    ("GET", "queued_records?limit=5"),
    ("POST", "queued_records"),
    ("POST", "acknowledged_records"),
]
every_call = pytest.mark.parametrize(("method", "path"), CALLS)


def try_call(site: RemoteSite, method: str, path: str) -> tuple[int, str]:
    return error_of(site.call(method, path, {} if method == "POST" else None))


@every_call
def test_an_unknown_user_name(site: RemoteSite, method: str, path: str) -> None:
    stranger = RemoteSite(site.client, user_name="rotuma")
    assert try_call(stranger, method, path) == (401, "site_name_not_found")


def test_the_shared_user_name_is_no_sites_own(site: RemoteSite) -> None:
    shared = RemoteSite(site.client, user_name="country", password="a shared word")
    assert try_call(shared, "GET", "site") == (401, "site_name_not_found")


def test_no_user_name_at_all(site: RemoteSite) -> None:
    for header in ("", "Basic", "Basic %%%", "Basic //8=", "Bearer 7.x"):
        headers = {"authorization": header, "version": "14", "msupply-site-uuid": "m"}
        response = site.client.get("/sync/v5/site", headers=headers)
        assert response.status_code == 401


@every_call
def test_a_wrong_password(site: RemoteSite, method: str, path: str) -> None:
    wrong = site.with_password("coral letters 2")
    assert try_call(wrong, method, path) == (401, "site_incorrect_password")


@every_call
def test_another_machine(site: RemoteSite, method: str, path: str) -> None:
    site.meet()
    other = site.on_another_machine()
    assert try_call(other, method, path) == (401, "site_incorrect_hardware_id")


def test_another_machine_is_let_in_once_the_hardware_id_was_cleared(
    site: RemoteSite, database: Database
) -> None:
    site.meet()
    assert try_call(site.on_another_machine(), "GET", "site")[0] == 401
    with database.writing() as session:
        session.query(Server).one().hardware_id = None
    site.on_another_machine().meet()
    assert try_call(site, "GET", "site") == (401, "site_incorrect_hardware_id")


def test_a_pair_typed_on_the_wrong_machine_binds_nothing(
    site: RemoteSite, database: Database
) -> None:
    """It finds the id of another site and goes no further; the right machine comes later."""
    wrong = site.on_another_machine()
    site_id = wrong.get("site")["id"]
    wrong.wait_until_idle()
    with database.reading() as session:
        server = session.query(Server).one()
        assert (server.hardware_id, server.last_contact_at) == (None, None)
    site.meet()
    assert site.get("site")["id"] == site_id
    assert try_call(wrong, "GET", "site") == (401, "site_incorrect_hardware_id")


def test_a_machine_that_does_not_say_which_it_is(site: RemoteSite) -> None:
    nobody = RemoteSite(site.client, hardware_id="")
    assert try_call(nobody, "GET", "site") == (401, "site_incorrect_hardware_id")


@every_call
def test_a_site_without_a_store(
    site: RemoteSite, database: Database, method: str, path: str
) -> None:
    with database.writing() as session:
        session.query(Server).one().store = ""
    assert try_call(site, method, path) == (401, "site_has_no_store")


@every_call
@pytest.mark.parametrize("version", ["", "0", "17", "-1", "14.0", "new"])
def test_a_version_outside_the_window(
    site: RemoteSite, version: str, method: str, path: str
) -> None:
    odd = RemoteSite(site.client, version=version)
    response = odd.call(method, path, {} if method == "POST" else None)
    assert error_of(response) == (409, "api_version_incompatible")
    assert {"oldest": 1, "newest": 16}.items() <= response.get_json()["error"]["data"].items()


@pytest.mark.parametrize("version", ["1", "14", "15", "16"])
def test_a_version_within_the_window(site: RemoteSite, version: str) -> None:
    RemoteSite(site.client, version=version).meet()


def test_what_v5_does_not_know_is_ignored(site: RemoteSite, database: Database) -> None:
    headers = {"x-new": "1", "msupply-store": "s"}
    entry = {**change_of("s1", {"quantity": 5}), "storeId": "s", "transferStoreId": None}
    body = {"queueLength": 1, "data": [entry], "isInitialised": True}
    site.call("POST", "queued_records?new=1", body, headers)
    with database.reading() as session:
        assert session.query(Record).one().data == '{"quantity":5}'


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"interval_minutes": 0}, "sync_paused", "at its next sync"),
        ({"sync_id": 9}, "not_a_primary", "not a central server"),
    ],
)
def test_a_reason_is_told_to_the_person_at_the_site(
    site: RemoteSite, database: Database, values: dict[str, Any], code: str, words: str
) -> None:
    """A site shows the message of what it does not know: no word of a panel's screen is in it."""
    with database.writing() as session:
        for name, value in values.items():
            setattr(session.query(Settings).one(), name, value)
    response = site.call("GET", "site")
    assert error_of(response)[1] == code
    message = response.get_json()["error"]["message"]
    assert words in message
    assert not {"panel", "satellite", "primary", "Un-lock"} & set(message.split())


@every_call
def test_a_url_on_the_primary_disables_sync(
    site: RemoteSite, database: Database, method: str, path: str
) -> None:
    with database.writing() as session:
        session.query(Server).one().url = "https://elsewhere.example"
    assert try_call(site, method, path)[1] == "sync_disabled"


def test_a_paused_primary_says_so(site: RemoteSite, database: Database) -> None:
    with database.writing() as session:
        session.query(Settings).one().interval_minutes = 0
    assert try_call(site, "GET", "site") == (503, "sync_paused")


@pytest.mark.both_databases
@pytest.mark.parametrize("error", [OperationalError("BEGIN", {}, Exception()), NoConnection()])
@pytest.mark.parametrize(("module", "name"), [(sites, "recognise"), (run_log, "find_peer")])
def test_a_database_that_is_too_busy_to_say_who_calls(
    site: RemoteSite, monkeypatch: pytest.MonkeyPatch, error: Exception, module: Any, name: str
) -> None:
    def busy(*_: Any) -> None:
        raise error

    site.meet()
    # Refused, and the note of it is what finds the database busy.
    caller = site.on_another_machine() if module is run_log else site
    monkeypatch.setattr(module, name, busy)
    assert try_call(caller, "GET", "site") == (503, "site_auth_timeout")


@contextmanager
def under_way(monkeypatch: pytest.MonkeyPatch, server_id: int, name: str) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setitem(primary._under_way, server_id, name)
        yield


@pytest.mark.both_databases
def test_two_calls_of_one_site_at_once(
    site: RemoteSite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.reading() as session:
        server_id = session.query(Server).one().id
    with under_way(monkeypatch, server_id, "central_records"):
        for method, path in CALLS:
            if path != "site_status":
                assert try_call(site, method, path) == (503, "sync_is_running")
    site.get("site")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("initialise", "initialisation_in_progress"),
        ("queued_records", "integration_in_progress"),
        ("central_records", "sync_is_running"),
    ],
)
def test_the_status_says_what_is_under_way(
    site: RemoteSite,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    code: str,
) -> None:
    with database.reading() as session:
        server_id = session.query(Server).one().id
    with under_way(monkeypatch, server_id, name):
        assert site.get("site_status")["code"] == code
    assert site.get("site_status")["code"] == "idle"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "central_records?cursor=x&limit=5", None),
        ("GET", "central_records?cursor=-1&limit=5", None),
        ("GET", "queued_records?limit=0", None),
        ("POST", "queued_records", {"queueLength": -1, "data": []}),
        ("POST", "queued_records", {"queueLength": 1, "data": [[]]}),
        ("POST", "queued_records", {"queueLength": 1, "data": {}}),
        ("POST", "queued_records", {"queueLength": 1, "data": [change_of("s", {}, "Undo")]}),
        ("POST", "queued_records", {"queueLength": 1, "data": [{"action": "Insert"}]}),
        ("POST", "acknowledged_records", {"syncIDs": "1"}),
        ("POST", "acknowledged_records", None),
        ("POST", "queued_records", None),
    ],
)
def test_what_is_not_understood(
    site: RemoteSite, database: Database, method: str, path: str, body: dict[str, Any] | None
) -> None:
    assert error_of(site.call(method, path, body)) == (400, "bad_request")
    with database.reading() as session:
        assert session.query(Record).count() == 0


@pytest.mark.parametrize("path", ["", "sites", "site/7", "initialise"])
def test_a_call_that_v5_does_not_have(site: RemoteSite, path: str) -> None:
    assert site.call("GET", path).status_code == 404


def test_a_site_that_was_away_for_too_long_is_told_to_initialise(
    site: RemoteSite, database: Database
) -> None:
    site.initialise()
    with database.writing() as session:
        clock = session.query(ChangeSequence).one()
        clock.seq, clock.purged_seq = 10, 10
    assert try_call(site, "GET", "central_records?cursor=3&limit=5") == (409, "initialise_needed")
    site.initialise()
    site.get("central_records?cursor=0&limit=5")


def test_a_cursor_from_the_future_is_not_believed(site: RemoteSite) -> None:
    # The primary was restored from a backup: waiting for its count to catch up would lose records.
    assert try_call(site, "GET", "central_records?cursor=99&limit=5") == (409, "initialise_needed")


@pytest.mark.both_databases
def test_a_refusal_is_kept_once_for_the_screen(site: RemoteSite, database: Database) -> None:
    site.meet()
    for _ in range(3):
        try_call(site.on_another_machine(), "GET", "site")
    with database.reading() as session:
        rows = session.query(Activity).filter_by(what="sync_refused").all()
        run, peer = session.query(Run).one(), session.query(Peer).one()
    assert [row.subject for row in rows] == ["server"]
    assert (run.result, run.reason) == ("refused", "site_incorrect_hardware_id")
    assert peer.refusal == "site_incorrect_hardware_id"
    site.get("site")
    with database.reading() as session:
        assert session.query(Peer).one().refusal == ""


def test_a_password_that_was_changed_counts_at_once(site: RemoteSite, database: Database) -> None:
    site.get("site")
    with database.writing() as session:
        server = session.query(Server).one()
        server.password_hash = hash_secret(wire_password("another word"))
    assert try_call(site, "GET", "site") == (401, "site_incorrect_password")
    site.with_password("another word").get("site")


@pytest.mark.both_databases
def test_made_up_names_do_not_make_room_for_more_guesses(
    site: RemoteSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MOST_COUNTS", 5)
    site.meet()
    for guess in range(10):
        try_call(site.with_password(f"guess {guess}"), "GET", "site")
    for number in range(40):
        try_call(RemoteSite(site.client, user_name=f"made up {number}"), "GET", "site")
    assert try_call(site, "GET", "site") == (429, "too_many_tries")


def test_a_wrong_site_does_not_shut_out_the_others_behind_its_address(
    site: RemoteSite, app: Flask, database: Database
) -> None:
    site.meet()
    wrong = RemoteSite(site.client, user_name="levuka")
    codes = [try_call(wrong, "GET", "site")[1] for _ in range(21)]
    assert codes == ["site_name_not_found"] * 20 + ["too_many_tries"]
    site.get("site")
    # Nor by guesses under its own name, from a machine that is not its own.
    thief = replace(site, hardware_id="another machine").with_password("guess")
    codes = [try_call(thief, "GET", "site")[1] for _ in range(20)]
    assert codes == ["site_incorrect_password"] * 10 + ["too_many_tries"] * 10
    site.get("site")
    # After a restart, with nothing in memory.
    again = create_app(Installation.on(installation_of(app).config, database))
    assert try_call(replace(wrong, client=again.test_client()), "GET", "site")[0] == 429
    replace(site, client=again.test_client()).get("site")


def test_a_wrong_site_alone_stays_below_the_limit_of_its_address(
    site: RemoteSite, time: Clock
) -> None:
    for _ in range(3 * 60):
        time.pass_by(minutes=1)
        try_call(site.with_password("of last year"), "GET", "site")
    # A site that was never right from there before.
    assert try_call(RemoteSite(site.client, user_name="levuka"), "GET", "site") == (
        401,
        "site_name_not_found",
    )


def test_a_password_cannot_be_guessed_from_where_the_site_is_known(site: RemoteSite) -> None:
    site.meet()
    codes = [try_call(site.with_password(f"guess {n}"), "GET", "site")[1] for n in range(12)]
    assert codes == ["site_incorrect_password"] * 10 + ["too_many_tries"] * 2
    assert try_call(site, "GET", "site") == (429, "too_many_tries")


def test_guesses_at_the_same_time_are_counted_before_one_of_them_is_right(
    site: RemoteSite, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared_by = "panel.sync.primary.authentication.verify_secret"

    def guess() -> None:
        other = replace(site, client=app.test_client())
        for n in range(10):
            try_call(other.with_password(f"guess {n}"), "GET", "site")

    def compare_late(password_hash: str, typed: str) -> bool:
        monkeypatch.setattr(compared_by, verify_secret)
        guesses = Thread(target=guess)
        guesses.start()
        guesses.join()
        return verify_secret(password_hash, typed)

    monkeypatch.setattr(compared_by, compare_late)
    assert try_call(site, "GET", "site") == (429, "too_many_tries")


def test_a_removed_row_is_not_found(site: RemoteSite, database: Database) -> None:
    with database.writing() as session:
        session.query(Server).one().removed_at = datetime(2026, 1, 1, tzinfo=UTC)
    assert try_call(site, "GET", "site") == (401, "site_name_not_found")


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_what_one_process_answers_is_under_way_for_every_other(
    site: RemoteSite, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.meet()
    told: list[tuple[str, str]] = []
    initialise = ANSWERED["POST", "initialise"]

    def ask_meanwhile(calls: Calls) -> dict[str, Any] | None:
        # What another process remembers of this call: nothing.
        with monkeypatch.context() as patch, app.test_client() as client:
            patch.setattr(primary, "_under_way", {})
            other = replace(site, client=client)
            told.append(
                (other.get("site_status")["code"], try_call(other, "POST", "initialise")[1])
            )
        return initialise(calls)

    monkeypatch.setitem(ANSWERED, ("POST", "initialise"), ask_meanwhile)
    site.post("initialise", {})
    assert told == [("initialisation_in_progress", "sync_is_running")]
    assert site.get("site_status")["code"] == "idle"
