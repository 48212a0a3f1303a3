"""An application lets a sync begin, with a token that may."""

import pytest
from flask import Flask

from panel.accounts.tokens import add_token
from panel.activity.log import search
from panel.db import Database
from panel.models.runs import Loop
from panel.security.vault import Vault
from tests.support.cast import ASHA, NATIONAL, SATELLITE
from tests.support.steps import add, become
from tests.web.api.conftest import Application


@pytest.fixture
def allowed(app: Flask, database: Database) -> Application:
    with database.writing() as session:
        return Application(app.test_client(), add_token(session, ASHA, "Ward", may_sync=True))


def asked(database: Database) -> bool:
    with database.reading() as session:
        return session.get_one(Loop, 1).asked_at is not None


def test_a_sync_begins_at_once_and_activity_says_who_asked(
    allowed: Application, database: Database, vault: Vault
) -> None:
    become(database, vault, SATELLITE)
    add(database, NATIONAL)
    response = allowed.call("POST", "/sync-now")
    assert (response.status_code, response.get_json()) == (202, {"asked": True})
    assert asked(database)
    with database.reading() as session:
        (row,) = search(session, what="sync_asked")
    assert (row.person, row.via) == ("Ward", "api")


def test_another_token_may_not(application: Application, database: Database, vault: Vault) -> None:
    become(database, vault, SATELLITE)
    add(database, NATIONAL)
    response = application.call("POST", "/sync-now")
    assert (response.status_code, response.get_json()["error"]["code"]) == (403, "not_permitted")
    assert not asked(database)


def test_a_primary_goes_to_nobody(allowed: Application, database: Database) -> None:
    response = allowed.call("POST", "/sync-now")
    assert (response.status_code, response.get_json()["error"]["code"]) == (409, "not_now")
    assert not asked(database)
