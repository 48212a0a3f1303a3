"""The database engine and its sessions, with what SQLite and PostgreSQL each need."""

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    DateTime,
    Dialect,
    Engine,
    ExceptionContext,
    Executable,
    TypeDecorator,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from panel.errors import Refusal
from panel.i18n import say

BUSY_TIMEOUT_SECONDS = 20.0
# If the disk of an SQLite file has less free space, the largest batch may not fit.
LEAST_ROOM_BYTES = 8 * 1024 * 1024
_PROBE_AGAIN_SECONDS = 2.0
# How long a process that ends waits for its last write.
_LAST_PATIENCE_SECONDS = 5.0
# A write that fails on a full disk, and changes nothing that anybody reads.
_PROBE = {
    "sqlite": "PRAGMA user_version = {number}",
    "postgresql": "CREATE TEMP TABLE room ON COMMIT DROP AS SELECT generate_series(1, 5000)",
}
# For a file that this process may not write, or not even open.
_READ_ONLY_CODES = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN}
_DISK_CODES = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_DAMAGED_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# The SQLSTATE disk_full of PostgreSQL (its manual, Appendix A).
_DISK_FULL = "53100"
# read_only_sql_transaction, as on a standby, and insufficient_privilege.
_READ_ONLY, _NOT_OWNER = "25006", "42501"
_IS_WRITABLE = text(
    "SELECT current_setting('transaction_read_only') = 'off'"
    " AND coalesce(has_table_privilege(to_regclass('settings')::oid, 'UPDATE'), true)"
)
# The bits of an SQLite error code that say its kind; the others only add detail.
_PRIMARY_CODE_BITS = 0xFF
# What every SQLite file begins with (SQLite, *Database File Format*, 1.3).
_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
# An empty file may be one that another process is creating: by then it has its first page.
_CREATED_WITHIN_SECONDS = 2.0


