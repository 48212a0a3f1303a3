"""Deny by default: who is not signed in, or may not, gets nowhere."""

from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.routing import Rule

from panel.accounts import people
from panel.accounts.people import Permission
from panel.accounts.sign_in import find_person
from panel.db import Database
from panel.models.people import Person
from panel.web.auth.access import PUBLIC, SIGN_OUT
from tests.support.cast import OPERATOR, PASSWORD, VIEWER
from tests.web.conftest import Browser, Happened

# Reading the list once more is the checkpoint: who adds to it must mean it.
FOR_ANYBODY = {
    "server.health",
    "people.choose_language",
    "people.show_languages",
    "sign_in.enter",
    "sign_in.set_up",
    "sign_in.show",
    "sign_in.show_set_up",
}
# They ask for a token or a pair instead; see tests/api and tests/v5.
FOR_PROGRAMS = {
    "api.delete",
    "api.delivery",
    "api.describe",
    "api.follow",
    "api.get",
    "api.list_",
    "api.put",
    "api.status",
    "api.sync_now",
    "api.write",
    "server.call_v5",
    "server.exchange",
    "server.give_piece",
    "server.join",
    "server.take_piece",
    # With the key in the address.
    "status_line.show_facts",
    "status_line.show_line",
    "status_line.show_picture",
}
# What a person may send who can only look: it concerns themselves alone.
FOR_VIEWERS = {SIGN_OUT, "unlock.close", "sign_in.change_password", "sign_in.end"}


def addresses(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Every rule of the application, with an address that it matches."""
    urls = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        values = dict.fromkeys(rule.arguments, 1)
        path = urls.build(rule.endpoint, values, method=next(iter(rule.methods or ())))
        yield rule, path


def test_whoever_is_not_signed_in_gets_nowhere(app: Flask, nobody: Browser) -> None:
    walked = 0
    for rule, path in addresses(app):
        if rule.endpoint in PUBLIC:
            continue
        for method in rule.methods or ():
            response = nobody.client.open(path, method=method)
            sent_away = response.status_code == 303 and "/sign-in" in response.location
            assert sent_away or response.status_code == 401, (method, path)
            walked += 1
    assert walked > 20


def test_only_these_need_no_sign_in(app: Flask) -> None:
    assert set(PUBLIC) == FOR_ANYBODY | FOR_PROGRAMS
    assert set(PUBLIC) <= {rule.endpoint for rule, _ in addresses(app)}


def test_no_static_route_lists_or_serves_other_files(nobody: Browser) -> None:
    for path in ("/static/", "/static/manifest.json", "/static/../app.py", "/static/panel.css"):
        assert nobody.get(path).status_code == 404


def test_a_page_leads_to_the_sign_in_and_back(nobody: Browser) -> None:
    response = nobody.get("/activity?what=signed_in")
    assert response.status_code == 303
    answer = nobody.sign_in("asha", next="/activity?what=signed_in")
    assert response.location == "/sign-in?next=/activity?what%3Dsigned_in"
    assert answer.location == "/activity?what=signed_in"


def test_a_form_sent_after_the_session_ended_is_not_lost(nobody: Browser) -> None:
    response = nobody.post("/interval", {"interval_minutes": "5"})
    assert response.status_code == 401
    assert 'href="/sign-in"' in response.text
    assert "what you typed is still in it" in response.text


def test_a_fragment_asked_for_after_the_session_ended_leaves_the_form_alone(
    nobody: Browser,
) -> None:
    response = nobody.post("/interval", {"interval_minutes": "5"}, htmx=True)
    assert response.status_code == 401
    assert response.headers["HX-Retarget"] == "#notice"
    assert "<html" not in response.text
    assert 'target="_blank"' in response.text


def test_a_program_is_told_so_in_its_own_way(nobody: Browser) -> None:
    response = nobody.get("/people", Accept="application/json")
    assert response.status_code == 401
    assert response.json is not None
    assert response.json["error"]["code"] == "signed_out"


def test_a_viewer_changes_nothing(app: Flask, viewer: Browser) -> None:
    token = viewer.token()
    walked = 0
    for rule, path in addresses(app):
        if "POST" not in (rule.methods or ()) or rule.endpoint in {*PUBLIC, *FOR_VIEWERS}:
            continue
        response = viewer.client.post(path, data={"_c": token})
        assert response.status_code == 403, path
        walked += 1
    assert walked > 10


def test_a_refused_viewer_leaves_a_row(viewer: Browser, happened: Happened) -> None:
    viewer.get("/people")
    row = happened("refused_permission")[0]
    assert (row.person, row.label) == (VIEWER, "/people")


@pytest.mark.parametrize("path", ["/", "/activity", "/activity.csv"])
def test_who_may_do_nothing_sees_nothing(database: Database, app: Flask, path: str) -> None:
    with database.writing() as session:
        people.add_person(session, OPERATOR, "nils", PASSWORD, [])
    nils = Browser(app)
    nils.sign_in("nils")
    assert nils.get(path).status_code == 403
    assert nils.post("/sign-out").status_code == 303


def test_a_permission_taken_away_is_gone_at_once(database: Database, manager: Browser) -> None:
    assert manager.get("/people").status_code == 200
    with database.writing() as session:
        people.add_person(session, OPERATOR, "maya", PASSWORD, [Permission.MANAGE])
        asha = find_person(session, "asha")
        assert asha is not None
        people.set_permissions(session, OPERATOR, asha.id, [Permission.VIEW])
    assert manager.get("/people").status_code == 403
    assert manager.post("/interval", {"interval_minutes": "5"}).status_code == 403
    assert manager.get("/activity").status_code == 200


def test_a_person_who_vanished_is_signed_out(database: Database, viewer: Browser) -> None:
    with database.writing() as session:
        vito = find_person(session, VIEWER)
        assert isinstance(vito, Person)
        session.delete(vito)
    assert viewer.get("/").status_code == 303
