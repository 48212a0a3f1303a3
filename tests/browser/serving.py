"""The panel in a thread of the test itself: on a port, with a clock that the test moves."""

import socket
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from waitress import create_server, wasyncore

from panel.accounts import authorisation_code, people
from panel.accounts.people import Permission
from panel.accounts.sign_in import find_person
from panel.activity import log
from panel.activity.log import Actor
from panel.config import Config
from panel.db import Database, make_engine
from panel.installation import Installation
from panel.models.people import Activity
from panel.models.settings import Server, Settings
from panel.preferences import servers
from panel.preferences.interval import set_interval
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.server_list import ListedServer, Look, list_servers
from panel.security.vault import Vault
from panel.web.app import create_app
from panel.web.base.context import installation_of
from tests.support.cast import CODE, OPERATOR, OTHER, PASSWORD, USER, VIEWER
from tests.support.clock import RunningClock


class CompiledTemplates(BytecodeCache):
    """Templates as this process compiled them before: that takes longer than most tests."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


_templates = CompiledTemplates()


class Panel:
    """One server: where it is, its database, and what a test wants to find there."""

    def __init__(self, config: Config, clock: RunningClock) -> None:
        self.clock = clock
        self.config = config
        self.database = Database(make_engine(config.database_url))
        self.app: Flask = create_app(Installation.on(config, self.database))
        self.app.jinja_env.bytecode_cache = _templates
        self._listener = _listen(0)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/"

    @property
    def set_up_link(self) -> str:
        """The link that ``sync-panel up`` prints while nobody can sign in yet."""
        return f"{self.url}set-up/{installation_of(self.app).set_up_token}"

    # --- the server -------------------------------------------------------------------------------

    def start(self) -> None:
        """Answer requests; after :meth:`stop` on the same port again."""
        if self._listener.fileno() < 0:
            self._listener = _listen(self.port)
        self._server: Any = create_server(
            self.app, sockets=[self._listener], threads=4, asyncore_use_poll=True
        )
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()

    def stop(self) -> None:
        """Hang up on everybody, and listen no more."""
        channels: dict[int, Any] = self._server._map
        self._server.trigger.pull_trigger(lambda: wasyncore.close_all(channels))
        self._thread.join()
        self._server.task_dispatcher.shutdown()

    def close(self) -> None:
        """Stop, and give the database back."""
        if self._listener.fileno() >= 0:
            self.stop()
        self.database.close()

    # --- what is there before a test begins -------------------------------------------------------

    def add_people(self) -> None:
        """Add a manager, somebody who may edit, and somebody who may only look; set the code."""
        with self.database.writing() as session:
            people.set_up(session, OPERATOR, USER, PASSWORD, CODE)
            people.add_person(session, OPERATOR, OTHER, PASSWORD, [Permission.EDIT])
            people.add_person(session, OPERATOR, VIEWER, PASSWORD, [Permission.VIEW])

    def become(self, sync_id: int, name: str, store: str, url: str = "") -> None:
        """Give this server its parameters."""
        wanted = Parameters(
            sync_id=sync_id,
            name=name,
            store=store,
            user_name="sync",
            password="tides and winds",
            url=url,
        )
        vault = Vault(self.config.secret_keys)
        with self.database.writing() as session:
            version = session.get_one(Settings, 1).parameters_version
            confirmed = ("url_on_primary", "url_http")
            save_parameters(session, OPERATOR, vault, wanted, version, confirmed)

    def add_servers(self, rows: Iterable[tuple[int, str, str]]) -> None:
        """Add rows to the list: Sync ID, name, store."""
        with self.database.writing() as session:
            for row in rows:
                servers.add_server(session, OPERATOR, ServerFields(*row))

    def become_primary(self, rows: Iterable[tuple[int, str, str]] = ()) -> None:
        """Be the primary of these satellites."""
        self.become(1, "National Store", "NAT-01")
        self.add_servers(rows)

    def become_satellite(self) -> None:
        """Be a satellite that has its primary in the list."""
        self.become(7, "Kadavu Health Centre", "KDV-01", url="https://central.example.org")
        self.add_servers([(1, "National Store", "NAT-01")])

    def set_url(self, sync_id: int, url: str) -> None:
        """Let a row of the list have a URL, which disables sync on a primary."""
        with self.database.writing() as session:
            row = session.query(Server).filter_by(sync_id=sync_id).one()
            fields = ServerFields(sync_id, row.name, row.store, url, row.user_name)
            confirmed = ("url_on_primary",)
            servers.edit_server(session, OPERATOR, row.id, fields, row.version, confirmed)

    def change_interval(self, minutes: int, by: str) -> None:
        """Let somebody else change the interval, at another desk."""
        with self.database.writing() as session:
            version = session.get_one(Settings, 1).interval_version
            set_interval(session, Actor(by), minutes, version)

    def lock(self, name: str) -> None:
        """End every unlock of this person, as another browser's *Lock now* does."""
        with self.database.writing() as session:
            person = find_person(session, name)
            assert person is not None
            authorisation_code.end_unlocks(session, OPERATOR, person.id)

    # --- what is there afterwards -----------------------------------------------------------------

    def settings(self) -> Settings:
        """Return the preferences as they are saved."""
        with self.database.reading() as session:
            return session.get_one(Settings, 1)

    def servers(self) -> Sequence[ListedServer]:
        """Return the list."""
        with self.database.reading() as session:
            return list_servers(session, Look(sort="sync_id")).rows

    def happened(self, what: str = "") -> list[Activity]:
        """Return rows of Activity, the newest first."""
        with self.database.reading() as session:
            return log.search(session, what=what, limit=200)


def _listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), reuse_port=False)
