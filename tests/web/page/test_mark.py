"""The mark of the data: other after whatever a page could show, or a person could be kept from."""

from collections.abc import Callable

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from panel import clock
from panel.accounts.authorisation_code import end_unlocks, set_code
from panel.accounts.people import (
    Permission,
    add_person,
    choose_language,
    disable,
    enable,
    set_password,
    set_permissions,
    set_up,
)
from panel.activity.log import Actor
from panel.db import Database
from panel.models.people import Person
from panel.models.records import Quarantined
from panel.models.runs import Applicant, Link, Peer, Run
from panel.preferences.interval import set_interval
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.security.vault import Vault
from panel.web.page.mark import data_mark
from tests.support.steps import PRIMARY, become

pytestmark = pytest.mark.both_databases

WHO = Actor("Asha", "192.0.2.7", "web")
Act = Callable[[Session], object]


def _aside(session: Session) -> None:
    now = clock.now()
    session.add(
        Quarantined(
            source=1,
            table_name="item",
            record_id="a",
            owner=1,
            version=1,
            deleted=False,
            tries=1,
            reason="not_the_owner",
            first_at=now,
            last_at=now,
        )
    )


ACTS: dict[str, Act] = {
    "interval": lambda session: set_interval(session, WHO, 20, 1),
    "server added": lambda session: add_server(session, WHO, ServerFields(9, "Lau", "LAU")),
    "person added": lambda session: add_person(session, WHO, "Ben", "a long password"),
    "password": lambda session: set_password(session, WHO, 2, "another password"),
    "permissions": lambda session: set_permissions(session, WHO, 2, [Permission.EDIT]),
    "disabled": lambda session: disable(session, WHO, 2),
    "language": lambda session: choose_language(session, 2, "fr"),
    "code": lambda session: set_code(session, WHO, "another code"),
    "lock now": lambda session: end_unlocks(session, WHO, 1),
    "run": lambda session: session.add(Run(other=1, started_at=clock.now())),
    "contact": lambda session: setattr(session.get_one(Link, 1), "last_success_at", clock.now()),
    "run that ends": lambda session: session.execute(
        update(Run).where(Run.id == 1).values(ended_at=clock.now(), result="well")
    ),
    "refused again": lambda session: session.execute(update(Peer).values(refusal="sync_paused")),
    "no more refused": lambda session: session.execute(update(Peer).values(refusal="")),
    "set aside": _aside,
    "applicant": lambda session: session.add(
        Applicant(
            sync_id=9,
            name="Lau",
            store="LAU",
            hardware_id="h",
            address="192.0.2.9",
            first_at=clock.now(),
            last_at=clock.now(),
        )
    ),
}


@pytest.fixture
def peopled(database: Database, vault: Vault) -> Database:
    become(database, vault, PRIMARY)
    with database.writing() as session:
        set_up(session, WHO, "Asha", "a long password", "a long code")
        add_person(session, WHO, "Vito", "a long password")
        server = add_server(session, WHO, ServerFields(8, "Levuka", "LEV"))
        session.flush()
        session.add(Peer(server_id=server.id, site_uuid="u", refusal="site_no_store"))
        # Of two that go on, the one that began first.
        session.add_all([Run(other=8, started_at=clock.now()) for _ in range(2)])
    return database


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_it_is_another_after_a_change(peopled: Database, act: Act) -> None:
    before = _mark(peopled)
    assert _mark(peopled) == before
    with peopled.writing() as session:
        act(session)
    assert _mark(peopled) != before


def test_nobodys_way_in_depends_on_a_row_of_activity(peopled: Database) -> None:
    marks = [_mark(peopled)]
    for name in ("generation", "unlock_generation", "version"):
        with peopled.writing() as session:
            session.execute(update(Person).values({name: getattr(Person, name) + 1}))
        marks.append(_mark(peopled))
    with peopled.writing() as session:
        session.execute(update(Person).values(disabled_at=clock.now()))
    marks.append(_mark(peopled))
    assert len(set(marks)) == len(marks)


def test_two_who_exchange_their_languages_change_it(peopled: Database) -> None:
    def speak(first: str, second: str) -> None:
        with peopled.writing() as session:
            choose_language(session, 1, first)
            choose_language(session, 2, second)

    speak("fr", "pt")
    before = _mark(peopled)
    speak("pt", "fr")
    assert _mark(peopled) != before


def test_who_may_come_in_again_changes_it_too(peopled: Database) -> None:
    with peopled.writing() as session:
        disable(session, WHO, 2)
    before = _mark(peopled)
    with peopled.writing() as session:
        enable(session, WHO, 2)
    assert _mark(peopled) != before


def _mark(database: Database) -> tuple[object, ...]:
    with database.reading() as session:
        return tuple(data_mark(session))
