"""What every command works on: this installation's settings, its database, who is at the shell."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from panel.activity.actor import Actor
from panel.config import Config, load
from panel.db import Database, make_engine
from panel.errors import Refusal
from panel.i18n import say
from panel.migrate import present_revision, upgrade_if_needed
from panel.models.base import NAME_LENGTH
from panel.security.vault import Vault


@dataclass(frozen=True)
class Installation:
    """One installation of the panel, as the shell reaches it."""

    config: Config
    database: Database
    vault: Vault
    actor: Actor


@contextmanager
def installation(make: bool = False) -> Iterator[Installation]:
    """Yield the installation that the environment names, its database migrated.

    Only with ``make`` is a database made where there is none: elsewhere that would hide a
    ``SYNC_PANEL_DATA_DIR`` that was forgotten.
    """
    config = load(os.environ, make=make)
    database = Database(make_engine(config.database_url))
    try:
        if not make and not (config.secret_keys and _is_there(database)):
            raise Refusal(
                say(
                    "There is no panel in %(folder)s yet. Set SYNC_PANEL_DATA_DIR if it is "
                    "elsewhere; `sync-panel up` or `sync-panel init` begins one.",
                    folder=config.data_dir,
                )
            )
        upgrade_if_needed(config.database_url)
        yield Installation(config, database, Vault(config.secret_keys), Actor(name=who()))
    finally:
        database.close()


def _is_there(database: Database) -> bool:
    url = database.engine.url
    file = Path(url.database or "")
    # To look into an SQLite file that is not there would make it.
    if url.get_backend_name() == "sqlite" and file.parent.is_dir() and not file.exists():
        return False
    return present_revision(database.engine) is not None


def who() -> str:
    """Return the system user who gave the command: behind sudo the person, not the service."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user, in a container for example
        name = "shell"
    return name[:NAME_LENGTH]
