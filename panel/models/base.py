"""The tables of the preferences: settings, servers, people, the authorisation code, activity.

What the sync service writes is in :mod:`panel.models.sync`; both share :class:`Base`.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Index, MetaData, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from panel.db import UtcDateTime

PRIMARY_SYNC_ID = 1
HIGHEST_SYNC_ID = 2_147_483_647
LONGEST_INTERVAL_MINUTES = 10_080
SMALLEST_REQUEST, LARGEST_REQUEST = 10, 5_000

NAME_LENGTH, STORE_LENGTH, USER_NAME_LENGTH, URL_LENGTH = 80, 40, 80, 500


class Base(DeclarativeBase):
    """What all tables share: constraint names that migrations can rely on, and moments in UTC."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON}  # noqa: RUF012


def searchable(value: str) -> str:
    """Return ``value`` as the list compares it: case and surrounding space do not count."""
    return value.strip().casefold()


def _key_text(length: int) -> TypeEngine[str]:
    # Compared by code points on every database: only so is "begins with" one range of an index.
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class Settings(Base):
    """The one row that says how this server synchronises."""

    __tablename__ = "settings"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        CheckConstraint(
            f"interval_minutes BETWEEN 0 AND {LONGEST_INTERVAL_MINUTES}", name="interval"
        ),
        CheckConstraint("sync_id >= 1", name="sync_id"),
        CheckConstraint(
            f"request_size BETWEEN {SMALLEST_REQUEST} AND {LARGEST_REQUEST}", name="request_size"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    interval_minutes: Mapped[int] = mapped_column(default=10)
    interval_version: Mapped[int] = mapped_column(default=1)
    sync_id: Mapped[int | None]
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), default="")
    store: Mapped[str] = mapped_column(String(STORE_LENGTH), default="")
    user_name: Mapped[str] = mapped_column(String(USER_NAME_LENGTH), default="")
    # A satellite must send its password, so it is sealed; a primary only checks it: argon2 of
    # the lower-case hex SHA-256 that travels on the wire (mSupply Sync v5).
    password_sealed: Mapped[str | None]
    password_hash: Mapped[str | None]
    password_changed_at: Mapped[datetime | None]
    url: Mapped[str] = mapped_column(String(URL_LENGTH), default="")
    request_size: Mapped[int | None]
    # Which protocol a satellite speaks: "ask", "own" or "v5".
    protocol: Mapped[str] = mapped_column(String(8), default="ask")
    # Whom a satellite believes besides the well-known authorities: PEM text, SHA-256 fingerprint.
    private_ca: Mapped[str] = mapped_column(default="")
    fingerprint: Mapped[str] = mapped_column(String(64), default="")
    parameters_version: Mapped[int] = mapped_column(default=1)

    @property
    def is_primary(self) -> bool:
        """Say whether satellites come to this server."""
        return self.sync_id == PRIMARY_SYNC_ID

    @property
    def is_satellite(self) -> bool:
        """Say whether this server goes to a primary."""
        return self.sync_id is not None and not self.is_primary

    @property
    def has_password(self) -> bool:
        """Say whether a shared password is set, in either form."""
        return self.password_sealed is not None or self.password_hash is not None


class Server(Base):
    """A server to synchronise with: on a primary each satellite, on a satellite the primary alone.

    A removed row stays for a while with ``removed_at`` set, so that the removal can be undone.
    """

    __tablename__ = "servers"
    __table_args__ = (
        CheckConstraint("sync_id >= 1", name="sync_id"),
        Index(
            "uq_servers_sync_id_here",
            "sync_id",
            unique=True,
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sync_id: Mapped[int]
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    store: Mapped[str] = mapped_column(String(STORE_LENGTH))
    # Empty on a satellite, whose settings hold the one URL; on a primary any text disables sync.
    url: Mapped[str] = mapped_column(String(URL_LENGTH), default="", index=True)
    user_name: Mapped[str] = mapped_column(String(USER_NAME_LENGTH), default="")
    password_hash: Mapped[str | None]
    password_changed_at: Mapped[datetime | None]
    hardware_id: Mapped[str | None] = mapped_column(String(64), index=True)
    device_token_hash: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(default=1)
    # The form's own key: a second send of the same form finds the row that the first one made.
    added_key: Mapped[str | None] = mapped_column(String(32), unique=True)
    removed_at: Mapped[datetime | None]
    last_contact_at: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None] = mapped_column(index=True)
    # What the list sorts and finds by (see searchable).
    name_key: Mapped[str] = mapped_column(_key_text(NAME_LENGTH), index=True)
    store_key: Mapped[str] = mapped_column(_key_text(STORE_LENGTH), index=True)
    user_name_key: Mapped[str] = mapped_column(_key_text(USER_NAME_LENGTH), index=True)


class Person(Base):
    """Somebody who may sign in, and what for."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    name_key: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    # None: signs in through the reverse proxy only.
    password_hash: Mapped[str | None]
    may_view: Mapped[bool] = mapped_column(default=True)
    may_edit: Mapped[bool] = mapped_column(default=False)
    may_manage: Mapped[bool] = mapped_column(default=False)
    disabled_at: Mapped[datetime | None]
    # Goes up when the password changes or the person is disabled: older sessions end.
    generation: Mapped[int] = mapped_column(default=1)
    # Goes up with "Lock now": every unlock of this person that was given before ends.
    unlock_generation: Mapped[int] = mapped_column(default=1)
    language: Mapped[str | None] = mapped_column(String(8))
    version: Mapped[int] = mapped_column(default=1)


class AuthorisationCode(Base):
    """The one row with the code that opens the lock, as an argon2 hash.

    Its row lock also puts tries of the code in a queue, so that no two are counted as one.
    """

    __tablename__ = "authorisation_code"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    code_hash: Mapped[str | None]
    generation: Mapped[int] = mapped_column(default=0)


class Activity(Base):
    """Something that was done or refused. Rows are added only: a trigger refuses the rest."""

    __tablename__ = "activity"
    __table_args__ = (
        Index("ix_activity_what_at", "what", "at"),
        Index("ix_activity_subject_subject_id_version", "subject", "subject_id", "version"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    person: Mapped[str] = mapped_column(String(NAME_LENGTH), index=True)
    address: Mapped[str] = mapped_column(String(64))
    # "web", "shell", "proxy" or "sync".
    via: Mapped[str] = mapped_column(String(8))
    # What happened, e.g. "interval_changed": see panel.activity.log.What.
    what: Mapped[str] = mapped_column(String(40))
    # What it happened to: a kind ("interval", "parameters", "server", "person", "code"), the id of
    # its row where there are many, and what people call it ("7 Kadavu Health Centre").
    subject: Mapped[str] = mapped_column(String(20), default="")
    subject_id: Mapped[int | None]
    label: Mapped[str] = mapped_column(String(120), default="")
    # The subject's version after the change, to tell a second editor what the first one did.
    version: Mapped[int | None]
    was: Mapped[dict[str, Any] | None]
    became: Mapped[dict[str, Any] | None]
