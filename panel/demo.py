"""Three servers on this machine, to see sync at work: a primary and two satellites.

Each is a process of its own, with its own folder, database and page. They live in one temporary
folder, and go with it.
"""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import ProxyHandler, build_opener

from panel import clock
from panel.accounts.authorisation_code import generate_code
from panel.accounts.people import set_up
from panel.activity.log import Actor
from panel.config import PREFIX, load
from panel.db import Database, make_engine
from panel.errors import Refusal
from panel.i18n import say
from panel.migrate import upgrade
from panel.models.base import PRIMARY_SYNC_ID
from panel.preferences.interval import set_interval
from panel.preferences.parameter_fields import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.security.vault import Vault
from panel.server import url_of
from panel.sync.store.records import write_records
from panel.sync.store.write_checks import Write

PERSON = "demo"
INTERVAL_MINUTES = 1
CHANGE_SECONDS, START_SECONDS, STOP_SECONDS, POLL_SECONDS = 5.0, 60.0, 15.0, 0.1


@dataclass(frozen=True)
class Place:
    """A server as the lists of the others name it."""

    sync_id: int
    name: str
    store: str


PRIMARY = Place(PRIMARY_SYNC_ID, "National Store", "NAT-01")
SATELLITES = (Place(7, "Kadavu Health Centre", "KDV-01"), Place(8, "Rotuma Hospital", "ROT-01"))


@dataclass(frozen=True)
class Secrets:
    """Made anew for each demo, and good for nothing else."""

    password: str
    code: str
    sync_password: str


