"""Who speaks to the panel: browsers at every page and form, satellites, v5 sites, applications."""

import random
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from sqlalchemy import make_url
from werkzeug.test import TestResponse

from panel.accounts.tokens import add_token
from panel.config import Config
from panel.db import Database, make_engine
from panel.installation import Installation
from panel.migrate import upgrade
from panel.models.records import Key
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.preferences.shared_password import wire_password
from panel.security.vault import Vault
from panel.setups.issued import SetupTarget, issue_setup
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import LargeRecord, Mode, Pair, Request, Stream
from panel.sync.store.records import Write, write_records
from panel.sync.transport import exchange_client
from panel.sync.transport.batch_size import Meter
from panel.sync.transport.exchange_client import exchange, get_piece, put_piece
from panel.sync.transport.http import LinkFault, Response
from panel.web.app import create_app
from tests.fuzz.judge import Judge
from tests.fuzz.spoil import FORM, JSON, Message, Spoiler
from tests.support import remote_site
from tests.support.cast import ASHA, CODE, SECRET_KEY
from tests.support.clock import Clock
from tests.support.every_state import STATES, Site, Visit, setting_up
from tests.support.lean_satellite import LeanSatellite
from tests.support.real_site import NATIONAL, PAIR, Place
from tests.support.remote_site import RemoteSite, change_of
from tests.web.conftest import Browser, add_people

# Nobody listens on port 9 (discard) of this machine.
NOWHERE = "http://127.0.0.1:9"
SPOILT_FOR_EACH_VALID = 6
LEVUKA = Place(8, "Levuka Hospital", "LEV-01")


@dataclass
class Served:
    """An application and its database, which can be put back to how it was at :meth:`keep`."""

    app: Flask
    database: Database
    config: Config

    @classmethod
    def make(cls, folder: Path) -> "Served":
        """Return an application on a new database in ``folder``."""
        folder.mkdir(parents=True)
        url = f"sqlite:///{folder / 'panel.sqlite3'}"
        upgrade(url)
        config = Config(folder, database_url=url, secret_keys=(SECRET_KEY,), hardware_id="9f2c0000")
        database = Database(make_engine(url))
        return cls(create_app(Installation.on(config, database)), database, config)

    @property
    def _file(self) -> Path:
        return Path(str(make_url(self.database.engine.url).database))

    def keep(self) -> None:
        """Copy the database."""
        self.database.close()
        shutil.copy(self._file, self._file.with_suffix(".kept"))

    def put_back(self) -> None:
        """Put the copy in the place of the database."""
        self.database.close()
        for ending in ("-wal", "-shm"):
            self._file.with_name(self._file.name + ending).unlink(missing_ok=True)
        shutil.copy(self._file.with_suffix(".kept"), self._file)


# --- browsers -------------------------------------------------------------------------------------


@dataclass
class _Recorded(Site):
    """A site that remembers who visited what."""

    visits: list[tuple[Visit, Browser]] = field(default_factory=list)

    def read(self, *visits: Visit, by: Browser | None = None) -> None:
        self.visits += [(visit, by or self.manager) for visit in visits]
        super().read(*visits, by=by)


@dataclass
class Screens:
    """Every page and form in every state, as people send them."""

    served: list[tuple[Served, list[Message]]] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path, clock: Clock) -> "Screens":
        """Bring an application into each state, and note what people send to it."""
        screens = cls()
        for state in STATES:
            served = Served.make(folder / state.__name__)
            if state is not setting_up:
                add_people(served.database)
            site = _Recorded(served.app, served.database, served.config, clock, NOWHERE)
            state(site)
            if state is not setting_up:
                site.manager.unlock(CODE)
            screens.served.append((served, _sent(site)))
            served.keep()
        return screens

    def send(self, judge: Judge, spoiler: Spoiler, chance: random.Random, count: int) -> None:
        """Send ``count`` spoilt messages."""
        for served, _ in self.served:
            served.put_back()
        for _ in range(count):
            served, messages = chance.choice(self.served)
            message = chance.choice(messages)
            if chance.random() < 0.5:
                message = message.with_header("HX-Request", "true")
            judge.send(served.app, spoiler.spoil(message))


