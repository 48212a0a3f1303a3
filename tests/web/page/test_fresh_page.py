"""A page that is asked for again: what changed meanwhile, and nothing for who was shut out."""

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import clock
from panel.accounts import authorisation_code, people
from panel.accounts.people import Permission
from panel.config import Config
from panel.db import Database
from panel.models.people import Person
from panel.models.records import Quarantined
from panel.models.runs import Applicant, Peer, Run
from panel.models.settings import Server
from panel.preferences.interval import set_interval
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server, remove_servers
from tests.support.cast import MANAGER, OPERATOR, VIEWER
from tests.support.clock import Clock
from tests.support.web_sites import make_primary
from tests.web.conftest import Browser, MakeApp, signed_in

Act = Callable[[Session], object]


@pytest.fixture(autouse=True)
def primary(database: Database, config: Config) -> None:
    make_primary(database, config)


def test_everybody_gets_their_own(app: Flask, manager: Browser, viewer: Browser) -> None:
    assert MANAGER in manager.get("/").text
    assert MANAGER not in viewer.get("/").text
    assert VIEWER in viewer.get("/").text
    assert Browser(app).get("/").status_code == 303


def test_what_another_process_changes_is_shown_at_once(
    manager: Browser, database: Database
) -> None:
    manager.get("/")
    with database.writing() as session:
        set_interval(session, OPERATOR, 37, 1)
    assert 'value="37"' in manager.get("/").text


def _aside(session: Session) -> None:
    now = clock.now()
    session.add(
        Quarantined(
            **{"source": 1, "table_name": "item", "record_id": "a", "owner": 1, "version": 1},
            **{"deleted": False, "tries": 1, "reason": "not_the_owner"},
            **{"first_at": now, "last_at": now},
        )
    )


def _applicant(session: Session) -> None:
    now = clock.now()
    session.add(
        Applicant(
            **{"sync_id": 9, "name": "Lau", "store": "LAU", "hardware_id": "h"},
            **{"address": "192.0.2.9", "first_at": now, "last_at": now},
        )
    )


ACTS: dict[str, Act] = {
    "interval": lambda session: set_interval(session, OPERATOR, 20, 1),
    "server added": lambda session: add_server(session, OPERATOR, ServerFields(9, "Lau", "LAU")),
    "server removed": lambda session: remove_servers(session, OPERATOR, [1]),
    "permissions": lambda session: people.set_permissions(
        session, OPERATOR, 2, [Permission.VIEW, Permission.EDIT]
    ),
    "language": lambda session: people.choose_language(session, 2, "fr"),
    "run": lambda session: session.add(Run(other=7, started_at=clock.now())),
    "contact": lambda session: setattr(session.get_one(Server, 1), "last_success_at", clock.now()),
    "refused": lambda session: session.add(
        Peer(server_id=1, site_uuid="u", refusal="site_no_store")
    ),
    "set aside": _aside,
    "applicant": _applicant,
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_a_browser_that_has_the_page_gets_it_again_once_it_changed(
    viewer: Browser, database: Database, act: Act
) -> None:
    known = viewer.get("/").headers["ETag"]
    again = viewer.get("/", If_None_Match=known)
    assert (again.status_code, again.data) == (304, b"")
    with database.writing() as session:
        act(session)
    changed = viewer.get("/", If_None_Match=known)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != known


def test_how_late_a_server_is_changes_the_page_too(
    manager: Browser, database: Database, time: Clock
) -> None:
    with database.writing() as session:
        session.get_one(Server, 1).last_success_at = time() - timedelta(hours=23)
    known = manager.get("/").headers["ETag"]
    time.pass_by(minutes=59)
    assert manager.get("/", If_None_Match=known).status_code == 304
    time.pass_by(minutes=2)
    assert manager.get("/", If_None_Match=known).status_code == 200


def _disable(database: Database, person_id: int) -> None:
    with database.writing() as session:
        people.disable(session, OPERATOR, person_id)


def _give_password(database: Database, person_id: int) -> None:
    with database.writing() as session:
        people.set_password(session, OPERATOR, person_id, "another password")


@pytest.mark.parametrize("shut_out", [_disable, _give_password])
def test_who_is_shut_out_sees_nothing_more_of_it(
    app: Flask, database: Database, shut_out: Callable[[Database, int], None]
) -> None:
    viewer = signed_in(app, VIEWER)
    assert viewer.get("/").status_code == 200
    shut_out(database, _id_of(database, VIEWER))
    assert viewer.get("/").status_code == 303


def test_what_somebody_may_no_longer_do_is_gone_at_once(
    manager: Browser, database: Database
) -> None:
    with database.writing() as session:
        people.add_person(session, OPERATOR, "ben", "a long password", tuple(Permission))
    assert "Click to un-lock" in manager.get("/").text
    with database.writing() as session:
        people.set_permissions(session, OPERATOR, _id_of(database, MANAGER), [Permission.VIEW])
    assert "Click to un-lock" not in manager.get("/").text


def test_an_unlock_ends_within_the_minute_that_it_ends_in(manager: Browser, time: Clock) -> None:
    time.pass_by(seconds=30)
    manager.unlock()
    time.pass_by(minutes=14, seconds=45)
    assert "Lock now" in manager.get("/").text
    time.pass_by(seconds=20)
    assert "Lock now" not in manager.get("/").text


def test_a_new_code_locks_at_once(unlocked: Browser, database: Database) -> None:
    assert "Lock now" in unlocked.get("/").text
    with database.writing() as session:
        authorisation_code.set_code(session, OPERATOR, "another long code")
    assert "Lock now" not in unlocked.get("/").text


def test_whom_the_proxy_signs_in_gets_the_page_at_the_first_request(make_app: MakeApp) -> None:
    app = make_app(
        trusted_proxies=(ip_network("10.1.0.0/16"),),
        remote_user_header="X-Remote-User",
        remote_user_secret="known-to-the-proxy-alone",
    )
    secret = {"HTTP_X_SYNC_PANEL_PROXY": "known-to-the-proxy-alone"}
    colleague = Browser(app, REMOTE_ADDR="10.1.0.1", **secret)
    for _ in range(3):
        page = colleague.get("/", X_Remote_User=MANAGER)
        assert page.status_code == 200
        assert MANAGER in page.text
    assert VIEWER in colleague.get("/", X_Remote_User=VIEWER).text
    assert colleague.get("/").status_code == 303


def test_a_cookie_that_is_none_of_ours_is_a_strangers(nobody: Browser) -> None:
    nobody.set_cookie("s", "garbage")
    assert nobody.get("/").status_code == 303


def test_what_is_looked_for_is_as_long_as_a_name(manager: Browser) -> None:
    assert len(manager.get("/?find=" + "x" * 10_000).text) < 40_000


def test_its_head_alone_may_be_asked_for(manager: Browser) -> None:
    answer = manager.client.head("/")
    assert answer.status_code == 200
    assert not answer.data


def _id_of(database: Database, name: str) -> int:
    with database.reading() as session:
        return session.scalars(select(Person.id).where(Person.name == name)).one()
