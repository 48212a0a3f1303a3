"""The tables of this server's settings and of the servers it synchronises with, and their locks.

SQLite admits one writer at a time. On PostgreSQL the row locks make writers wait for each other, so
that what a writer checked still holds when it writes. A transaction that needs several locks takes
them in this order: settings, authorisation code, servers, people.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, false, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.orm.util import identity_key

from panel.errors import NotFound
from panel.i18n import say
from panel.models.base import (
    FINGERPRINT_LENGTH,
    LARGEST_REQUEST,
    LONGEST_INTERVAL_MINUTES,
    NAME_LENGTH,
    PRIMARY_SYNC_ID,
    SMALLEST_REQUEST,
    STORE_LENGTH,
    URL_LENGTH,
    USER_NAME_LENGTH,
    Base,
    key_text,
    partial_index,
    state_column,
)


class SyncProtocol(StrEnum):
    """A protocol of the sync; UNKNOWN until a primary has answered in one of them."""

    UNKNOWN = ""
    # Chosen at the first contact: our own if the primary speaks it, else v5.
    ASK = "ask"
    OWN = "own"
    V5 = "v5"


class Settings(Base):
    """The one row with the preferences of this server."""

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
    # A satellite sends its password, so it is sealed. A primary only checks it, so it is the argon2
    # hash of what a satellite sends: the SHA-256 in lower-case hex digits (mSupply Sync v5).
    password_sealed: Mapped[str | None]
    password_hash: Mapped[str | None]
    password_changed_at: Mapped[datetime | None]
    url: Mapped[str] = mapped_column(String(URL_LENGTH), default="")
    request_size: Mapped[int | None]
    protocol: Mapped[SyncProtocol] = mapped_column(
        state_column(SyncProtocol, 8), default=SyncProtocol.ASK
    )
    # What a satellite trusts besides the public authorities: certificates of an authority as PEM
    # text, or the SHA-256 of the primary's certificate in hex digits.
    private_ca: Mapped[str] = mapped_column(default="")
    fingerprint: Mapped[str] = mapped_column(String(FINGERPRINT_LENGTH), default="")
    # Who is called where somebody elsewhere has to act.
    contact: Mapped[str] = mapped_column(String(NAME_LENGTH), default="", server_default=text("''"))
    # What a satellite goes through on its way to the primary; the environment's proxy if empty.
    proxy: Mapped[str] = mapped_column(String(URL_LENGTH), default="", server_default=text("''"))
    proxy_user: Mapped[str] = mapped_column(
        String(USER_NAME_LENGTH), default="", server_default=text("''")
    )
    proxy_password_sealed: Mapped[str | None]
    parameters_version: Mapped[int] = mapped_column(default=1)
    # Of the key in the address of the status line; None while there is none.
    status_key_hash: Mapped[str | None] = mapped_column(String(64))

    @property
    def is_primary(self) -> bool:
        """Say whether satellites call this server."""
        return self.sync_id == PRIMARY_SYNC_ID

    @property
    def is_satellite(self) -> bool:
        """Say whether this server calls a primary."""
        return self.sync_id is not None and not self.is_primary

    @property
    def has_password(self) -> bool:
        """Say whether a shared password is set, in either form."""
        return self.password_sealed is not None or self.password_hash is not None


class Server(Base):
    """A server to synchronise with: on a primary each satellite, on a satellite the primary.

    A removed row keeps its values, with ``removed_at`` set, so that the removal can be undone.
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
        # The states of the list are counted along this one, and the list is read in its order.
        partial_index(
            "ix_servers_last_success_at", "last_success_at", "sync_id", where="removed_at IS NULL"
        ),
        partial_index("ix_servers_removed", "id", where="removed_at IS NOT NULL"),
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
    # The satellite called with it. Until then the answer that brought it may have been lost.
    has_used_token: Mapped[bool] = mapped_column(default=False, server_default=false())
    version: Mapped[int] = mapped_column(default=1)
    # The idempotency key of the form: sent twice, it adds one row.
    added_key: Mapped[str | None] = mapped_column(String(32), unique=True)
    removed_at: Mapped[datetime | None]
    last_contact_at: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    # The columns that the list sorts by, see searchable(); it searches by ServerWord.
    name_key: Mapped[str] = mapped_column(key_text(NAME_LENGTH), index=True)
    store_key: Mapped[str] = mapped_column(key_text(STORE_LENGTH), index=True)
    user_name_key: Mapped[str] = mapped_column(key_text(USER_NAME_LENGTH), index=True)

    @property
    def label(self) -> str:
        """Return the Sync ID and name, which people know the row by."""
        return f"{self.sync_id} {self.name}"


class ServerWord(Base):
    """What a row of the list is found by: each text of it from each of its words on, folded."""

    __tablename__ = "server_words"
    # The table is its own index: a search reads it alone.
    __table_args__ = (Index("ix_server_words_server_id", "server_id"), {"sqlite_with_rowid": False})

    word: Mapped[str] = mapped_column(key_text(NAME_LENGTH), primary_key=True)
    server_id: Mapped[int] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )


class IssuedSetup(Base):
    """A set-up that this primary issued for a row of its list: one machine may join with it, once.

    Of the secret only the hash is kept. The target is what the satellite was told to call: the next
    set-up offers it again.
    """

    __tablename__ = "setups"

    id: Mapped[int] = mapped_column(primary_key=True)
    server_id: Mapped[int] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    url: Mapped[str] = mapped_column(String(URL_LENGTH))
    fingerprint: Mapped[str] = mapped_column(String(FINGERPRINT_LENGTH), default="")
    private_ca: Mapped[str] = mapped_column(default="")
    made_by: Mapped[str] = mapped_column(String(NAME_LENGTH))
    made_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    # Of the machine that joined with it.
    hardware_id: Mapped[str | None] = mapped_column(String(64))
    revoked_at: Mapped[datetime | None]


def read_settings(session: Session) -> Settings:
    """Return the settings, which one session reads once."""
    # Every page needs them, and get_one() would make its statement anew each time.
    known: Settings | None = session.identity_map.get(_SETTINGS_KEY)
    return known if known is not None else session.scalars(_SETTINGS).one()


_SETTINGS, _SETTINGS_KEY = select(Settings), identity_key(Settings, 1)


def lock_settings(session: Session) -> Settings:
    """Return the current settings, locked until the caller's commit.

    Everybody else who changes settings or servers waits until then.
    """
    return session.get_one(Settings, 1, with_for_update=True, populate_existing=True)


def find_listed(session: Session, sync_id: int) -> Server | None:
    """Return the row of the list that has this Sync ID, None if there is none."""
    query = select(Server).where(Server.sync_id == sync_id, Server.removed_at.is_(None))
    return session.scalar(query)


def lock_server(session: Session, server_id: int) -> Server:
    """Return the current row of the server with this id, locked until the caller's commit.

    Raise :class:`NotFound` if there is none or it was removed.
    """
    server = session.get(Server, server_id, with_for_update=True, populate_existing=True)
    if server is None or server.removed_at is not None:
        raise NotFound(say("This server is not in the list any more."))
    return server
