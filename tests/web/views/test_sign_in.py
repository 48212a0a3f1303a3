"""Signing in and out, and what ends a session."""

import re
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from panel.accounts import people
from panel.accounts.sign_in import find_person
from panel.config import Config
from panel.db import Database
from panel.installation import open_installation
from panel.models.people import BrowserSession, Person
from panel.models.settings import Settings
from panel.preferences.shared_password import read_password
from panel.security.vault import Vault
from tests.support.cast import CODE, MANAGER, OPERATOR, PASSWORD, SECRET_KEY, VIEWER
from tests.support.clock import Clock
from tests.support.web_sites import make_satellite
from tests.web.conftest import Browser, Happened, MakeApp

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])


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
    assert "Too many wrong tries. Try again in one minute." in response.text
    assert response.headers["Retry-After"] == "60"
    time.pass_by(minutes=1)
    assert nobody.sign_in(MANAGER).status_code == 303


def test_strangers_do_not_shut_a_person_out_of_the_browser_and_address_of_before(
    app: Flask, manager: Browser
) -> None:
    for number in range(8):
        Browser(app, REMOTE_ADDR=f"192.0.2.{number}").sign_in(MANAGER, "wrong")
    at_the_same_address = Browser(app)
    assert at_the_same_address.sign_in(MANAGER).status_code == 303
    manager.post("/sign-out")
    manager.environ["REMOTE_ADDR"] = "203.0.113.9"
    assert manager.sign_in(MANAGER).status_code == 303
    assert Browser(app, REMOTE_ADDR="203.0.113.10").sign_in(MANAGER).status_code == 429


def test_the_browsers_own_cookie_goes_to_the_sign_in_alone(nobody: Browser) -> None:
    given = nobody.sign_in(MANAGER).headers.getlist("Set-Cookie")
    cookie = next(text for text in given if text.startswith("b="))
    assert {"Path=/sign-in", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))


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
    assert response.headers["Clear-Site-Data"] == '"cache"'


def test_copied_cookies_are_worth_nothing_after_signing_out(app: Flask, unlocked: Browser) -> None:
    session, unlock = unlocked.cookie("s"), unlocked.cookie("u")
    copy = Browser(app)
    copy.set_cookie("s", session)
    copy.set_cookie("u", unlock)
    assert "Lock now" in copy.get("/").text
    unlocked.post("/sign-out")
    assert copy.get("/").status_code == 303
    # Nor does the unlock of before count in the next session.
    unlocked.sign_in(MANAGER)
    unlocked.set_cookie("u", unlock)
    assert "Lock now" not in unlocked.get("/").text
    refused = unlocked.post("/servers", {"sync_id": "9", "name": "Suva", "store": "SUV-01"})
    assert refused.status_code == 403


def test_signing_in_again_ends_the_session_of_before(app: Flask, manager: Browser) -> None:
    copy = Browser(app)
    copy.set_cookie("s", manager.cookie("s"))
    manager.sign_in(VIEWER)
    assert copy.get("/").status_code == 303


def test_a_session_that_nobody_uses_ends(manager: Browser, time: Clock) -> None:
    for _ in range(3):
        time.pass_by(minutes=59)
        assert manager.get("/").status_code == 200
    time.pass_by(minutes=60)
    assert manager.get("/").status_code == 303


def test_what_a_page_asks_by_itself_does_not_keep_a_session(manager: Browser, time: Clock) -> None:
    for path in ("/bar?quiet=1", "/sync/run"):
        manager.sign_in(MANAGER)
        time.pass_by(minutes=59)
        assert manager.get(path, htmx=True).status_code == 200
        time.pass_by(minutes=1)
        assert manager.get("/").status_code == 303


def test_last_seen_is_written_once_a_minute(
    manager: Browser, database: Database, time: Clock
) -> None:
    moments = set()
    for _ in range(12):
        time.pass_by(seconds=20)
        manager.get("/activity")
        with database.reading() as session:
            moments.add(session.query(BrowserSession).one().seen_at)
    # The beginning, and once in each of the four minutes.
    assert len(moments) == 5


# --- one's own account ----------------------------------------------------------------------------