class UtcDateTime(TypeDecorator[datetime]):
    """The column type of an aware datetime in UTC. SQLite stores no time zone; a read adds it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return ``value`` as the database stores it."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return a stored value as an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def make_engine(url: str) -> Engine:
    """Return an engine for ``url`` (``sqlite:///…`` or ``postgresql+psycopg://…``).

    Parameters are hidden: otherwise the log shows the values of a failed statement, secrets too.
    """
    if url.startswith("sqlite"):
        engine = create_engine(
            url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, hide_parameters=True
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    if is_pooled(connection):
        # The next transaction may run on a server that has not prepared the statement.
        connection.prepare_threshold = None
    connection.rollback()


def is_pooled(connection: Any) -> bool:
    """Say whether a pooler, such as PgBouncer, stands between ``connection`` and PostgreSQL.

    A pooler names another process than the one of PostgreSQL that answers.
    """
    (served_by,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    return bool(served_by != connection.info.backend_pid)


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # Otherwise the driver begins transactions by itself: late, as a reader, and with a commit
    # before every DDL statement.
    connection.isolation_level = None
    # FULL: a record acknowledged to an application must survive a power cut.
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_postgresql(connection: Connection) -> None:
    # By itself it waits without end for a row that somebody holds. Within the transaction, since a
    # pooler gives the connection to others.
    options = connection.get_execution_options()
    if not options.get("reading") and options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {BUSY_TIMEOUT_SECONDS * 1_000:.0f}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once. A reader that wants to write later fails if another wrote.
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def is_disk_full(error: BaseException | None) -> bool:
    """Say whether ``error`` comes from a full disk, or from a disk that fails.

    SQLAlchemy raises the same class for them and for a database that is only busy.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in _DISK_CODES
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    # PostgreSQL also refuses a new connection if its disk is full. That error has no code, so its
    # text is searched.
    return getattr(cause, "sqlstate", None) == _DISK_FULL or os.strerror(errno.ENOSPC) in str(cause)


def first_line(error: SQLAlchemyError) -> str:
    """Return the first line of the driver's message; SQLAlchemy's has the values of a statement."""
    words = str(error.orig if isinstance(error, DBAPIError) else error)
    return words.strip().partition("\n")[0]


def is_read_only(error: BaseException) -> bool:
    """Say whether ``error`` is about a database that this process may not write."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in _READ_ONLY_CODES
    return getattr(cause, "sqlstate", None) in (_READ_ONLY, _NOT_OWNER)


def is_statement_error(error: BaseException) -> bool:
    """Say whether SQLite refused the statement itself, such as one about a missing table.

    SQLAlchemy raises the same class for it and for a database that is only busy.
    """
    cause = error.orig if isinstance(error, DBAPIError) else None
    return isinstance(cause, sqlite3.Error) and _sqlite_code(cause) == sqlite3.SQLITE_ERROR


def is_damaged(error: SQLAlchemyError) -> bool:
    """Say whether ``error`` is about a damaged SQLite file, or a file that is no database."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    return isinstance(cause, sqlite3.Error) and _sqlite_code(cause) in _DAMAGED_CODES


def damage_refusal(url: str) -> Refusal:
    """Return the refusal that says that the database file of ``url`` is damaged."""
    return Refusal(
        say(
            "The database %(file)s is damaged: restore it from a backup. Nothing was changed.",
            file=make_url(url).database,
        )
    )


def unwritable_path(url: str | URL) -> Path | None:
    """Return what this process may not write of an SQLite database: a file, or its folder.

    None for a database that it may write, and for one of PostgreSQL.
    """
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or not parts.database:
        return None
    file = Path(parts.database).absolute()
    # SQLite makes the other two beside it, and whoever made them may be somebody else.
    beside = [file.with_name(f"{file.name}-{end}") for end in ("wal", "shm")]
    needed = [path for path in (file.parent, file, *beside) if path.exists()]
    return next((path for path in needed if not os.access(path, os.R_OK | os.W_OK)), None)


def check_sqlite_file(url: str) -> None:
    """Raise :class:`Refusal` if ``url`` is an SQLite file that is empty, too short or no database.

    A missing file is no error. Only the header is read, so that a large file takes no time.
    """
    parts = make_url(url)
    file = Path(parts.database or "")
    if parts.get_backend_name() != "sqlite" or not file.is_file():
        return
    until = time.monotonic() + _CREATED_WITHIN_SECONDS
    while not file.stat().st_size:
        if time.monotonic() > until:
            raise Refusal(
                say(
                    "The database %(file)s is empty: restore it from a backup, or remove it to "
                    "begin anew without any data.",
                    file=file,
                )
            )
        time.sleep(0.05)
    if _is_cut_off(file):
        raise damage_refusal(url)


def _is_cut_off(file: Path) -> bool:
    with file.open("rb") as opened:
        header = opened.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        return True
    wal = file.with_name(f"{file.name}-wal")
    if (wal.is_file() and wal.stat().st_size) or header[24:28] != header[92:96]:
        # The size in the header counts pages of the -wal file too, or was not kept up to date.
        return False
    # 1 means 65 536, which does not fit into two bytes (SQLite, *Database File Format*, 1.3.2).
    page_bytes = int.from_bytes(header[16:18]) if header[16:18] != b"\0\1" else 65_536
    return file.stat().st_size < page_bytes * int.from_bytes(header[28:32])


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE_BITS


class Database:
    """Sessions on one engine.

    :meth:`writing` commits at the end or rolls back, :meth:`reading` never writes. The function
    ``after_commit``, if it is set, is called with each session of :meth:`writing` after its commit.
    Each of ``memories`` writes what this process only remembers so far, waiting for so many seconds
    at most (:meth:`write_memories`).
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.after_commit: Callable[[Session], None] | None = None
        self.memories: list[Callable[[float], None]] = []
        # When a write last failed because the disk was full, by the monotonic clock.
        self._full_at: float | None = None
        event.listen(engine, "handle_error", self._note_error)
        is_sqlite = engine.dialect.name == "sqlite"
        # SQLite has one writer at a time, and those that it keeps waiting sleep: one that came
        # later may be the next. Here they queue, and each is woken when it may go.
        self._turn = threading.RLock() if is_sqlite else None
        # A statement alone needs no transaction around it. SQLite's driver has no such level, and
        # begins one without asking anybody.
        alone = {"reading": True} if is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._alone = engine.execution_options(**alone)
        info = {_DATABASE: self}
        self._writers = sessionmaker(engine, expire_on_commit=False, info=info)
        self._readers = sessionmaker(
            engine.execution_options(reading=True), expire_on_commit=False, info=info
        )

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Yield a session that commits when the block ends and rolls back if the block raises."""
        with self._in_turn(), self._writers.begin() as session:
            yield session
        if self.after_commit is not None:
            self.after_commit(session)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session for reading that waits for no writer (SQLite: no ``BEGIN IMMEDIATE``)."""
        with self.open_reader() as session:
            yield session

    def open_reader(self) -> Session:
        """Return a session such as :meth:`reading` yields; the caller has to close it."""
        return self._readers()

    def read_row(self, statement: Executable, values: dict[str, Any]) -> tuple[Any, ...]:
        """Return the one row of a ``statement`` that is all there is to read, without a session."""
        with self._alone.connect() as connection:
            return tuple(connection.execute(statement, values).one())

    def write_memories(self, patience_seconds: float) -> None:
        """Write what this process only remembers so far; give up after so many seconds.

        Call it before what is read has to be up to date, and at the end of the process.
        """
        for write in self.memories:
            write(patience_seconds)

    def has_room(self, *, probe: bool = False) -> bool:
        """Say whether the disk has room to write.

        For an SQLite file, the free space of its disk is looked up. With ``probe``, and after a
        write that failed, a small write is tried as well.
        """
        if self._free_bytes() < LEAST_ROOM_BYTES:
            return False
        now = time.monotonic()
        if self._full_at is None and not probe:
            return True
        if self._full_at is not None and now - self._full_at < _PROBE_AGAIN_SECONDS:
            return False
        self._full_at = None
        return self._can_write(int(now * 1_000) % 1_000_000)

    def is_writable(self) -> bool:
        """Say whether this process may write the database; nothing is written to find out.

        Raise SQLAlchemyError if PostgreSQL does not answer.
        """
        if self.engine.dialect.name == "sqlite":
            return unwritable_path(self.engine.url) is None
        return bool(self.read_row(_IS_WRITABLE, {})[0])

    def close(self) -> None:
        """Write what is only remembered so far, and close every connection of the pool."""
        self.write_memories(_LAST_PATIENCE_SECONDS)
        self.engine.dispose()

    def _in_turn(self) -> AbstractContextManager[object]:
        return nullcontext() if self._turn is None else _taken(self._turn)

    def _free_bytes(self) -> float:
        url = self.engine.url
        if url.get_backend_name() != "sqlite" or not url.database or not hasattr(os, "statvfs"):
            return float("inf")
        try:
            disk = os.statvfs(Path(url.database).parent)
        except OSError:
            return float("inf")
        return disk.f_bavail * disk.f_frsize

    def _can_write(self, number: int) -> bool:
        """Try a small write; ``number`` has to be a new one, or SQLite would write nothing."""
        try:
            with self.engine.begin() as connection:
                connection.exec_driver_sql(_PROBE[self.engine.dialect.name].format(number=number))
        except SQLAlchemyError as error:
            # Other errors, such as a busy database or a missing right, say nothing about the disk.
            return not is_disk_full(error)
        return True

    def _note_error(self, context: ExceptionContext) -> None:
        if is_disk_full(context.original_exception):
            self._full_at = time.monotonic()
        if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
            # Another server of a multi-host URL may be the one to write to by now.
            context.is_disconnect = True


@contextmanager
def _taken(turn: threading.RLock) -> Iterator[None]:
    if not turn.acquire(timeout=BUSY_TIMEOUT_SECONDS):
        # What SQLite itself says to one that waited for too long.
        locked = sqlite3.OperationalError("database is locked")
        raise OperationalError("BEGIN IMMEDIATE", None, locked)
    try:
        yield
    finally:
        turn.release()


_DATABASE = "database"


def has_room(session: Session, *, probe: bool = False) -> bool:
    """Say whether the database of ``session`` has room to write (:meth:`Database.has_room`)."""
    database = session.info.get(_DATABASE)
    return not isinstance(database, Database) or database.has_room(probe=probe)
