"""The People page, with scripting and without."""

import ipaddress
import re

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from panel.accounts import people
from panel.accounts.people import Permission
from panel.accounts.sign_in import find_person
from panel.db import Database
from panel.models.people import Person
from panel.web.base.context import installation_of
from tests.support.cast import MANAGER, OPERATOR, PASSWORD, VIEWER
from tests.web.conftest import Browser, Happened, MakeApp

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])


@pytest.fixture
def vito(app: Flask) -> Person:
    return _find(installation_of(app).database, VIEWER)


def _find(database: Database, name: str) -> Person:
    with database.reading() as session:
        person = find_person(session, name)
    assert person is not None
    return person


def _done(response: TestResponse, htmx: bool) -> bool:
    if htmx:
        return response.status_code == 200 and "<html" not in response.text
    return bool(response.status_code == 303 and response.location == "/people")


def test_it_lists_everybody_and_what_they_may(manager: Browser) -> None:
    text = re.sub(r"<[^>]*>|\s+", " ", manager.get("/people").text)
    assert re.search(r"asha +view, edit preferences, manage people +· this is you", text)
    assert re.search(r"vito +view ", text)


@either
def test_only_managers_come_here(viewer: Browser, nobody: Browser, htmx: bool) -> None:
    assert viewer.get("/people", htmx=htmx).status_code == 403
    assert viewer.post("/people", {"name": "eve"}, htmx=htmx).status_code == 403
    assert nobody.get("/people", htmx=htmx).status_code in (303, 401)
    assert nobody.post("/people", {"name": "eve"}, htmx=htmx).status_code == 401


@either
def test_a_manager_adds_somebody(
    manager: Browser, nobody: Browser, happened: Happened, htmx: bool
) -> None:
    values = {"name": "maya", "password": PASSWORD, "permission": ["view", "edit"]}
    assert _done(manager.post("/people", values, htmx=htmx), htmx)
    assert nobody.sign_in("maya").status_code == 303
    assert nobody.get("/people").status_code == 403
    row = happened("person_added")[0]
    assert (row.person, row.label) == (MANAGER, "maya")
    assert PASSWORD not in str(row.became)


@either
def test_what_cannot_be_added_comes_back_with_the_reasons(manager: Browser, htmx: bool) -> None:
    values = {"name": "Vito ", "password": "short", "permission": "manage"}
    response = manager.post("/people", values, htmx=htmx)
    assert response.status_code == 422
    assert ("<html" in response.text) is not htmx
    assert "There is a person of this name already." in response.text
    assert "At least 10 characters." in response.text
    assert 'value="Vito "' in response.text
    assert "short" not in response.text
    assert 'value="manage" checked' in response.text.split("Add a person")[1]


@either
def test_a_typed_password_waits_while_something_else_is_put_right(
    manager: Browser, nobody: Browser, htmx: bool
) -> None:
    password = "not what vito has"
    values = {"name": "vito", "password": password, "permission": "view"}
    refused = manager.post("/people", values, htmx=htmx).text
    assert password not in refused
    typed = re.search(r'name="typed" value="([^"]+)"', refused)
    assert typed
    values = {"name": "maya", "password": "", "typed": typed[1], "permission": "view"}
    assert _done(manager.post("/people", values, htmx=htmx), htmx)
    assert nobody.sign_in("maya", password).status_code == 303


@either
def test_permissions_change_what_somebody_may(
    manager: Browser, viewer: Browser, vito: Person, htmx: bool
) -> None:
    address = f"/people/{vito.id}/permissions"
    values = {"version": str(vito.version), "permission": "manage"}
    assert _done(manager.post(address, values, htmx=htmx), htmx)
    assert viewer.get("/people").status_code == 200


@either
def test_the_second_of_two_managers_is_told_what_the_first_one_did(
    database: Database, manager: Browser, vito: Person, htmx: bool
) -> None:
    with database.writing() as session:
        people.set_permissions(session, OPERATOR, vito.id, [Permission.EDIT])
    address = f"/people/{vito.id}/permissions"
    stale = {"version": str(vito.version), "permission": "manage"}
    response = manager.post(address, stale, htmx=htmx)
    assert response.status_code == 409
    assert "operator" in response.text
    assert "edit preferences" in response.text
    assert not _find(database, VIEWER).may_manage
    version = re.search(rf'{address}".*?name="version" value="(\d+)"', response.text, re.S)
    assert version
    chosen = {"version": version[1], "permission": "manage"}
    assert _done(manager.post(address, chosen, htmx=htmx), htmx)
    assert _find(database, VIEWER).may_manage


