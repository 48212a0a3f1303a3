"""An application on a database of its own, and who comes to it: a manager, a viewer, nobody."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from panel.accounts import authorisation_code, people
from panel.accounts.people import Permission
from panel.activity import log
from panel.config import Config
from panel.db import Database, make_engine
from panel.installation import Installation
from panel.models.people import Activity
from panel.web.app import create_app
from tests.support.cast import CODE, MANAGER, OPERATOR, PASSWORD, VIEWER
from tests.support.clock import Clock

MakeApp = Callable[..., Flask]
Happened = Callable[..., list[Activity]]


class Browser:
    """A browser with cookies of its own; ``htmx=True`` sends a request as htmx would."""

    def __init__(self, app: Flask, **environ: Any) -> None:
        self.app, self.environ = app, environ
        self.keeps_cookies = True
        self.client = app.test_client()
        self._token, self._token_of = "", ""

    def get(self, path: str, *, htmx: bool = False, **headers: str) -> TestResponse:
        return self._open("GET", path, htmx, headers)

    def post(
        self, path: str, data: Any = None, *, htmx: bool = False, **headers: str
    ) -> TestResponse:
        """Post a form with the CSRF token of a page, in its field or as htmx sends it."""
        data, token = dict(data or {}), self.token()
        if htmx:
            headers["X-CSRF"] = token
        else:
            data["_c"] = token
        return self._open("POST", path, htmx, headers, data=data)

    def token(self) -> str:
        """Return the token of the session. Every page has it; this one is asked once for it."""
        session = self.cookie("s")
        if not session or session != self._token_of:
            self._token, self._token_of = self.new_token(), self.cookie("s")
        return self._token

    def new_token(self) -> str:
        found = re.search(r'"X-CSRF":"([^"]+)"', self.get("/nowhere").text)
        assert found
        return found[1]

    def sign_in(self, name: str, password: str = PASSWORD, **values: str) -> TestResponse:
        return self.post("/sign-in", {"name": name, "password": password, **values})

    def unlock(self, code: str = CODE) -> TestResponse:
        return self.post("/unlock", {"authorisation_code": code})

    def cookie(self, name: str) -> str:
        found = self.client.get_cookie(name) if self.keeps_cookies else None
        return found.value if found else ""

    def refuse_cookies(self) -> None:
        """Keep none from now on."""
        self.keeps_cookies, self.client = False, self.app.test_client(use_cookies=False)

    def set_cookie(self, name: str, value: str) -> None:
        self.client.set_cookie(name, value)

    def _open(
        self, method: str, path: str, htmx: bool, headers: dict[str, str], **rest: Any
    ) -> TestResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if htmx:
            sent["HX-Request"] = "true"
        return self.client.open(
            path,
            method=method,
            headers=sent,
            environ_overrides=self.environ,
            buffered=True,
            **rest,
        )


@pytest.fixture(autouse=True)
def standing_clock(time: Clock) -> None:
    """Pages say what time it is: in these tests it stands still."""


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    database = Database(make_engine(sqlite_url))
    yield database
    database.close()


@pytest.fixture
def make_app(config: Config, database: Database) -> MakeApp:
    """Makes an application on the test's database; takes settings that differ from ``config``."""

    def make(*, peopled: bool = True, **settings: Any) -> Flask:
        if peopled:
            add_people(database)
        app = create_app(Installation.on(replace(config, **settings), database))
        app.testing = True
        return app

    return make


def add_people(database: Database) -> None:
    """Add the manager, the viewer and the code, unless they are there."""
    with database.writing() as session:
        if not people.first_person_exists(session):
            people.add_person(session, OPERATOR, MANAGER, PASSWORD, tuple(Permission))
            people.add_person(session, OPERATOR, VIEWER, PASSWORD, [Permission.VIEW])
            authorisation_code.set_code(session, OPERATOR, CODE)


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application with the manager, the viewer and the code."""
    return make_app()


@pytest.fixture
def nobody(app: Flask) -> Browser:
    """Somebody who is not signed in."""
    return Browser(app)


@pytest.fixture
def manager(app: Flask) -> Browser:
    """Somebody signed in with every permission; the lock is closed."""
    return signed_in(app, MANAGER)


@pytest.fixture
def viewer(app: Flask) -> Browser:
    """Somebody signed in who may only look."""
    return signed_in(app, VIEWER)


@pytest.fixture
def unlocked(manager: Browser) -> Browser:
    """The manager, who has just unlocked."""
    manager.unlock()
    assert manager.cookie("u")
    return manager


def signed_in(app: Flask, name: str) -> Browser:
    """Return the browser of a person who has signed in with the password of all."""
    browser = Browser(app)
    assert browser.sign_in(name).status_code == 303
    return browser


@pytest.fixture
def happened(database: Database) -> Happened:
    """Rows of Activity, the newest first; takes what ``activity.search`` takes."""

    def search(what: str = "", **wanted: Any) -> list[Activity]:
        with database.reading() as session:
            return log.search(session, what=what, **wanted)

    return search
