"""Installations on databases that a test has made, their backups, and their witnesses."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from secrets import token_urlsafe

from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.orm import Session

from panel.config import Config
from panel.db import Database
from panel.installation import Installation
from panel.models.records import ChangeSequence, Generation
from panel.security.vault import Vault
from panel.sync.store.sequence import GENERATION_BYTES, Mark, Witness
from tests.support.cast import SECRET_KEY

VAULT = Vault([SECRET_KEY])


def name_generation(session: Session) -> None:
    """Give a database that was copied from the migrated one a history of its own."""
    sequence = session.get_one(ChangeSequence, 1)
    made = session.get_one(Generation, sequence.generation)
    made.generation = sequence.generation = token_urlsafe(GENERATION_BYTES)


def installation_on(database: Database, hardware_id: str) -> Installation:
    """Return an installation on a migrated ``database``, sealing as :data:`VAULT` does."""
    url = database.engine.url.render_as_string(hide_password=False)
    # Nothing is kept outside the database here: the key and the Hardware ID are given.
    config = Config(
        data_dir=Path(),
        database_url=url,
        secret_keys=(SECRET_KEY,),
        hardware_id=hardware_id,
    )
    return Installation.on(config, database)


class WitnessInMemory(Witness):
    """A witness that outlives a restored database, as the file in its folder does."""

    def __init__(self) -> None:
        self._mark: Mark | None = None

    def read(self) -> Mark | None:
        return self._mark

    def note(self, mark: Mark) -> None:
        if self._mark is None or self._mark.precedes(mark):
            self._mark = mark


_backups = count(1)


def back_up(url: str) -> str:
    """Copy a database that nobody has open, and return the name of the copy."""
    source = make_url(url)
    name = f"{source.database}_backup_{next(_backups)}"
    _copy(source, str(source.database), name)
    return name


def restore(url: str, name: str) -> None:
    """Put the copy ``name`` in the place of a database that nobody has open."""
    _copy(make_url(url), name, str(make_url(url).database))


def drop_backup(url: str, name: str) -> None:
    """Remove the copy ``name`` of a database."""
    if make_url(url).get_backend_name() == "sqlite":
        Path(name).unlink()
        return
    with _administration(make_url(url)) as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def _copy(url: URL, source: str, target: str) -> None:
    if url.get_backend_name() == "sqlite":
        for ending in ("", "-wal", "-shm"):
            Path(f"{target}{ending}").unlink(missing_ok=True)
        # A process that was killed leaves some of it in the -wal file, which this reads too.
        with closing(sqlite3.connect(source)) as from_, closing(sqlite3.connect(target)) as to:
            from_.backup(to)
        return
    with _administration(url) as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)"))
        # A process that was killed leaves its connections to the server for a moment.
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :of"
            ),
            {"of": source},
        )
        connection.execute(text(f"CREATE DATABASE {target} TEMPLATE {source} STRATEGY FILE_COPY"))


@contextmanager
def _administration(url: URL) -> Iterator[Connection]:
    engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()
