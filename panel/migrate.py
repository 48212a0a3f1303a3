"""Brings the database to this version's tables, once, however many processes start together."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from panel.db import make_engine
from panel.errors import Refusal
from panel.i18n import say
from panel.paths import MIGRATIONS

if TYPE_CHECKING:
    from alembic.config import Config

# Any number will do that no other program on the same PostgreSQL is likely to choose.
_ADVISORY_LOCK = 7_306_851_240


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run the migrations missing up to ``revision``, in one transaction and under a lock."""
    # Imported late: Alembic takes 6 MB that a running server never needs.
    from alembic import command

    engine = make_engine(database_url)
    try:
        with engine.begin() as connection:
            _wait_for_others(connection)
            command.upgrade(_alembic_config(connection), revision)
    finally:
        engine.dispose()


def upgrade_if_needed(database_url: str) -> None:
    """Run the migrations that are missing; where none is, load no Alembic and wait for no lock.

    Raise :class:`Refusal` if the database is newer than this version of the panel.
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
    """Return the last revision that this version of the panel brings along."""
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
    # SQLite's BEGIN IMMEDIATE already lets one in at a time.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def _alembic_config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
