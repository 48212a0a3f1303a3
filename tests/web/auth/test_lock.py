"""The unlock cannot be passed round, and what was typed while the lock ran out is not lost."""

import re
from collections.abc import Callable

import pytest
from flask import Flask, json
from itsdangerous import URLSafeSerializer

from panel.accounts import authorisation_code, people
from panel.accounts.people import Permission
from panel.accounts.sign_in import find_person
from panel.db import Database
from panel.models.settings import Settings
from panel.web.auth.access import PUBLIC, SIGN_OUT
from tests.support.cast import CODE, MANAGER, OPERATOR, PASSWORD, SECRET_KEY
from tests.support.clock import Clock
from tests.web.auth.test_access import addresses
from tests.web.conftest import Browser, Happened, MakeApp

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])

# Writes that need no code: each says why by its name.
UNLOCKED_WRITES = {
    SIGN_OUT,
    "sign_in.change_password",
    "sign_in.end",
    "sync_page.test_connection",
    "parameters.save_interval",
    "people.add",
    "people.disable",
    "people.enable",
    "people.permit",
    "people.set_password",
    # They open what only this person was shown just now.
    "runs.download_setup",
    "runs.show_picture",
    "set_aside.decide",
    "set_aside.leave_out",
    "set_aside.try_again",
    # Into a server that has no records yet; else it asks for the code.
    "sync_page.initialise",
    "sync_page.now",
    "sync_page.stop",
    "unlock.close",
    "unlock.enter",
}

Write = Callable[[Browser, bool], int]


def name_of_the_server(database: Database) -> str:
    with database.reading() as session:
        return session.get_one(Settings, 1).name


@pytest.fixture
def refused(database: Database, happened: Happened) -> Callable[[Browser, bool], None]:
    """Tries a locked write, and sees it refused, recorded and undone."""

    def refuse(browser: Browser, htmx: bool) -> None:
        before = sum(row.count for row in happened("refused_locked"))
        values = {"version": "1", "name": "Elsewhere"}
        assert browser.post("/parameters", values, htmx=htmx).status_code == 403
        assert sum(row.count for row in happened("refused_locked")) == before + 1
        assert name_of_the_server(database) == ""

    return refuse


def test_with_the_lock_open_the_parameters_change(unlocked: Browser, database: Database) -> None:
    assert unlocked.post("/parameters", {"version": "1", "name": "Kadavu"}).status_code == 303
    assert name_of_the_server(database) == "Kadavu"


def test_every_other_write_is_behind_the_lock(
    app: Flask, manager: Browser, happened: Happened
) -> None:
    walked = 0
    for rule, path in addresses(app):
        if "POST" not in (rule.methods or ()) or rule.endpoint in {*PUBLIC, *UNLOCKED_WRITES}:
            continue
        for htmx in (False, True):
            response = manager.post(path, {"version": "1", "confirmed": "1"}, htmx=htmx)
            # A row that is not there is not found, with the lock closed too.
            assert response.status_code in (403, 404), path
            walked += 1
            assert sum(row.count for row in happened("refused_locked")) == walked
    assert walked > 10


@either
def test_without_the_cookie(manager: Browser, refused: Write, htmx: bool) -> None:
    refused(manager, htmx)


@either
@pytest.mark.parametrize("salt", ["sync-panel unlock", "cookie-session"])
def test_forged_with_another_key(unlocked: Browser, refused: Write, salt: str, htmx: bool) -> None:
    values = URLSafeSerializer("x").loads_unsafe(unlocked.cookie("u"))[1]
    unlocked.set_cookie("u", str(URLSafeSerializer("guessed" * 5, salt=salt).dumps(values)))
    refused(unlocked, htmx)


@either
def test_altered_to_last_longer(unlocked: Browser, refused: Write, time: Clock, htmx: bool) -> None:
    payload, signature = unlocked.cookie("u").rsplit(".", 1)
    values = URLSafeSerializer("x").loads_unsafe(unlocked.cookie("u"))[1]
    values[1] += 3600
    longer = str(URLSafeSerializer("x").dumps(values)).rsplit(".", 1)[0]
    assert longer != payload
    unlocked.set_cookie("u", f"{longer}.{signature}")
    time.pass_by(minutes=16)
    refused(unlocked, htmx)


