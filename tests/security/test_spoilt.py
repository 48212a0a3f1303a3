"""What `make fuzz` found: each was a 500 once."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from panel.db import Database
from panel.web.app import create_app
from tests.support.installations import installation_on


@pytest.fixture
def client(engine: Engine) -> FlaskClient:
    return create_app(installation_on(Database(engine), "machine-1")).test_client()


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/sync/exchange"), ("GET", "/sync/v5/site"), ("GET", f"/sync/part/{'a' * 32}")],
)
def test_a_pair_that_is_no_base64_is_an_unknown_one(
    client: FlaskClient, method: str, path: str
) -> None:
    answer = client.open(path, method=method, headers={"Authorization": "Basic Ã©"})
    assert 400 <= answer.status_code < 500


def test_what_is_public_is_so_with_a_spoilt_pair_too(client: FlaskClient) -> None:
    spoilt = {"Authorization": "Basic Ã©"}
    assert client.get("/api/v1/openapi.json", headers=spoilt).status_code == 200


@pytest.mark.parametrize("path", ["/", "/sync/exchange", "/sync/v5/site", "/nowhere"])
@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
def test_a_host_that_is_none_is_refused(client: FlaskClient, path: str, host: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 400
