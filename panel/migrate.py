"""Migration of the database to this version's tables, safe for processes that start together."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from panel.db import make_engine
from panel.errors import Refusal
from panel.i18n import say
from panel.paths import MIGRATIONS

if TYPE_CHECKING:
    from alembic.config import Config

# An arbitrary number, which no other program on the same PostgreSQL is likely to use.
_ADVISORY_LOCK = 7_306_851_240


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run the missing migrations of ``database_url`` up to ``revision``.

    They run in one transaction and under a lock, for which other processes wait.
    """
    # Imported late: Alembic takes 6 MB of memory, and a server seldom needs it.
    from alembic import command

    engine = make_engine(database_url)
    try:
        with engine.begin() as connection:
            _wait_for_others(connection)
            command.upgrade(_alembic_config(connection), revision)
    finally:
        engine.dispose()


def upgrade_if_needed(database_url: str) -> None:
    """Run the missing migrations, if any are missing.

    Otherwise this is quick: it neither loads Alembic nor waits for the lock. Raise
    :class:`Refusal` if the database is newer than this version of the panel.
    """
    engine = make_engine(database_url)
    try:
        present = present_revision(engine)
    finally:
        engine.dispose()
    if present not in (None, *_revisions()):
        raise Refusal(
            say("A newer version of Sync Panel has used this database. Install that one.")
        )
    if present != newest_revision():
        upgrade(database_url)


def newest_revision() -> str:
    """Return the newest revision that this version of the panel knows, such as "0009"."""
    return _revisions()[-1]


def _revisions() -> list[str]:
    names = (path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    return sorted(name.split("_", 1)[0] for name in names)


def present_revision(engine: Engine) -> str | None:
    """Return the revision that the database is at; None if it was never migrated."""
    with engine.execution_options(reading=True).connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def _wait_for_others(connection: Connection) -> None:
    # On SQLite, BEGIN IMMEDIATE already admits one process at a time.
    if connection.dialect.name == "postgresql":
        # However long the migrations of another take.
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def _alembic_config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