@either
@pytest.mark.parametrize("value", ["x", ".", "e30.x", json.dumps({"p": 1})])
def test_garbage(unlocked: Browser, refused: Write, value: str, htmx: bool) -> None:
    unlocked.set_cookie("u", value)
    refused(unlocked, htmx)


@either
def test_the_session_cookie_is_no_unlock(manager: Browser, refused: Write, htmx: bool) -> None:
    manager.set_cookie("u", manager.cookie("s"))
    refused(manager, htmx)


@either
def test_expired(unlocked: Browser, refused: Write, time: Clock, htmx: bool) -> None:
    time.pass_by(minutes=14, seconds=59)
    assert unlocked.get("/").text.count("Lock now") == 1
    time.pass_by(seconds=1)
    refused(unlocked, htmx)


@either
def test_borrowed_by_another_person(
    app: Flask, database: Database, unlocked: Browser, refused: Write, htmx: bool
) -> None:
    with database.writing() as session:
        people.add_person(session, OPERATOR, "maya", PASSWORD, tuple(Permission))
    maya = Browser(app)
    maya.sign_in("maya")
    maya.set_cookie("u", unlocked.cookie("u"))
    refused(maya, htmx)


@either
def test_replayed_after_lock_now(unlocked: Browser, refused: Write, htmx: bool) -> None:
    kept = unlocked.cookie("u")
    unlocked.post("/lock", htmx=htmx)
    assert unlocked.cookie("u") == ""
    unlocked.set_cookie("u", kept)
    refused(unlocked, htmx)


@either
def test_lock_now_ends_it_in_the_persons_other_browsers(
    app: Flask, unlocked: Browser, refused: Write, htmx: bool
) -> None:
    other = Browser(app)
    other.sign_in(MANAGER)
    other.post("/lock", htmx=htmx)
    refused(unlocked, htmx)


@either
def test_given_under_the_code_of_before(
    database: Database, unlocked: Browser, refused: Write, htmx: bool
) -> None:
    with database.writing() as session:
        authorisation_code.set_code(session, OPERATOR, "another code")
    refused(unlocked, htmx)


@either
def test_given_before_the_person_was_disabled(
    database: Database, unlocked: Browser, refused: Write, htmx: bool
) -> None:
    with database.writing() as session:
        people.add_person(session, OPERATOR, "maya", PASSWORD, tuple(Permission))
        asha = find_person(session, MANAGER)
        assert asha is not None
        people.disable(session, OPERATOR, asha.id)
    assert unlocked.post("/parameters", {"name": "Elsewhere"}, htmx=htmx).status_code == 401
    with database.writing() as session:
        people.enable(session, OPERATOR, asha.id)
    unlocked.sign_in(MANAGER)
    refused(unlocked, htmx)


def test_who_may_no_longer_edit_is_refused_with_an_open_lock(
    database: Database, unlocked: Browser, happened: Happened
) -> None:
    with database.writing() as session:
        asha = find_person(session, MANAGER)
        assert asha is not None
        people.set_permissions(session, OPERATOR, asha.id, [Permission.MANAGE])
    assert unlocked.post("/parameters", {"name": "Elsewhere"}).status_code == 403
    assert happened("refused_permission")[0].label == "/parameters"


def test_an_unlock_outlives_a_change_of_the_signing_key(
    make_app: MakeApp, unlocked: Browser, database: Database
) -> None:
    old = SECRET_KEY
    session_cookie, unlock_cookie = unlocked.cookie("s"), unlocked.cookie("u")
    browser = Browser(make_app(secret_keys=("a newer key of thirty-two letters", old)))
    browser.set_cookie("s", session_cookie)
    browser.set_cookie("u", unlock_cookie)
    assert browser.post("/parameters", {"version": "1", "name": "Kadavu"}).status_code == 303
    assert name_of_the_server(database) == "Kadavu"


def test_it_lasts_as_long_as_the_settings_say(make_app: MakeApp, time: Clock) -> None:
    browser = Browser(make_app(unlock_minutes=3))
    browser.sign_in(MANAGER)
    browser.unlock()
    cookie = browser.client.get_cookie("u")
    assert cookie is not None
    assert cookie.max_age == 180
    time.pass_by(minutes=3)
    assert browser.post("/parameters", {"version": "1", "name": "x"}).status_code == 403


# --- the lock ran out while somebody typed --------------------------------------------------------

