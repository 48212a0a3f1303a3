"""Signing in and out, and what ends a session."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner

from panel.accounts import people
from panel.accounts.sign_in import find_person
from panel.config import Config
from panel.db import Database
from panel.installation import open_installation
from panel.models.people import Person
from panel.models.settings import Settings
from panel.preferences.shared_password import read_password
from panel.security.vault import Vault
from tests.support.clock import Clock
from tests.support.web_sites import make_satellite
from tests.web.conftest import (
    CODE,
    MANAGER,
    OPERATOR,
    PASSWORD,
    VIEWER,
    Browser,
    Happened,
    MakeApp,
)


def test_the_right_name_and_password_lead_to_the_page(nobody: Browser, happened: Happened) -> None:
    response = nobody.sign_in(MANAGER.upper())
    assert (response.status_code, response.location) == (303, "/")
    assert nobody.get("/").status_code == 200
    assert happened("signed_in")[0].address == "127.0.0.1"


@pytest.mark.parametrize(("name", "password"), [(MANAGER, "wrong"), ("nobody", PASSWORD), ("", "")])
def test_a_wrong_pair_comes_back_with_the_reason_and_the_name(
    nobody: Browser, happened: Happened, name: str, password: str
) -> None:
    response = nobody.sign_in(name, password)
    assert response.status_code == 422
    assert "Name and password do not go together." in response.text
    assert f'value="{name}"' in response.text
    assert password not in response.text or not password
    assert nobody.get("/").status_code == 303
    assert len(happened("sign_in_failed")) == 1


def test_five_wrong_passwords_close_the_form_for_a_while(nobody: Browser, time: Clock) -> None:
    for _ in range(5):
        nobody.sign_in(MANAGER, "wrong")
    response = nobody.sign_in(MANAGER)
    assert response.status_code == 429
    assert "Too many wrong tries. Try again in 15 minutes." in response.text
    assert response.headers["Retry-After"] == "900"
    time.pass_by(minutes=15)
    assert nobody.sign_in(MANAGER).status_code == 303


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example.org/",
        "//evil.example.org",
        "/\\evil.example.org",
        "\\\\evil.example.org",
        "/\t/evil.example.org",
        "/%0d%0a//evil.example.org\r\nLocation: //evil.example.org",
        "javascript:alert(1)",
        "evil.example.org",
        "",
    ],
)
def test_signing_in_leads_to_no_other_site(nobody: Browser, elsewhere: str) -> None:
    assert nobody.sign_in(MANAGER, next=elsewhere).location == "/"
    # Signed in already, and followed such a link.
    assert nobody.client.get("/sign-in", query_string={"next": elsewhere}).location == "/"


def test_the_session_begins_anew_at_the_sign_in(app: Flask, nobody: Browser) -> None:
    nobody.get("/sign-in")
    planted = nobody.cookie("s")
    nobody.sign_in(MANAGER)
    assert nobody.cookie("s") != planted
    other = Browser(app)
    other.set_cookie("s", planted)
    assert other.get("/").status_code == 303


def test_signing_out_ends_the_session_and_the_unlock(unlocked: Browser, happened: Happened) -> None:
    response = unlocked.post("/sign-out")
    assert (response.status_code, response.location) == (303, "/sign-in")
    assert (unlocked.cookie("s"), unlocked.cookie("u")) == ("", "")
    assert unlocked.get("/").status_code == 303
    assert happened("signed_out")[0].person == MANAGER


def test_htmx_signs_out_by_leaving_the_page(manager: Browser) -> None:
    response = manager.post("/sign-out", htmx=True)
    assert (response.status_code, response.headers["HX-Redirect"]) == (204, "/sign-in")


def test_a_new_password_ends_the_sessions_of_that_person_only(
    database: Database, manager: Browser, viewer: Browser
) -> None:
    with database.writing() as session:
        people.set_password(session, OPERATOR, _person(database, VIEWER).id, "another password")
    assert viewer.get("/").status_code == 303
    assert manager.get("/").status_code == 200
    assert viewer.sign_in(VIEWER, "another password").status_code == 303


def test_a_disabled_person_is_out_at_once_and_stays_out(
    database: Database, viewer: Browser
) -> None:
    with database.writing() as session:
        people.disable(session, OPERATOR, _person(database, VIEWER).id)
    assert viewer.get("/").status_code == 303
    assert viewer.sign_in(VIEWER).status_code == 422


def test_a_session_ends_after_its_hours(
    manager: Browser, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = TimestampSigner("any").get_timestamp()
    for seconds, status in ((-1, 200), (1, 303)):
        moment = begun + 12 * 3600 + seconds
        time.now = datetime.fromtimestamp(moment, UTC)
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self, now=moment: now)
        assert manager.get("/").status_code == status


def test_a_forged_session_is_nobodys(nobody: Browser) -> None:
    nobody.sign_in(MANAGER)
    payload, rest = nobody.cookie("s").split(".", 1)
    nobody.set_cookie("s", f"{payload[:-2]}AA.{rest}")
    assert nobody.get("/").status_code == 303


def test_a_new_signing_key_locks_nobody_out(make_app: MakeApp, manager: Browser) -> None:
    old, new = "a key of thirty-two letters or more", "a newer key of thirty-two letters or so"
    page_of_before = manager.token()
    manager.client = _with_cookies(make_app(secret_keys=(new, old)), manager)
    assert manager.get("/").status_code == 200
    # The page that was open while the key changed is still good.
    assert manager.client.post("/sign-out", data={"_c": page_of_before}).status_code == 303


def test_one_start_with_a_new_key_seals_the_password_under_it(
    database: Database, config: Config
) -> None:
    make_satellite(database, config)
    new = "a newer key of thirty-two letters or so"
    open_installation(replace(config, secret_keys=(new, *config.secret_keys))).close()
    with database.reading() as session:
        assert read_password(session.get_one(Settings, 1), Vault([new])) == "coral letters"


def test_a_key_that_is_no_longer_named_signs_nobody_in(make_app: MakeApp, manager: Browser) -> None:
    manager.client = _with_cookies(make_app(secret_keys=("a newer key" * 4,)), manager)
    assert manager.get("/").status_code == 303


def test_cookies_are_short_and_kept_from_scripts(unlocked: Browser) -> None:
    for name in ("s", "u"):
        cookie = unlocked.client.get_cookie(name)
        assert cookie is not None
        assert len(f"{name}={cookie.value}") <= 120
        assert cookie.http_only
        assert cookie.same_site == "Lax"
        assert not cookie.secure


def test_under_https_cookies_are_secure(app: Flask) -> None:
    browser = Browser(app, **{"wsgi.url_scheme": "https"})
    values = {"name": MANAGER, "password": PASSWORD}
    browser.post("/sign-in", values, Referer="https://localhost/sign-in")
    browser.post("/unlock", {"authorisation_code": CODE}, Referer="https://localhost/")
    for name in ("s", "u"):
        cookie = browser.client.get_cookie(name)
        assert cookie is not None
        assert cookie.secure
        assert cookie.http_only
        assert cookie.same_site == "Lax"


def _person(database: Database, name: str) -> Person:
    with database.reading() as session:
        person = find_person(session, name)
    assert person is not None
    return person


def _with_cookies(app: Flask, browser: Browser) -> FlaskClient:
    client = app.test_client()
    client.set_cookie("s", browser.cookie("s"))
    return client