@either
def test_a_new_password_ends_the_sessions_of_before(
    manager: Browser, viewer: Browser, vito: Person, htmx: bool
) -> None:
    address = f"/people/{vito.id}/password"
    refused = manager.post(address, {"own_password": PASSWORD, "password": "short"}, htmx=htmx)
    assert refused.status_code == 422
    assert "At least 10 characters." in refused.text
    assert _done(
        manager.post(
            address, {"own_password": PASSWORD, "password": "another password"}, htmx=htmx
        ),
        htmx,
    )
    assert viewer.get("/").status_code == 303
    assert viewer.sign_in(VIEWER, "another password").status_code == 303


@either
@pytest.mark.parametrize("own", ["", "not what asha has"])
def test_a_new_password_for_another_needs_ones_own(
    manager: Browser, nobody: Browser, vito: Person, own: str, htmx: bool
) -> None:
    values = {"own_password": own, "password": "another password"}
    refused = manager.post(f"/people/{vito.id}/password", values, htmx=htmx)
    assert refused.status_code == 422
    assert "This is not your password." in refused.text
    assert nobody.sign_in(VIEWER).status_code == 303


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("vito-vito-2026", "It is little more than the name."),
        ("Password2026!", "Many use this one."),
        ("1234567890", "Many use this one."),
        ("short", "At least 10 characters."),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused_with_the_reason(
    manager: Browser, vito: Person, password: str, reason: str
) -> None:
    values = {"own_password": PASSWORD, "password": password}
    refused = manager.post(f"/people/{vito.id}/password", values, htmx=True)
    assert refused.status_code == 422
    assert reason in refused.text


def test_who_changes_the_own_password_stays_here_and_is_out_elsewhere(
    app: Flask, database: Database, manager: Browser
) -> None:
    elsewhere = Browser(app)
    elsewhere.sign_in(MANAGER)
    address = f"/people/{_find(database, MANAGER).id}/password"
    manager.post(address, {"own_password": PASSWORD, "password": "another password"})
    assert manager.get("/people").status_code == 200
    assert elsewhere.get("/people").status_code == 303
    # It may be the second copy of a form that was sent twice: not told that nothing was changed.
    late = elsewhere.post(address, {"own_password": PASSWORD, "password": "another password"})
    assert late.status_code == 401
    assert "Your password was changed" in late.text
    assert "nothing was changed" not in late.text


def test_with_scripting_the_page_is_fetched_anew_after_the_own_password(
    database: Database, manager: Browser
) -> None:
    address = f"/people/{_find(database, MANAGER).id}/password"
    of_page = manager.token()
    answer = manager.post(
        address, {"own_password": PASSWORD, "password": "another password"}, htmx=True
    )
    # What the page holds is the token of a session that has just ended.
    assert manager.get("/people").status_code == 200
    assert manager.token() != of_page
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/people")


@either
def test_disabling_shuts_out_at_once_and_can_be_undone(
    manager: Browser, viewer: Browser, vito: Person, htmx: bool
) -> None:
    assert _done(manager.post(f"/people/{vito.id}/disable", htmx=htmx), htmx)
    assert viewer.get("/").status_code == 303
    assert "disabled" in manager.get("/people").text
    assert _done(manager.post(f"/people/{vito.id}/enable", htmx=htmx), htmx)
    assert viewer.sign_in(VIEWER).status_code == 303


@either
@pytest.mark.parametrize("act", ["disable", "permissions"])
def test_the_last_manager_stays_one(
    database: Database, manager: Browser, act: str, htmx: bool
) -> None:
    asha = _find(database, MANAGER)
    values = {"version": str(asha.version), "permission": "view"}
    response = manager.post(f"/people/{asha.id}/{act}", values, htmx=htmx)
    assert response.status_code == 400
    assert re.search("autofocus>asha is the last one who manages people.", response.text)
    assert manager.get("/people").status_code == 200


def test_a_person_who_is_not_there(manager: Browser) -> None:
    for act in ("permissions", "password", "disable", "enable"):
        values = {"own_password": PASSWORD, "password": "long enough", "version": "1"}
        assert manager.post(f"/people/77/{act}", values).status_code == 404


def test_whom_the_intranet_signs_in_needs_no_password(
    make_app: MakeApp, database: Database
) -> None:
    app = make_app(
        trusted_proxies=(ipaddress.ip_network("127.0.0.1"),),
        remote_user_header="X-Remote-User",
        remote_user_secret="known-to-the-proxy-alone",
    )
    manager = Browser(app)
    manager.sign_in(MANAGER)
    assert manager.post("/people", {"name": "maya", "permission": "view"}).status_code == 303
    assert _find(database, "maya").password_hash is None
    maya = Browser(app, HTTP_X_SYNC_PANEL_PROXY="known-to-the-proxy-alone")
    assert maya.get("/activity", X_Remote_User="maya").status_code == 200


def test_names_are_shown_as_they_are_typed(manager: Browser) -> None:
    manager.post("/people", {"name": "<b>Anaïs</b>", "password": PASSWORD, "permission": "view"})
    assert "&lt;b&gt;Anaïs&lt;/b&gt;" in manager.get("/people").text