TYPED = {
    "version": "1",
    "name": "Kadavu",
    "store": "KDV-01",
    "user_name": "kadavu",
    "password": "typed s3cret",
}


def test_with_scripting_the_question_goes_into_the_standing_form(manager: Browser) -> None:
    response = manager.post("/parameters", TYPED, htmx=True)
    assert response.status_code == 403
    assert response.headers["HX-Retarget"] == "find .prompt"
    assert response.headers["HX-Reswap"] == "innerHTML"
    assert 'name="authorisation_code"' in response.text
    assert len(response.data) < 1000
    for typed in ("Kadavu", "KDV-01", "s3cret"):
        assert typed not in response.text


@either
def test_the_same_form_with_the_code_unlocks_and_saves(
    manager: Browser, database: Database, happened: Happened, htmx: bool
) -> None:
    values = {**TYPED, "authorisation_code": CODE}
    response = manager.post("/parameters", values, htmx=htmx)
    assert response.status_code == (200 if htmx else 303)
    assert name_of_the_server(database) == "Kadavu"
    assert manager.cookie("u")
    assert [row.what for row in happened(limit=2)] == ["parameters_changed", "unlocked"]
    assert manager.post("/parameters", {**TYPED, "version": "2"}).status_code in (200, 303)


@either
def test_a_wrong_code_says_so_and_keeps_everything(
    manager: Browser, database: Database, happened: Happened, htmx: bool
) -> None:
    values = {**TYPED, "authorisation_code": "not the code"}
    response = manager.post("/parameters", values, htmx=htmx)
    assert response.status_code == 422
    assert "This authorisation code is invalid. Everything stays read-only." in response.text
    assert "not the code" not in response.text
    assert ('value="Kadavu"' in response.text) is not htmx
    assert name_of_the_server(database) == ""
    assert manager.cookie("u") == ""
    assert len(happened("wrong_code")) == 1


@either
def test_five_wrong_codes_close_the_lock_in_words(
    manager: Browser, time: Clock, htmx: bool
) -> None:
    for _ in range(5):
        manager.post("/parameters", {**TYPED, "authorisation_code": "not the code"}, htmx=htmx)
    response = manager.post("/parameters", {**TYPED, "authorisation_code": CODE}, htmx=htmx)
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "60"
    assert "Too many wrong tries. Try again in one minute." in response.text
    time.pass_by(minutes=1)
    response = manager.post("/parameters", {**TYPED, "authorisation_code": CODE}, htmx=htmx)
    assert response.status_code in (200, 303)


def test_without_scripting_the_typed_password_waits_sealed(
    manager: Browser, database: Database
) -> None:
    page = manager.post("/parameters", TYPED)
    assert page.status_code == 403
    assert "s3cret" not in page.text
    assert 'value="KDV-01"' in page.text
    sealed = _sealed(page.text)
    again = {**TYPED, "password": "", "typed": sealed, "authorisation_code": CODE}
    assert manager.post("/parameters", again).status_code == 303
    with database.reading() as session:
        assert session.get_one(Settings, 1).has_password


@pytest.mark.parametrize("how", ["late", "by another", "made up"])
def test_a_sealed_password_is_good_for_its_typist_and_for_half_an_hour(
    app: Flask, database: Database, manager: Browser, time: Clock, how: str
) -> None:
    sealed, browser = _sealed(manager.post("/parameters", TYPED).text), manager
    if how == "late":
        time.pass_by(minutes=31)
    elif how == "by another":
        with database.writing() as session:
            people.add_person(session, OPERATOR, "maya", PASSWORD, tuple(Permission))
        browser = Browser(app)
        browser.sign_in("maya")
    else:
        sealed = sealed[:-4] + "AAAA"
    again = {**TYPED, "password": "", "typed": sealed, "authorisation_code": CODE}
    browser.post("/parameters", again)
    with database.reading() as session:
        assert not session.get_one(Settings, 1).has_password


def test_a_program_is_told_that_it_is_locked(manager: Browser) -> None:
    response = manager.post("/parameters", TYPED, Accept="application/json")
    assert response.status_code == 403
    assert response.json is not None
    assert response.json["error"]["code"] == "locked"


def _sealed(page: str) -> str:
    found = re.search(r'name="typed" value="([^"]+)"', page)
    assert found
    return found[1]
