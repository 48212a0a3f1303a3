"""The database engine and its sessions, with what SQLite and PostgreSQL each need."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Engine,
    ExceptionContext,
    TypeDecorator,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from panel.errors import Refusal
from panel.i18n import say

BUSY_TIMEOUT_SECONDS = 20.0
# With less room on the disk of a SQLite file, the largest batch may not fit any more.
LEAST_ROOM_BYTES = 8 * 1024 * 1024
_PROBE_AGAIN_SECONDS = 2.0
# A write that needs new pages, and leaves nothing behind.
_PROBE = {
    "sqlite": "PRAGMA user_version = {number}",
    "postgresql": "CREATE TEMP TABLE room ON COMMIT DROP AS SELECT generate_series(1, 5000)",
}
_FULL_CODES = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_DAMAGED_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# PostgreSQL, Appendix A: disk_full.
_DISK_FULL = "53100"
# Of an SQLite error's code; the other bits say more about the same kind.
_PRIMARY_CODE = 0xFF
_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
# Another process that makes the same database has written its first page by then.
_MADE_WITHIN_SECONDS = 2.0


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC. SQLite stores no time zone: it is added on read."""

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
    """Return an engine for ``url`` (``sqlite:///…`` or ``postgresql+psycopg://…``)."""
    if url.startswith("sqlite"):
        engine = create_engine(
            url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, hide_parameters=True
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # Hidden: otherwise the log shows the values of a failed statement, secrets among them.
    return create_engine(url, pool_pre_ping=True, hide_parameters=True)


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver must not begin transactions itself: it begins them late, as readers, and commits
    # before DDL.
    connection.isolation_level = None
    # FULL: a record acknowledged to an application must survive a power cut.
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def is_full(error: BaseException | None) -> bool:
    """Say whether ``error`` is for want of room on a disk, or of a disk that fails.

    A database that is only busy raises the same class of SQLAlchemy's.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in _FULL_CODES
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    # PostgreSQL refuses a new connection for want of room too, which has no code: only its words.
    return getattr(cause, "sqlstate", None) == _DISK_FULL or os.strerror(errno.ENOSPC) in str(cause)


def is_wrong_statement(error: BaseException) -> bool:
    """Say whether SQLite refused what it was told, for which it has the class of a busy database.

    A table that is missing is such a case.
    """
    cause = error.orig if isinstance(error, DBAPIError) else None
    return isinstance(cause, sqlite3.Error) and _sqlite_code(cause) == sqlite3.SQLITE_ERROR


def is_damaged(error: SQLAlchemyError) -> bool:
    """Say whether ``error`` is of an SQLite file that is damaged, or none at all."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    return isinstance(cause, sqlite3.Error) and _sqlite_code(cause) in _DAMAGED_CODES


def damaged(url: str) -> Refusal:
    """Return the refusal of a database file that is damaged."""
    return Refusal(
        say(
            "The database %(file)s is damaged: restore it from a backup. Nothing was changed.",
            file=make_url(url).database,
        )
    )


def check_file(url: str) -> None:
    """Raise :class:`Refusal` for an SQLite file that is empty, cut off or something else.

    A missing one is no error. The whole of it is not read.
    """
    parts = make_url(url)
    file = Path(parts.database or "")
    if parts.get_backend_name() != "sqlite" or not file.is_file():
        return
    until = time.monotonic() + _MADE_WITHIN_SECONDS
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
        raise damaged(url)


def _is_cut_off(file: Path) -> bool:
    with file.open("rb") as opened:
        header = opened.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        return True
    wal = file.with_name(f"{file.name}-wal")
    if (wal.is_file() and wal.stat().st_size) or header[24:28] != header[92:96]:
        # The size in the header is not of this file alone.
        return False
    # The 1 stands for 65536, which does not fit (SQLite, *Database File Format*, 1.3.2).
    page_bytes = int.from_bytes(header[16:18]) if header[16:18] != b"\0\1" else 65_536
    return file.stat().st_size < page_bytes * int.from_bytes(header[28:32])


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE


class Database:
    """Sessions on one engine.

    :meth:`writing` commits at the end or rolls back, :meth:`reading` never writes. What is set as
    ``after_commit`` is called with each session that was committed.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.after_commit: Callable[[Session], None] | None = None
        # When a write last failed for want of room, by the monotonic clock.
        self._full_at: float | None = None
        event.listen(engine, "handle_error", self._note_error)
        info = {_DATABASE: self}
        self._writers = sessionmaker(engine, expire_on_commit=False, info=info)
        self._readers = sessionmaker(
            engine.execution_options(reading=True), expire_on_commit=False, info=info
        )

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Yield a session that commits when the block ends and rolls back if the block raises."""
        with self._writers.begin() as session:
            yield session
        if self.after_commit is not None:
            self.after_commit(session)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session for reading that waits for no writer (SQLite: no ``BEGIN IMMEDIATE``)."""
        with self.open_reader() as session:
            yield session

    def open_reader(self) -> Session:
        """Return a session as :meth:`reading` does, which the caller closes."""
        return self._readers()

    def has_room(self, *, probe: bool = False) -> bool:
        """Say whether there is room to write.

        It is tried out after a write that failed, or with ``probe``; elsewhere the disk of an
        SQLite file is asked.
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

    def close(self) -> None:
        """Close every connection of the pool."""
        self.engine.dispose()

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
        try:
            with self.engine.begin() as connection:
                connection.exec_driver_sql(_PROBE[self.engine.dialect.name].format(number=number))
        except SQLAlchemyError as error:
            # One that is busy, or does not let this user make tables, may have room.
            return not is_full(error)
        return True

    def _note_error(self, context: ExceptionContext) -> None:
        if is_full(context.original_exception):
            self._full_at = time.monotonic()


_DATABASE = "database"


def has_room(session: Session, *, probe: bool = False) -> bool:
    """Say whether the database of ``session`` has room to write (:meth:`Database.has_room`)."""
    database = session.info.get(_DATABASE)
    return not isinstance(database, Database) or database.has_room(probe=probe)
