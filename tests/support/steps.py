"""Steps that tests of several verbs take: make a primary or a satellite, act at the same moment."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import TypeVar

import pytest
from sqlalchemy.orm import Session

from panel.activity.log import Actor, EventKind, search
from panel.db import Database
from panel.errors import Refusal
from panel.models.settings import Server, Settings
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.security import hashes
from panel.security.vault import Vault
from tests.support.cast import PRIMARY

T = TypeVar("T")

SETTER_UP = Actor("Setter-up")


def become(database: Database, vault: Vault, wanted: Parameters) -> Settings:
    """Make this server what ``wanted`` says, whatever was asked to be confirmed."""
    with database.writing() as session:
        version = session.get_one(Settings, 1).parameters_version
        confirmed = ("sync_id", "url_http", "url_on_primary")
        return save_parameters(session, SETTER_UP, vault, wanted, version, confirmed)


def become_standalone(database: Database, vault: Vault) -> Settings:
    return become(database, vault, PRIMARY.replace(sync_id=None))


def add(database: Database, *rows: ServerFields) -> list[Server]:
    with database.writing() as session:
        return [
            add_server(session, SETTER_UP, row, confirmed=("url_http", "url_on_primary"))
            for row in rows
        ]


def doing(database: Database, verb: Callable[[Session], T]) -> Callable[[], T]:
    """Return ``verb`` in a writing session of its own, to be called later."""

    def act() -> T:
        with database.writing() as session:
            return verb(session)

    return act


def at_once(*acts: Callable[[], T]) -> tuple[list[T], list[Refusal]]:
    """Let every act begin at the same moment; return what succeeded, and what was refused."""
    barrier = Barrier(len(acts))
    done: list[T] = []
    refused: list[Refusal] = []
    broken: list[Exception] = []

    def run(act: Callable[[], T]) -> None:
        barrier.wait()
        try:
            done.append(act())
        except Refusal as refusal:
            refused.append(refusal)
        except Exception as error:
            broken.append(error)

    threads = [Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    return done, refused


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, while the next password or code is compared."""
    verify, once = hashes.verify_secret, [happens]

    def compare(secret_hash: str, secret: str) -> bool:
        if once:
            once.pop()()
        return verify(secret_hash, secret)

    monkeypatch.setattr("panel.security.hashes.verify_secret", compare)


def happened(database: Database, what: EventKind) -> int:
    """Return how often Activity says that one kind happened."""
    with database.reading() as session:
        return sum(row.count for row in search(session, what=what, limit=1_000))
