"""Test connection: tried with a primary that really listens, and nothing is saved."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.serving import make_server

from panel import clock
from panel.config import Config
from panel.db import Database, make_engine
from panel.installation import Installation
from panel.models.people import Activity
from panel.models.runs import Applicant, InitialiseState, Link, Loop, Peer, Run
from panel.models.settings import Server, Settings
from panel.web.app import create_app
from tests.conftest import NewDatabase
from tests.support.cast import MANAGER
from tests.support.web_sites import URL, make_primary, make_satellite, words
from tests.web.conftest import Browser

# The parameters as the form has them.
TYPED = {
    **{"version": "2", "sync_id": "7", "name": "Kadavu", "store": "KDV-01"},
    **{"user_name": "fiji", "password": "", "request_size": "", "protocol": "ask"},
}


@pytest.fixture
def primary_database(new_sqlite: NewDatabase) -> Iterator[Database]:
    database = Database(make_engine(new_sqlite(True)))
    yield database
    database.close()


@pytest.fixture
def primary_url(config: Config, primary_database: Database, tmp_path: Path) -> Iterator[str]:
    """Where a primary listens that has this server, 7, in its list."""
    config = replace(config, data_dir=tmp_path, hardware_id="00000000000000aa")
    make_primary(primary_database, config)
    server = make_server(
        "127.0.0.1", 0, create_app(Installation.on(config, primary_database)), threaded=True
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def app_of_satellite(app: Flask, database: Database, config: Config, primary_url: str) -> Flask:
    make_satellite(database, config, primary_url)
    return app


pytestmark = pytest.mark.usefixtures("app_of_satellite")


def test_well_with_the_time_there_and_back(manager: Browser) -> None:
    answer = words(manager.post("/sync/test", htmx=True).text)
    assert "Well: the primary would let this server in." in answer
    assert " ms." in answer
    assert "Tested as saved." in answer


def test_without_scripting_the_page_has_the_answer(manager: Browser) -> None:
    answer = manager.post("/sync/test")
    assert answer.status_code == 200
    assert "<html" in answer.text
    assert "Well: the primary would let this server in." in answer.text


def test_neither_side_saves_anything(
    unlocked: Browser, primary_url: str, database: Database, primary_database: Database
) -> None:
    unlocked.post("/sync/test", {**TYPED, "url": primary_url, "name": "Other"}, htmx=True)
    with database.reading() as session:
        settings = session.get_one(Settings, 1)
        assert (settings.name, settings.parameters_version) == ("Kadavu", 2)
    with primary_database.reading() as session:
        server = session.get_one(Server, 1)
        assert (server.hardware_id, server.last_contact_at) == (None, None)
        assert list(session.scalars(select(Run))) == []
        assert list(session.scalars(select(Peer))) == []


def test_what_is_typed_counts_when_unlocked(unlocked: Browser, primary_url: str) -> None:
    typed = {**TYPED, "url": primary_url, "store": "KDV-10"}
    answer = words(unlocked.post("/sync/test", typed, htmx=True).text)
    assert "Store: here KDV-10, there KDV-01" in answer
    assert "Tested as typed; nothing was saved." in answer


def test_what_is_typed_does_not_count_while_locked(manager: Browser) -> None:
    typed = {**TYPED, "url": URL, "password": "other letters"}
    answer = words(manager.post("/sync/test", typed, htmx=True).text)
    assert "Well" in answer
    assert "Tested as saved." in answer


def test_a_wrong_password_that_was_typed(unlocked: Browser, primary_url: str) -> None:
    typed = {**TYPED, "url": primary_url, "password": "other letters"}
    answer = unlocked.post("/sync/test", typed, htmx=True).text
    assert "The Password is wrong." in words(answer)
    assert "other letters" not in answer


def test_the_saved_password_goes_to_the_server_alone_that_it_was_saved_for(
    unlocked: Browser, primary_url: str, nowhere: str, happened: Callable[..., list[Activity]]
) -> None:
    elsewhere = primary_url.replace("127.0.0.1", "localhost")
    for url in (elsewhere, nowhere, primary_url.replace("http:", "https:")):
        answer = unlocked.post("/sync/test", {**TYPED, "url": url}, htmx=True)
        assert answer.status_code == 422
        field = answer.text.split('name="password"')[1][:400]
        assert "it was saved for another server" in field
    assert not happened("connection_tested")
    typed = {**TYPED, "url": elsewhere, "password": "coral letters"}
    assert "Well" in unlocked.post("/sync/test", typed, htmx=True).text
    # A path alone is the same server.
    same = unlocked.post("/sync/test", {**TYPED, "url": f"{primary_url}/panel"}, htmx=True)
    assert same.status_code == 200


def test_a_saved_password_goes_to_no_new_proxy(
    unlocked: Browser, primary_url: str, nowhere: str, database: Database
) -> None:
    with database.writing() as session:
        settings = session.get_one(Settings, 1)
        settings.proxy, settings.proxy_user = "http://127.0.0.2:9", "clinic"
        settings.proxy_password_sealed = settings.password_sealed
    typed = {**TYPED, "url": primary_url, "proxy": nowhere}
    page = unlocked.post("/sync/test", typed, htmx=True)
    assert page.status_code == 422
    assert "the new proxy can read it" in page.text.split('name="password"')[1][:400]
    assert "saved for another proxy" in page.text.split('name="proxy_password"')[1][:400]
    again = {**typed, "password": "coral letters", "proxy_password": "coral letters"}
    answer = words(unlocked.post("/sync/test", again, htmx=True).text)
    assert "The proxy 127.0.0.1 cannot be reached." in answer


def test_the_saved_proxy_is_tried(manager: Browser, nowhere: str, database: Database) -> None:
    assert "Well" in manager.post("/sync/test", htmx=True).text
    with database.writing() as session:
        session.get_one(Settings, 1).proxy = nowhere
    answer = words(manager.post("/sync/test", htmx=True).text)
    assert "The proxy 127.0.0.1 cannot be reached. Check the Proxy in the parameters" in answer


def test_each_trial_is_a_row_of_activity(
    manager: Browser, primary_url: str, nowhere: str, happened: Callable[..., list[Activity]]
) -> None:
    manager.post("/sync/test", htmx=True)
    row = happened("connection_tested")[0]
    assert (row.person, row.label, row.became) == (MANAGER, primary_url, None)
    manager.unlock()
    manager.post("/sync/test", {**TYPED, "url": nowhere, "password": "coral letters"}, htmx=True)
    row = happened("connection_tested")[0]
    assert row.label == nowhere
    assert row.became


def test_a_url_where_nobody_listens(unlocked: Browser, nowhere: str) -> None:
    typed = {**TYPED, "url": nowhere, "password": "coral letters"}
    answer = words(unlocked.post("/sync/test", typed, htmx=True).text)
    assert "nothing listens there. Check the URL and its port" in answer


def test_what_could_not_be_saved_is_refused_in_its_field(unlocked: Browser) -> None:
    answer = unlocked.post("/sync/test", {**TYPED, "url": URL, "sync_id": "1x"}, htmx=True)
    assert answer.status_code == 422
    assert answer.headers["HX-Retarget"] == "#parameters"
    assert 'value="1x"' in answer.text
    assert "A whole number, in digits." in answer.text


def test_typed_and_without_scripting_the_form_keeps_it(unlocked: Browser, primary_url: str) -> None:
    typed = {**TYPED, "url": primary_url, "store": "KDV-10"}
    answer = unlocked.post("/sync/test", typed).text
    assert 'value="KDV-10"' in answer
    assert "there KDV-01" in answer


def test_who_may_not(
    viewer: Browser,
    nobody: Browser,
    happened: Callable[..., list[Activity]],
) -> None:
    assert viewer.post("/sync/test").status_code == 403
    assert "Test connection" not in viewer.get("/").text
    assert nobody.post("/sync/test").status_code in (303, 401)
    assert happened("refused_permission")


def test_an_address_that_leads_to_no_primary(manager: Browser, primary_database: Database) -> None:
    with primary_database.writing() as session:
        settings = session.get_one(Settings, 1)
        settings.sync_id, settings.password_hash = 8, None
    answer = words(manager.post("/sync/test", htmx=True).text)
    assert "The server at this address is not a primary." in answer
    with primary_database.reading() as session:
        assert list(session.scalars(select(Activity).where(Activity.what == "sync_refused")))


def test_a_server_that_no_row_has_is_only_tried(
    manager: Browser, primary_database: Database
) -> None:
    with primary_database.writing() as session:
        session.get_one(Server, 1).removed_at = clock.now()
    answer = words(manager.post("/sync/test", htmx=True).text)
    assert "The primary has no server with Sync ID 7" in answer
    with primary_database.reading() as session:
        assert list(session.scalars(select(Applicant))) == []


def test_where_the_last_sync_was_told_to_initialise(manager: Browser, database: Database) -> None:
    with database.writing() as session:
        session.get_one(Loop, 1).refusal = "initialise_needed"
        session.get_one(Link, 1).initialise = InitialiseState.DONE
    answer = words(manager.post("/sync/test", htmx=True).text)
    assert "un-lock and press Initialise" in answer
    assert "Well" not in answer
    with database.writing() as session:
        # As that button leaves it.
        session.get_one(Link, 1).initialise = InitialiseState.NEEDED
    assert "Well" in words(manager.post("/sync/test", htmx=True).text)


def test_another_machine_is_told_so(manager: Browser, primary_database: Database) -> None:
    with primary_database.writing() as session:
        session.get_one(Server, 1).hardware_id = "another-machine"
    answer = words(manager.post("/sync/test", htmx=True).text)
    assert "belongs to another machine" in answer
    with primary_database.reading() as session:
        assert list(session.scalars(select(Run))) == []