@either
def test_one_ends_the_session_of_another_browser(
    app: Flask, manager: Browser, viewer: Browser, happened: Happened, htmx: bool
) -> None:
    elsewhere = Browser(app, HTTP_USER_AGENT="Mozilla/5.0 (Windows NT 10.0) Firefox/140.0")
    elsewhere.sign_in(MANAGER)
    page = manager.get("/account").text
    assert "Firefox, Windows" in page
    [address] = re.findall(r'<form method="post" action="(/account/sessions/\d+/end)"', page)
    assert viewer.post(address, htmx=htmx).status_code == 404
    assert elsewhere.get("/").status_code == 200
    answer = manager.post(address, htmx=htmx)
    assert answer.status_code == (200 if htmx else 303)
    assert elsewhere.get("/").status_code == 303
    assert manager.get("/").status_code == 200
    assert happened("session_ended")[0].label == "Firefox, Windows, 127.0.0.1"
    assert manager.post(address, htmx=htmx).status_code == 404


@either
def test_one_changes_the_own_password(
    app: Flask, viewer: Browser, nobody: Browser, htmx: bool
) -> None:
    elsewhere = Browser(app)
    elsewhere.sign_in(VIEWER)
    values = {"own_password": PASSWORD, "password": "another password"}
    answer = viewer.post("/account/password", values, htmx=htmx)
    assert answer.status_code == (204 if htmx else 303)
    assert "Saved." in viewer.get("/account?saved=1").text
    assert elsewhere.get("/").status_code == 303
    assert nobody.sign_in(VIEWER, "another password").status_code == 303


@either
@pytest.mark.parametrize(
    ("present", "new", "reason"),
    [
        ("wrong", "another password", "This is not your password."),
        (PASSWORD, "short", "At least 10 characters."),
        (PASSWORD, PASSWORD, "This is the password that you have already."),
    ],
)
def test_what_cannot_be_a_password_comes_back_with_the_reason(
    viewer: Browser, nobody: Browser, present: str, new: str, reason: str, htmx: bool
) -> None:
    values = {"own_password": present, "password": new}
    answer = viewer.post("/account/password", values, htmx=htmx)
    assert answer.status_code == 422
    assert reason in answer.text
    assert nobody.sign_in(VIEWER).status_code == 303


def test_the_own_password_cannot_be_guessed_in_a_stolen_session(
    app: Flask, viewer: Browser, happened: Happened
) -> None:
    viewer.environ["REMOTE_ADDR"] = "203.0.113.9"
    for _ in range(5):
        viewer.post("/account/password", {"own_password": "wrong", "password": "another password"})
    values = {"own_password": PASSWORD, "password": "another password"}
    assert viewer.post("/account/password", values).status_code == 429
    assert sum(row.count for row in happened("wrong_password")) == 5
    # Whose password it is signs in where it was before.
    assert Browser(app).sign_in(VIEWER).status_code == 303


# --- under https, and under which name ------------------------------------------------------------


def test_a_host_that_is_not_the_panels_gets_nothing(make_app: MakeApp) -> None:
    app = make_app(allowed_hosts=("central.example.org",))
    for host in ("central.example.org", "central.example.org:8443", "127.0.0.1:8000", "[::1]"):
        assert Browser(app, HTTP_HOST=host).get("/sign-in").status_code == 200
    for path in ("/sign-in", "/", "/nowhere", "/sync/exchange"):
        refused = Browser(app, HTTP_HOST="evil.example.org").get(path)
        assert refused.status_code == 400
        assert "not served under this name" in refused.text
    assert Browser(make_app(), HTTP_HOST="any.example.org").get("/sign-in").status_code == 200


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


def test_a_session_ends_after_its_hours(manager: Browser, time: Clock) -> None:
    for _ in range(14):
        time.pass_by(minutes=50)
        assert manager.get("/").status_code == 200
    time.pass_by(minutes=20)
    assert manager.get("/").status_code == 303


def test_a_forged_session_is_nobodys(nobody: Browser) -> None:
    nobody.sign_in(MANAGER)
    payload, rest = nobody.cookie("s").split(".", 1)
    nobody.set_cookie("s", f"{payload[:-2]}AA.{rest}")
    assert nobody.get("/").status_code == 303


def test_a_new_signing_key_locks_nobody_out(make_app: MakeApp, manager: Browser) -> None:
    old, new = SECRET_KEY, "a newer key of thirty-two letters or so"
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
    page = browser.post("/sign-in", values, Referer="https://localhost/sign-in")
    browser.post("/unlock", {"authorisation_code": CODE}, Referer="https://localhost/")
    assert browser.get("/").headers["Strict-Transport-Security"] == "max-age=31536000"
    assert page.location == "/"
    for name in ("__Host-s", "__Host-u"):
        cookie = browser.client.get_cookie(name)
        assert cookie is not None
        assert len(f"{name}={cookie.value}") <= 120
        assert cookie.secure
        assert cookie.path == "/"
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
