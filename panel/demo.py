"""The demo: a primary and two satellites on this machine, with stock that changes.

Each server is a process of its own, with its own folder, database and page. All these folders are
in one temporary folder, which is deleted at the end.
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
from http import HTTPStatus
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
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.security.vault import Vault
from panel.server import url_of
from panel.sync.store.records import Write, write_records

PERSON = "demo"
INTERVAL_MINUTES = 1
# Between two changes of the stock.
CHANGE_SECONDS = 5.0
# How long a server may take to start and to stop, and how often it is asked whether it answers.
START_SECONDS, STOP_SECONDS, POLL_SECONDS = 60.0, 15.0, 0.1
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


@dataclass(frozen=True)
class Site:
    """The identity of a server, as the lists of the other servers show it."""

    sync_id: int
    name: str
    store: str


PRIMARY = Site(PRIMARY_SYNC_ID, "National Store", "NAT-01")
SATELLITES = (Site(7, "Kadavu Health Centre", "KDV-01"), Site(8, "Rotuma Hospital", "ROT-01"))


@dataclass(frozen=True)
class Secrets:
    """The secrets of one run of the demo, generated for it."""

    password: str
    code: str
    sync_password: str


class DemoServer:
    """One server of the demo: its folder, its database and the process that serves it.

    ``number`` counts the servers from 1 and gives each its own address and Hardware ID.
    """

    def __init__(self, site: Site, folder: Path, number: int) -> None:
        self.site = site
        self._folder = folder / f"server-{site.sync_id}"
        host, port = _free_address(number)
        self.url = url_of(host, port, "")
        settings = {
            "DATA_DIR": str(self._folder),
            "HOST": host,
            "PORT": str(port),
            # Otherwise all three would have this machine's Hardware ID.
            "HARDWARE_ID": f"demo-machine-{number}",
        }
        # A panel that is installed on this machine may have settings of its own: they are left out.
        others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
        self._environment = {**others, **{PREFIX + name: text for name, text in settings.items()}}
        self._config = load(self._environment)
        upgrade(self._config.database_url)
        self._database = Database(make_engine(self._config.database_url))

    def prepare(self, secrets: Secrets, primary_url: str, others: Sequence[Site]) -> None:
        """Save the server's preferences, its person and its first records.

        ``primary_url`` is empty on the primary; ``others`` become rows of its list of servers.
        """
        actor, site = Actor(PERSON), self.site
        parameters = Parameters(
            sync_id=site.sync_id,
            name=site.name,
            store=site.store,
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
        self.write(first_records(site.sync_id, site.store))

    def write(self, writes: Sequence[Write]) -> None:
        """Write records as an application on this server does."""
        with self._database.writing() as session:
            write_records(session, self.site.sync_id, writes)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server during the block. Raise :class:`Refusal` if it does not start."""
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
            _stop(process)
            self._database.close()

    def _wait_for(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(f"{self.url}healthz"):
            if process.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                raise Refusal(say("A server did not start.\n%(log)s", log=log.strip()))
            time.sleep(POLL_SECONDS)


def run(echo: Callable[[str], None]) -> None:
    """Run the demo until an exception, such as SystemExit, ends it; then delete all its files.

    ``echo`` is called once, with the text that says where the servers are and how to sign in. Raise
    :class:`Refusal` if a server does not start.
    """
    secrets = Secrets(generate_code(), generate_code(), generate_code())
    with TemporaryDirectory(prefix="sync-panel-demo-") as folder, ExitStack() as ending:
        servers = _prepare(Path(folder), secrets)
        for server in servers:
            ending.enter_context(server.running())
        echo(_welcome_text(servers, secrets))
        satellites = [site.sync_id for site in SATELLITES]
        while True:
            time.sleep(CHANGE_SECONDS)
            for server in servers:
                site = server.site
                server.write(next_records(site.sync_id, site.store, satellites))


def _prepare(folder: Path, secrets: Secrets) -> list[DemoServer]:
    sites = (PRIMARY, *SATELLITES)
    servers = [DemoServer(site, folder, number) for number, site in enumerate(sites, 1)]
    primary, *satellites = servers
    primary.prepare(secrets, "", SATELLITES)
    for satellite in satellites:
        satellite.prepare(secrets, primary.url, [PRIMARY])
    return servers


def _welcome_text(servers: Sequence[DemoServer], secrets: Secrets) -> str:
    addresses = "\n".join(f"  {server.site.name:<22}{server.url}" for server in servers)
    return (
        f"A primary and two satellites, until Ctrl-C:\n\n{addresses}\n\n"
        f"  Sign in as            {PERSON}\n"
        f"  Password              {secrets.password}\n"
        f"  Authorisation code    {secrets.code}\n\n"
        "Stock changes every few seconds; satellites sync every minute, or when you say so."
    )


def _free_address(number: int) -> tuple[str, int]:
    """Return a loopback address and a free port on it.

    Each server gets an address of its own where the system has several (Linux, Windows): cookies
    ignore the port, so on one address signing in to one server would sign out of the others.
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
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def first_records(sync_id: int, store: str) -> list[Write]:
    """Return the first records of server ``sync_id``, whose Store is ``store``.

    They are items on the primary, and one line of stock for each item on a satellite.
    """
    if sync_id == PRIMARY_SYNC_ID:
        return [_item(code, name) for code, name in _ITEMS]
    return [_stock_line(code, store) for code, _name in _ITEMS]


def next_records(sync_id: int, store: str, satellites: Sequence[int]) -> list[Write]:
    """Return the next change of server ``sync_id``, whose Store is ``store``.

    It is a stock count on a satellite. On the primary it is a new price, or a transfer to one of
    ``satellites`` (Sync IDs).
    """
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
