"""The addresses that other servers call: open to them without a session, and sparing with bytes."""

import gzip
import json
import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine

from panel.config import Config
from panel.db import Database
from panel.installation import Installation
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Run
from panel.sync.msupply_v5 import primary
from panel.sync.protocol import body_codec
from panel.sync.store.records import put_record
from panel.web.app import create_app
from tests.policy.conftest import ROOT
from tests.support.cast import SECRET_KEY
from tests.support.remote_site import SITE_ID, RemoteSite, change_of, error_of


def test_an_exchange_refuses_with_what_a_browser_needs_to_show_no_page(app: Flask) -> None:
    response = app.test_client().post("/sync/exchange", data=b"{}")
    assert dict(response.headers).keys() - {"Content-Length"} == {
        "Content-Type",
        "X-Content-Type-Options",
    }
    assert json.loads(response.data)["error"]["code"] == "site_name_not_found"


def test_v5_answers_with_no_header_but_length_and_type(site: RemoteSite) -> None:
    response = site.call("GET", "site_status")
    assert set(response.headers.keys()) == {"Content-Length", "Content-Type"}


@pytest.mark.parametrize("prefix", ["/sync", "/panel"])
def test_v5_answers_at_the_root_although_the_panel_has_a_prefix(
    database: Database, engine: Engine, tmp_path: Path, prefix: str
) -> None:
    config = Config(
        data_dir=tmp_path,
        database_url=str(engine.url),
        secret_keys=(SECRET_KEY,),
        path_prefix=prefix,
    )
    with create_app(Installation.on(config, database)).test_client() as client:
        assert RemoteSite(client).get("site")["siteId"] == SITE_ID


@pytest.mark.parametrize("name", ["nginx.conf", "apache.conf"])
def test_both_proxies_serve_v5_at_the_root_of_the_host(name: str) -> None:
    """A site of mSupply drops the path of its URL."""
    text = (ROOT / "deploy" / name).read_text("utf-8")
    assert re.search(r'^(?:location|<Location) "?/sync/v5/"?[ >]', text, re.MULTILINE)


@pytest.mark.parametrize("path", ["/sync/exchange", "/sync/v5/queued_records"])
def test_a_body_may_not_be_larger_than_is_read(
    site: RemoteSite, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    right = dict(site.call("GET", "site").request.headers)
    monkeypatch.setattr(body_codec, "LARGEST_BODY_BYTES", 1_000)
    monkeypatch.setattr(primary, "LARGEST_BODY_BYTES", 1_000)
    response = site.client.post(path, data=b" " * 1_001, headers=right)
    assert response.status_code == 413
    assert set(response.get_json()) == {"error"}
    # A stranger's is not read at all.
    strangers = site.client.post(path, data=b" " * 1_001, headers={"version": "14"})
    assert strangers.status_code == 401


def test_the_bytes_of_a_run_are_those_on_the_wire(site: RemoteSite, database: Database) -> None:
    with database.writing() as session:
        for number in range(200):
            put_record(session, PRIMARY_SYNC_ID, "item", f"{number:03}", {"name": "Amoxicillin"})
    site.initialise()
    down = len(site.call("GET", "central_records?cursor=0&limit=500").data)
    changes = [change_of(f"s{number}", {"quantity": 5}) for number in range(200)]
    body = gzip.compress(json.dumps({"queueLength": 200, "data": changes}).encode())
    right = dict(site.call("GET", "central_records?cursor=200&limit=5").request.headers)
    right |= {"content-encoding": "gzip", "content-length": str(len(body))}
    answer = site.client.post("/sync/v5/queued_records", data=body, headers=right)
    assert answer.status_code == 200
    with database.reading() as session:
        run = session.query(Run).one()
    assert (run.pulled, run.pushed) == (200, 200)
    assert run.bytes_up == len(body)
    # With the answer that said there is no more.
    assert down < run.bytes_down < down + 100


def test_a_push_may_be_compressed(site: RemoteSite) -> None:
    batch = {"queueLength": 1, "data": [change_of("s1", {"quantity": 5})]}
    assert site.post("queued_records", batch)["integrationStarted"]
    response = site.client.post(
        "/sync/v5/queued_records",
        data=gzip.compress(json.dumps(batch).encode()),
        headers={"content-encoding": "gzip", "version": "14"},
    )
    assert response.get_json()["error"]["code"] == "site_name_not_found"


def test_a_push_that_is_damaged_is_not_understood_and_a_strangers_is_not_even_read(
    site: RemoteSite,
) -> None:
    damaged = {"content-encoding": "gzip"}
    right = site.call("GET", "site").request.headers
    for headers, code in ((right, "bad_request"), ({"version": "14"}, "site_name_not_found")):
        response = site.client.post(
            "/sync/v5/queued_records", data=b"no gzip", headers={**dict(headers), **damaged}
        )
        assert error_of(response)[1] == code


@pytest.mark.parametrize("path", ["/sync/exchange", "/sync/v5/site", "/sync/v5/nothing"])
def test_whoever_calls_wrongly_is_told_in_json(app: Flask, path: str) -> None:
    response = app.test_client().delete(path, headers={"Accept": "text/html"})
    assert response.status_code in (404, 405)
    error = response.get_json()["error"]
    # A site of mSupply reads data too.
    assert set(error) - {"data"} == {"code", "message"}
    assert ("data" in error) == path.startswith("/sync/v5/")
