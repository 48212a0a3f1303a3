"""A primary's application and an application of the machine that has a token."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from panel.accounts.tokens import add_token
from panel.db import Database
from panel.models.settings import Settings
from panel.web.app import create_app
from tests.support.cast import ASHA
from tests.support.installations import installation_on


@dataclass(frozen=True)
class Application:
    """What an application sees: the API, with its token."""

    client: FlaskClient
    token: str

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return self.client.open(f"/api/v1{path}", method=method, headers=headers, **options)

    def put(self, path: str, data: Any, **others: Any) -> TestResponse:
        return self.call("PUT", f"/records/{path}", json={"data": data, **others})

    def get(self, path: str) -> Any:
        response = self.call("GET", path)
        assert response.status_code == 200, response.text
        return response.get_json()


@pytest.fixture
def database(engine: Engine) -> Database:
    database = Database(engine)
    with database.writing() as session:
        session.get_one(Settings, 1).sync_id = 1
    return database


@pytest.fixture
def app(database: Database) -> Flask:
    return create_app(installation_on(database, "machine-1"))


@pytest.fixture
def token(database: Database) -> str:
    with database.writing() as session:
        return add_token(session, ASHA, "Dispensary")


@pytest.fixture
def application(app: Flask, token: str) -> Iterator[Application]:
    with app.test_client() as client:
        yield Application(client, token)
