"""One installation of the panel: its settings, database, secrets and machine, opened once.

The web, the command line and the sync all work on it.
"""

import base64
import getpass
import hmac
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import machineid
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from panel import clock
from panel.config import Config
from panel.db import (
    Database,
    check_sqlite_file,
    damage_refusal,
    is_damaged,
    make_engine,
    unwritable_path,
)
from panel.errors import Refusal
from panel.i18n import say
from panel.migrate import present_revision, upgrade_if_needed
from panel.models.runs import PASSWORD_UNREADABLE, Link, Loop
from panel.models.settings import Settings, lock_settings
from panel.paths import write_once
from panel.security.vault import Unreadable, Vault
from panel.sync.store.sequence import Witness, heal_numbers, notice_restore

# Mixed into the hash: another program on this machine gets another ID.
_APPLICATION = "sync-panel"
_HARDWARE_ID_FILE = "hardware_id"
_HARDWARE_ID_DIGITS = 32
# So many that its text needs no padding.
_TOKEN_BYTES = 24


@dataclass(frozen=True)
class Installation:
    """The settings, the database, the vault and the Hardware ID of one installation."""

    config: Config
    database: Database
    vault: Vault
    hardware_id: str

    @classmethod
    def on(cls, config: Config, database: Database) -> "Installation":
        """Return the installation of ``config`` on ``database``, which is migrated already.

        Raise OSError if the Hardware ID cannot be read or stored.
        """
        hardware_id = own_hardware_id(config.hardware_id, config.data_dir)
        return cls(config, database, Vault(config.secret_keys), hardware_id)

    @property
    def set_up_token(self) -> str:
        """The end of the set-up link, which is good until there is a first person.

        It follows from the secret key, so that every process of the installation knows it.
        """
        key = self.config.secret_keys[0].encode()
        digest = hmac.digest(key, b"set-up link", "sha256")[:_TOKEN_BYTES]
        return base64.urlsafe_b64encode(digest).decode()

    def close(self) -> None:
        """Close every connection to the database."""
        self.database.close()


class NotMade(Refusal):
    """There is no installation where one is looked for."""

    code = "not_made"


READ_ONLY_SERVER = say(
    "The server of PostgreSQL takes no writes, or the role of SYNC_PANEL_DATABASE_URL does not own "
    "the tables. Name the server that takes them, and the role that made them."
)


def check_writable_file(url: str) -> None:
    """Raise :class:`Refusal` if this process may not write the SQLite database of ``url``."""
    path = unwritable_path(url)
    if path is not None:
        raise Refusal(
            say(
                "The user %(user)s cannot write %(path)s, which belongs to %(owner)s: run this as "
                "the user of the service, or give that user the folder (chown -R).",
                user=_name_or_number(getpass.getuser, os.getuid),
                path=path,
                owner=_name_or_number(path.owner, lambda: path.stat().st_uid),
            )
        )


def _name_or_number(name: Callable[[], str], number: Callable[[], int]) -> str:
    try:
        return name()
    except (KeyError, OSError):
        # A user without a name, in a container for example.
        return str(number())


def open_installation(config: Config, *, make: bool = True) -> Installation:
    """Return the installation of ``config``: migrate its database and reseal its secrets first.

    A database that was restored from a backup begins a new generation of its history.
    With ``make`` a missing database is created. Without it a missing one is refused, because
    creating it would hide that ``SYNC_PANEL_DATA_DIR`` was forgotten. Raise :class:`Refusal` for
    that (:class:`NotMade`), for a database that cannot be written, for one of a newer version, and
    for an SQLite file that is empty or damaged.
    """
    check_writable_file(config.database_url)
    check_sqlite_file(config.database_url)
    database = Database(make_engine(config.database_url))
    try:
        if not make and not (config.secret_keys and exists(database)):
            raise NotMade(
                say(
                    "There is no panel in %(folder)s yet. Set SYNC_PANEL_DATA_DIR if it is "
                    "elsewhere; `sync-panel up` or `sync-panel init` begins one.",
                    folder=config.data_dir,
                )
            )
        if not database.is_writable():
            raise Refusal(READ_ONLY_SERVER)
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
            raise damage_refusal(config.database_url) from error
        raise
    except BaseException:
        database.close()
        raise
    return installation


def note_unreadable_password(installation: Installation) -> None:
    """Set the loop's refusal if no secret key opens the stored password; clear it if one does."""
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
    """Reseal every stored secret with the newest secret key, if there are older keys too.

    After that the older keys are not needed any more. A secret that no key opens stays as it is.
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


def exists(database: Database) -> bool:
    """Say whether there is an installation in ``database``; nothing is made to find out."""
    url = database.engine.url
    file = Path(url.database or "")
    # Connecting to a missing SQLite file would create it.
    if url.get_backend_name() == "sqlite" and file.parent.is_dir() and not file.exists():
        return False
    return present_revision(database.engine) is not None


def own_hardware_id(configured: str, data_dir: Path) -> str:
    """Return ``configured`` if it is not empty, else 32 hex digits that identify this machine.

    If the system has no ID, as in some containers, one is generated and kept in a file in
    ``data_dir``. Raise OSError if that file is unusable.
    """
    return configured or _hashed_machine_id() or _generated_id(data_dir)


def _hashed_machine_id() -> str:
    # Half of the SHA-256 still tells machines apart, and is half as long to read and to send.
    try:
        return str(machineid.hashed_id(_APPLICATION))[:_HARDWARE_ID_DIGITS]
    except (machineid.MachineIdNotFound, OSError):
        return ""


def _generated_id(data_dir: Path) -> str:
    return write_once(data_dir / _HARDWARE_ID_FILE, _random_id)


def _random_id() -> str:
    return secrets.token_hex(_HARDWARE_ID_DIGITS // 2)