def _sent(site: _Recorded) -> list[Message]:
    """Return the messages of all visits, with the cookies and the tokens of who made them."""
    known = {id(browser): _credentials(browser) for _, browser in site.visits}
    return [_message(visit, *known[id(browser)]) for visit, browser in site.visits]


def _credentials(browser: Browser) -> tuple[str, str]:
    token = browser.token()
    return browser.get("/nowhere").request.environ.get("HTTP_COOKIE", ""), token


def _message(visit: Visit, cookies: str, token: str) -> Message:
    address, form = visit
    path, _, query = address.partition("?")
    headers = (("Cookie", cookies), ("Host", "panel"), ("Accept", "text/html"))
    if form is None:
        return Message("GET", path, query, headers)
    body = urlencode({**form, "_c": token}, doseq=True).encode()
    return Message("POST", path, query, (*headers, ("Content-Type", FORM)), body)


# --- programs -------------------------------------------------------------------------------------


class Door:
    """The way to an application: each message is sent spoilt in several ways, and then as it is."""

    def __init__(self, app: Flask, judge: Judge, spoiler: Spoiler, room: int) -> None:
        self._app, self._judge, self._spoiler = app, judge, spoiler
        self._end = judge.sent + room

    @property
    def is_open(self) -> bool:
        """Say whether more spoilt messages are wanted."""
        return self._judge.sent < self._end

    def open(self, path: str, **said: Any) -> TestResponse:
        """Send a request, as a client of Flask does, after spoilt ones; return its answer."""
        path, _, query = path.partition("?")
        headers = {**said.get("headers", {})}
        body = said.get("data") or b""
        message = Message(said["method"], path, query, tuple(headers.items()), body)
        for _ in range(SPOILT_FOR_EACH_VALID):
            self._judge.send(self._app, self._spoiler.spoil(message))
        address = f"{path}?{query}" if query else path
        return self._app.test_client().open(
            address, method=message.method, headers=headers, data=said.get("data"), buffered=True
        )


