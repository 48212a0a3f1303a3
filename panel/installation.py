"""One installation of the panel: its settings, database, secrets and machine, opened once.

The web, the command line and the sync all work on it.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

import machineid
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from panel import clock
from panel.config import Config
from panel.db import Database, check_file, damaged, is_damaged, make_engine
from panel.errors import Refusal
from panel.i18n import say
from panel.migrate import present_revision, upgrade_if_needed
from panel.models.runs import PASSWORD_UNREADABLE, Link, Loop
from panel.models.settings import Settings, lock_settings
from panel.paths import write_once
from panel.security.vault import Unreadable, Vault
from panel.sync.store.sequence import Witness, heal_numbers, notice_restore


@dataclass(frozen=True)
class Installation:
    """The settings, the database, the vault and the Hardware ID of one installation."""

    config: Config
    database: Database
    vault: Vault
    hardware_id: str

    @classmethod
    def on(cls, config: Config, database: Database) -> "Installation":
        """Return the installation of ``config`` on ``database``, which is migrated already."""
        hardware_id = own_hardware_id(config.hardware_id, config.data_dir)
        return cls(config, database, Vault(config.secret_keys), hardware_id)

    def close(self) -> None:
        """Close every connection to the database."""
        self.database.close()


def open_installation(config: Config, *, make: bool = True) -> Installation:
    """Return the installation of ``config``, its database migrated and its secrets resealed.

    A database that was restored from a backup begins a new generation of its history.
    ``make`` creates a missing database. Without it a missing one is refused, because creating it
    would hide a forgotten ``SYNC_PANEL_DATA_DIR``. Raise :class:`Refusal` for that, for a database
    of a newer version, and for an SQLite file that is empty or damaged.
    """
    check_file(config.database_url)
    database = Database(make_engine(config.database_url))
    try:
        if not make and not (config.secret_keys and _exists(database)):
            raise Refusal(
                say(
                    "There is no panel in %(folder)s yet. Set SYNC_PANEL_DATA_DIR if it is "
                    "elsewhere; `sync-panel up` or `sync-panel init` begins one.",
                    folder=config.data_dir,
                )
            )
        upgrade_if_needed(config.database_url)
        witness = Witness(config.data_dir)
        database.after_commit = witness.note_commit
        heal_numbers(database)
        notice_restore(database, witness)
        installation = Installation.on(config, database)
        rotate_keys(installation)
        note_unreadable_password(installation)
    except SQLAlchemyError as error:
        database.close()
        if is_damaged(error):
            raise damaged(config.database_url) from error
        raise
    except BaseException:
        database.close()
        raise
    return installation


def note_unreadable_password(installation: Installation) -> None:
    """Note as the loop's refusal that no key opens the password, or that one does again."""
    with installation.database.reading() as session:
        is_lost = _is_password_lost(session, installation.vault)
        if is_lost == (session.get_one(Loop, 1).refusal == PASSWORD_UNREADABLE):
            return
    with installation.database.writing() as session:
        loop = session.get_one(Loop, 1, with_for_update=True)
        loop.refusal, loop.refusal_values = PASSWORD_UNREADABLE if is_lost else "", None
        loop.refused_at = clock.now() if is_lost else None


def _is_password_lost(session: Session, vault: Vault) -> bool:
    settings = session.get_one(Settings, 1)
    if not settings.is_satellite or not settings.password_sealed:
        return False
    try:
        vault.open(settings.password_sealed)
    except Unreadable:
        return True
    return False


def rotate_keys(installation: Installation) -> None:
    """Reseal stored secrets with the newest key if there are older ones, which may then be dropped.

    A secret that no key opens stays as it is.
    """
    if len(installation.config.secret_keys) > 1:
        with installation.database.writing() as session:
            _reseal(session, installation.vault)


def _reseal(session: Session, vault: Vault) -> None:
    settings = lock_settings(session)
    link = session.get_one(Link, 1, with_for_update=True, populate_existing=True)
    for row in (settings, link):
        for column in row.__table__.columns:
            if column.name.endswith("_sealed"):
                setattr(row, column.name, _resealed(vault, getattr(row, column.name)))


def _resealed(vault: Vault, sealed: str | None) -> str | None:
    try:
        return sealed and vault.reseal(sealed)
    except Unreadable:
        return sealed


def _exists(database: Database) -> bool:
    url = database.engine.url
    file = Path(url.database or "")
    # Connecting to a missing SQLite file would create it.
    if url.get_backend_name() == "sqlite" and file.parent.is_dir() and not file.exists():
        return False
    return present_revision(database.engine) is not None


APPLICATION = "sync-panel"
FILE_NAME = "hardware_id"
LENGTH = 32


def own_hardware_id(configured: str, data_dir: Path) -> str:
    """Return ``configured`` if it is not empty, else 32 hex digits that identify this machine.

    A machine without an ID of its own, such as some containers, gets one in a file of ``data_dir``.
    Raise OSError if that file is unusable.
    """
    return configured or _hashed_machine_id() or _generated_id(data_dir)


def _hashed_machine_id() -> str:
    # Half of the SHA-256 still tells machines apart, and is half as long to read and to send.
    try:
        return str(machineid.hashed_id(APPLICATION))[:LENGTH]
    except (machineid.MachineIdNotFound, OSError):
        return ""


def _generated_id(data_dir: Path) -> str:
    return write_once(data_dir / FILE_NAME, lambda: secrets.token_hex(LENGTH // 2))