class DemoServer:
    """One of the three: its folder, its database, and the process that serves it."""

    def __init__(self, place: Place, folder: Path, number: int) -> None:
        self.place = place
        self._folder = folder / f"server-{place.sync_id}"
        host, port = _free_place(number)
        self.url = url_of(host, port, "")
        settings = {
            "DATA_DIR": str(self._folder),
            "HOST": host,
            "PORT": str(port),
            # One machine here plays three.
            "HARDWARE_ID": f"demo-machine-{number}",
        }
        # Not what the environment says of the panel that really runs on this machine.
        ours = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
        self._environment = {**ours, **{PREFIX + name: text for name, text in settings.items()}}
        self._config = load(self._environment)
        upgrade(self._config.database_url)
        self._database = Database(make_engine(self._config.database_url))

    def prepare(self, secrets: Secrets, primary_url: str, others: Sequence[Place]) -> None:
        """Give the server its preferences, its person and its first records."""
        actor, place = Actor(PERSON), self.place
        parameters = Parameters(
            sync_id=place.sync_id,
            name=place.name,
            store=place.store,
            user_name=PERSON,
            password=secrets.sync_password,
            url=primary_url,
            request_size=None,
        )
        with self._database.writing() as session:
            set_up(session, actor, PERSON, secrets.password, secrets.code)
            save_parameters(session, actor, Vault(self._config.secret_keys), parameters, 1)
            set_interval(session, actor, INTERVAL_MINUTES, 1)
            for other in others:
                add_server(session, actor, ServerFields(other.sync_id, other.name, other.store))
        self.write(first_records(place.sync_id, place.store))

    def write(self, writes: Sequence[Write]) -> None:
        """Write as an application on this server does."""
        with self._database.writing() as session:
            write_records(session, self.place.sync_id, writes)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve while the block lasts."""
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "panel.cli", "up"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_for(process)
            yield
        finally:
            _end(process)
            self._database.close()

    def _wait_for(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(f"{self.url}healthz"):
            if process.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                raise Refusal(say("A server did not start.\n%(log)s", log=log.strip()))
            time.sleep(POLL_SECONDS)


def run(tell: Callable[[str], None]) -> None:
    """Run the demo, ``tell`` where it is, and change records until an exception ends it.

    The processes and the folder are gone then, whatever it was.
    """
    secrets = Secrets(generate_code(), generate_code(), generate_code())
    with TemporaryDirectory(prefix="sync-panel-demo-") as folder, ExitStack() as ending:
        servers = _prepare(Path(folder), secrets)
        for server in servers:
            ending.enter_context(server.running())
        tell(_where(servers, secrets))
        satellites = [place.sync_id for place in SATELLITES]
        while True:
            time.sleep(CHANGE_SECONDS)
            for server in servers:
                place = server.place
                server.write(next_records(place.sync_id, place.store, satellites))


def _prepare(folder: Path, secrets: Secrets) -> list[DemoServer]:
    places = (PRIMARY, *SATELLITES)
    servers = [DemoServer(place, folder, number) for number, place in enumerate(places, 1)]
    primary, *satellites = servers
    primary.prepare(secrets, "", SATELLITES)
    for satellite in satellites:
        satellite.prepare(secrets, primary.url, [PRIMARY])
    return servers


def _where(servers: Sequence[DemoServer], secrets: Secrets) -> str:
    addresses = "\n".join(f"  {server.place.name:<22}{server.url}" for server in servers)
    return (
        f"A primary and two satellites, until Ctrl-C:\n\n{addresses}\n\n"
        f"  Sign in as            {PERSON}\n"
        f"  Password              {secrets.password}\n"
        f"  Authorisation code    {secrets.code}\n\n"
        "Stock changes every few seconds; satellites sync every minute, or when you say so."
    )


def _free_place(number: int) -> tuple[str, int]:
    """Return an address of this machine and a free port there.

    An address for each server where there are several (Linux, Windows): browsers keep cookies by
    address whatever the port, so signing in to one server would sign out of the others.
    """
    for host in (f"127.0.0.{number}", "127.0.0.1"):
        try:
            with socket.create_server((host, 0)) as listener:
                return host, int(listener.getsockname()[1])
        except OSError:
            continue
    raise Refusal(say("No port is free on this machine."))


def _answers(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=START_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_ITEMS = (
    ("amox250", "Amoxicillin 250mg tab/cap"),
    ("para500", "Paracetamol 500mg tab"),
    ("ors", "Oral rehydration salts, sachet"),
    ("art-lum", "Artemether/lumefantrine 20/120mg tab"),
    ("zinc20", "Zinc sulfate 20mg dispersible tab"),
    ("metf500", "Metformin 500mg tab"),
    ("amlo5", "Amlodipine 5mg tab"),
    ("ceft1g", "Ceftriaxone 1g powder for injection"),
    ("oxyt10", "Oxytocin 10IU/ml injection, 1ml amp"),
    ("gloves-m", "Gloves, examination, medium, pair"),
    ("rdt-mal", "Malaria rapid diagnostic test"),
    ("mr-vac", "Measles-rubella vaccine, 10 doses"),
)
_MOST_PACKS = 400


def first_records(sync_id: int, store: str) -> list[Write]:
    """Return what a server has before anybody looks: the items, or a line of stock for each."""
    if sync_id == PRIMARY_SYNC_ID:
        return [_item(code, name) for code, name in _ITEMS]
    return [_stock_line(code, store) for code, _name in _ITEMS]


def next_records(sync_id: int, store: str, satellites: Sequence[int]) -> list[Write]:
    """Return what changes next: stock is counted; the primary sets a price, or sends goods."""
    code, name = random.choice(_ITEMS)  # noqa: S311
    if sync_id != PRIMARY_SYNC_ID:
        return [_stock_line(code, store)]
    return [random.choice((_item(code, name), _transfer(code, random.choice(satellites))))]  # noqa: S311


def _item(code: str, name: str) -> Write:
    data = {"code": code, "name": name, "price": random.randint(10, 2_000) / 100}  # noqa: S311
    return Write("item", code, data)


def _stock_line(code: str, store: str) -> Write:
    data = {
        "item": code,
        "store": store,
        "batch": f"B{random.randint(1_000, 9_999)}",  # noqa: S311
        "expiry": str(_day_ahead(random.randint(60, 900))),  # noqa: S311
        "packs": random.randint(0, _MOST_PACKS),  # noqa: S311
    }
    return Write("stock_line", f"{store}-{code}", data)


def _transfer(code: str, to: int) -> Write:
    data = {"item": code, "packs": random.randint(1, _MOST_PACKS), "sent": str(_day_ahead(0))}  # noqa: S311
    return Write("transfer", f"{to}-{code}", data, to)


def _day_ahead(days: int) -> date:
    return (clock.now() + timedelta(days=days)).date()