@dataclass
class DoorLine:
    """The connection of a satellite to the application behind a door."""

    door: Door
    meter: Meter = field(default_factory=Meter)

    def send(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Response:
        """Send one request and return its answer."""
        answer = self.door.open(path, method=method, headers=dict(headers), data=content or None)
        return Response(answer.status_code, dict(answer.headers), answer.data, 0.01)

    def close(self) -> None:
        """Nothing is open."""

    abort = close


@dataclass
class Programs:
    """A primary, and the programs that call it."""

    served: Served
    token: str
    setup_code: str

    @classmethod
    def make(cls, folder: Path) -> "Programs":
        """Return a primary with satellite 7, which has a pair of its own, and 8, which has not.

        For 9 there is a set-up.
        """
        served = Served.make(folder / "programs")
        vault = Vault([SECRET_KEY])
        shared = Parameters(
            sync_id=1, name=NATIONAL.name, store=NATIONAL.store, user_name=PAIR[0], password=PAIR[1]
        )
        own = (remote_site.USER_NAME, remote_site.PASSWORD)
        with served.database.writing() as session:
            save_parameters(session, ASHA, vault, shared, 1)
            add_server(session, ASHA, ServerFields(7, "Kadavu", "KDV-01", "", *own))
            add_server(session, ASHA, ServerFields(8, LEVUKA.name, LEVUKA.store))
            joins = add_server(session, ASHA, ServerFields(9, "Rotuma", "ROT-01"))
            setup = issue_setup(session, ASHA, joins.id, SetupTarget("https://nat.example.org"))
            addressed = [Write("transfer", f"t{n}", {"n": n}, 7 + n % 2) for n in range(20)]
            central = [Write("item", f"i{n}", {"n": n, "name": "Amoxicillin"}) for n in range(50)]
            write_records(session, 1, central + addressed)
            token = add_token(session, ASHA, "fuzz", may_sync=True)
        served.keep()
        return cls(served, token, setup.code)

    def send(self, judge: Judge, spoiler: Spoiler, chance: random.Random, count: int) -> None:
        """Send ``count`` spoilt messages, as many of each kind."""
        self.served.put_back()
        kinds = (self._exchange, self._call_v5, self._apply, self._join)
        for speak in kinds:
            door = Door(self.served.app, judge, spoiler, count // len(kinds))
            while door.is_open:
                # A spoilt message before may have changed what a valid one is.
                with suppress(SyncRefusal, LinkFault, AssertionError, KeyError, ValueError):
                    speak(door, chance)

    def _exchange(self, door: Door, chance: random.Random) -> None:
        satellite, line = LeanSatellite(LEVUKA), DoorLine(door)
        satellite.join(line)
        while door.is_open:
            texts = [f'{{"n":{n},"name":"Amoxicillin","packs":[1,2.50]}}' for n in range(5)]
            satellite.call(line, satellite.write(texts))
            self._say_everything(satellite, line, chance)

    def _say_everything(
        self, satellite: LeanSatellite, line: DoorLine, chance: random.Random
    ) -> None:
        """Send a request with members that few requests have, and a record in parts."""
        satellite.written += 1
        position = satellite.written
        item = Item(position, "stock_line", "a", 8, chance.choice((None, 7)), position, None)
        doubts: list[Key] = [("item", "i1"), ("stock_line", "8-1")]
        large = LargeRecord(f"{chance.getrandbits(128):032x}", 40, 9, Stream.CENTRAL)
        asked = Request(
            satellite.identity,
            chance.choice(list(Mode)),
            start=True,
            checkpoint=satellite.checkpoint,
            next_checkpoint="abcdefghijk",
            cursors={Stream.CENTRAL: 9, Stream.ADDRESSED: 3},
            waiting=3,
            limit=20,
            records=[item],
            common={Stream.CENTRAL: 3, Stream.ADDRESSED: 3},
            generation="abc",
            own=("abc", "def"),
            doubts=doubts,
            learn=True,
            clock_seconds=7,
            most_bytes=chance.choice((0, 500)),
            large=chance.choice((None, LargeRecord(large.digest, 40))),
        )
        acts: list[Callable[[], object]] = [
            lambda: put_piece(line, satellite.token, large, 0, b"x" * 20),
            lambda: get_piece(line, satellite.token, large, 0, 20),
            lambda: exchange(
                line, Pair(PAIR[0], wire_password(PAIR[1])), "", satellite.identity, asked
            ),
        ]
        for act in acts:
            with suppress(SyncRefusal, LinkFault):
                act()

    def _call_v5(self, door: Door, chance: random.Random) -> None:
        site = RemoteSite(door)  # type: ignore[arg-type]
        steps: list[Callable[[], object]] = [
            site.meet,
            site.initialise,
            site.pull_central,
            site.pull_queued,
            lambda: site.push(*(change_of(f"s{n}", {"ID": f"s{n}", "n": n}) for n in range(3))),
            lambda: site.push(change_of("s1", None, "Delete"), change_of("s2", {"n": 1}, "Merge")),
            lambda: site.acknowledge("1", "2"),
            site.wait_until_idle,
        ]
        while door.is_open:
            with suppress(AssertionError, KeyError, ValueError):
                chance.choice(steps)()

    def _join(self, door: Door, _chance: random.Random) -> None:
        while door.is_open:
            exchange_client.join(DoorLine(door), self.setup_code, "9f2c-11ab")

    def _apply(self, door: Door, chance: random.Random) -> None:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": JSON,
            "If-None-Match": '"1"',
        }
        one = b'{"data":{"n":1,"name":"Amoxicillin","price":2.50},"to":7}'
        many = (
            b'{"records":[{"table":"stock","id":"a","data":{"n":1}},'
            b'{"table":"stock","id":"b","deleted":true},{"table":"t","id":"c","data":{},"to":8}]}'
        )
        calls: list[tuple[str, str, bytes | None]] = [
            ("PUT", "/records/stock/a%2Fb", one),
            ("POST", "/records", many),
            ("GET", "/records/stock?limit=3&after=a", None),
            ("GET", "/records/stock/a", None),
            ("GET", "/changes?limit=3&since=", None),
            ("GET", "/deliveries/stock/a", None),
            ("GET", "/status", None),
            ("POST", "/sync-now", None),
            ("GET", "/openapi.json", None),
            ("DELETE", "/records/stock/a", None),
        ]
        while door.is_open:
            method, path, body = chance.choice(calls)
            door.open(f"/api/v1{path}", method=method, headers=headers, data=body)
