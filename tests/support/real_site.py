"""A server of a test: its process, its database as the test sees it, and what both are told."""

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from panel.accounts import people
from panel.accounts.tokens import add_token
from panel.activity.log import Actor
from panel.db import Database, make_engine
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Inbox, Quarantined, Record
from panel.models.runs import Loop, Run
from panel.models.settings import Settings
from panel.operations.sync_requests import ask_to_initialise, ask_to_sync
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.security.vault import Vault
from tests.support.cast import CODE, PASSWORD, USER
from tests.support.installations import back_up, name_generation, restore
from tests.support.processes import PanelProcess
from tests.support.records_api import Api

PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.02
PAIR = ("fiji", "coral letters 1")
TESTER = Actor("tester")

Row = tuple[Any, ...]
"""A record as two servers can compare it: all of it but what is each server's own count."""


@dataclass(frozen=True)
class Place:
    """What the list of servers says of one."""

    sync_id: int
    name: str
    store: str


NATIONAL = Place(PRIMARY_SYNC_ID, "National Store", "NAT-01")
KADAVU = Place(2, "Kadavu Health Centre", "KDV-01")
ROTUMA = Place(3, "Rotuma Hospital", "ROT-01")


def wait_until(true: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Ask ``true`` again and again until it says so; fail after ``seconds``, naming ``what``."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(POLL_SECONDS)


class Site:
    """One server, configured in its database before its process starts."""

    def __init__(self, place: Place, process: PanelProcess) -> None:
        self.place = place
        self.process = process
        self.database = Database(make_engine(process.config.database_url))
        self._token = ""

    def configure(self, url: str = "", others: Sequence[Place] = ()) -> None:
        """Say who this server is and whom it synchronises with; make a person and a token."""
        vault = Vault(self.process.config.secret_keys)
        place = self.place
        parameters = Parameters(
            sync_id=place.sync_id,
            name=place.name,
            store=place.store,
            user_name=PAIR[0],
            password=PAIR[1],
            url=url,
        )
        with self.database.writing() as session:
            name_generation(session)
            save_parameters(session, TESTER, vault, parameters, 1)
            for other in others:
                fields = ServerFields(other.sync_id, other.name, other.store)
                add_server(session, TESTER, fields)
            self._token = add_token(session, TESTER, "tests")
            people.set_up(session, TESTER, USER, PASSWORD, CODE)
        self.database.close()

    def api(self) -> Api:
        """Return a connection of an application to this server."""
        return Api(self.process.port, self._token)

    def back_up(self) -> str:
        """Return the name of a copy of the database; the server is down meanwhile."""
        self.process.stop()
        self.database.close()
        name = back_up(self.process.config.database_url)
        self.process.start()
        return name

    def restore(self, name: str) -> None:
        """Put a copy in the place of the database, as after the loss of its disk."""
        self.process.kill()
        self.database.close()
        restore(self.process.config.database_url, name)
        self.process.start()

    def become(self, other: "Site", name: str) -> None:
        """Become a copy of the disk of ``other``, whose database was copied to ``name``."""
        for file in ("witness", "secret_key"):
            shutil.copy(other.process.folder / file, self.process.folder / file)
        self._token = other._token
        self.restore(name)

    def close(self) -> None:
        """End the process and let go of the database."""
        self.process.kill()
        self.database.close()

    # --- the sync ---------------------------------------------------------------------------------

    def ask(self) -> None:
        """Press "Sync now"."""
        self.tell(ask_to_sync)

    def ask_to_initialise(self) -> None:
        """Press "Initialise"."""
        self.tell(ask_to_initialise)

    def tell(self, verb: Callable[[Session, Actor], object]) -> None:
        """Do in the database what the screen does for a person."""
        # With a database of its own, so that several threads may do it, and that nobody else keeps
        # the file open: a server that is killed leaves it as a power cut would.
        database = Database(make_engine(self.process.config.database_url))
        with database.writing() as session:
            verb(session, TESTER)
        database.close()

    def sync(
        self, seconds: float = PATIENCE_SECONDS, ask: Callable[[], object] | None = None
    ) -> Run:
        """Press "Sync now", or ``ask``, wait until that run is over and return it."""
        before = self._newest_run()
        (ask or self.ask)()
        wait_until(lambda: self._has_run_since(before), f"the sync of {self.place.name}", seconds)
        run = self._newest_run()
        assert run is not None
        return run

    def _newest_run(self) -> Run | None:
        with self.database.reading() as session:
            return session.scalar(select(Run).order_by(Run.id.desc()).limit(1))

    def _has_run_since(self, before: Run | None) -> bool:
        with self.database.reading() as session:
            loop = session.get_one(Loop, 1)
            run = session.scalar(select(Run).order_by(Run.id.desc()).limit(1))
        if run is None or (before is not None and run.id == before.id):
            return False
        # The lease is given back once all is written down.
        return loop.asked_at is None and loop.holder is None and run.ended_at is not None

    # --- what is in the database ------------------------------------------------------------------

    def rows(self, owner: int | None = None, to: int | None = None) -> set[Row]:
        """Return the records, tombstones too, of one owner, or addressed to one server, or all."""
        columns = (
            Record.table_name, Record.record_id, Record.owner, Record.to,
            Record.version, Record.deleted, Record.data,
        )  # fmt: skip
        query = select(*columns)
        if owner is not None:
            query = query.where(Record.owner == owner)
        if to is not None:
            query = query.where(Record.to == to)
        with self.database.reading() as session:
            found = [tuple(row) for row in session.execute(query)]
        assert len(found) == len(set(found))
        return set(found)

    def central(self) -> set[Row]:
        """Return the primary's records for everybody, as they are here."""
        return {row for row in self.rows(owner=PRIMARY_SYNC_ID) if row[3] is None}

    def waiting(self) -> set[tuple[str, str]]:
        """Return table and id of the own records that wait to be pushed."""
        query = select(Record.table_name, Record.record_id).where(Record.waiting)
        with self.database.reading() as session:
            return {(row.table_name, row.record_id) for row in session.execute(query)}

    def count(
        self, table: type[Inbox] | type[Quarantined], which: ColumnElement[bool] | None = None
    ) -> int:
        """Return how many rows ``table`` has, or ``which`` of them."""
        query = select(func.count()).select_from(table)
        with self.database.reading() as session:
            return session.scalar(query if which is None else query.where(which)) or 0

    def count_runs(self, result: str) -> int:
        """Return how many runs ended with ``result``."""
        with self.database.reading() as session:
            query = select(func.count(Run.id)).where(Run.result == result)
            return session.scalar(query) or 0

    def set_interval(self, minutes: int) -> None:
        """Set the sync time interval; 0 pauses."""
        with self.database.writing() as session:
            session.get_one(Settings, 1).interval_minutes = minutes
        self.database.close()

    def shrink_batches(self, records: int) -> None:
        """Make batches of ``records``, fewer than a person may choose (SQLite only).

        The form and the table's own check allow no fewer than ten; the check is passed over on this
        one connection, and the server then reads the number as it reads any other.
        """
        path = self.database.engine.url.database
        assert path is not None
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute("UPDATE settings SET request_size = ?", (records,))
