"""Records of applications, the sequence that counts their changes, and what arrived.

A record lives in one row, its newest version. ``seq`` is this server's own count of changes: it is
given out under the lock of the one :class:`ChangeSequence` row, held until the commit, so that what
a reader sees is always a beginning of the sequence and a cursor never skips (PROTOCOL.md, *Order*).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from panel.models.base import (
    Base,
    BigId,
    partial_index,
)

TABLE_NAME_LENGTH, RECORD_ID_LENGTH = 100, 255


class ChangeSequence(Base):
    """The one row that counts changes on this server."""

    __tablename__ = "clock"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    seq: Mapped[int] = mapped_column(BigInteger, default=0)
    # Tombstones up to here were purged: whoever stopped reading before it must initialise.
    purged_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    # Names this count: it changes when the count starts from another past (initialise), so that an
    # application's cursor of the old one is not taken for one of the new.
    mark: Mapped[str] = mapped_column(String(12), default="")


class Record(Base):
    """The newest version of one record of an application, or its tombstone."""

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint("table_name", "record_id"),
        Index("ix_records_owner_seq", "owner", "seq"),
        partial_index("ix_records_central", "seq", where='owner = 1 AND "to" IS NULL'),
        partial_index("ix_records_addressed", "to", "seq", where='"to" IS NOT NULL'),
        partial_index("ix_records_waiting", "seq", where="waiting"),
        partial_index("ix_records_tombstones", "changed_at", where="deleted"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    table_name: Mapped[str] = mapped_column(String(TABLE_NAME_LENGTH))
    record_id: Mapped[str] = mapped_column(String(RECORD_ID_LENGTH))
    # Sync ID of the one server that may write it, and of the one it is addressed to, if any.
    owner: Mapped[int]
    to: Mapped[int | None]
    # The owner's own count when it wrote this: a lower one never overwrites a higher one.
    version: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger, unique=True)
    deleted: Mapped[bool] = mapped_column(default=False)
    # JSON text of one object, kept as text: it is passed on more often than it is read.
    data: Mapped[str | None]
    # Bytes of ``data`` in UTF-8, so that a batch can be cut to size without reading it.
    size: Mapped[int] = mapped_column(default=0)
    # Written here and not yet known to have reached the primary.
    waiting: Mapped[bool] = mapped_column(default=False)
    changed_at: Mapped[datetime]


class Inbox(Base):
    """What arrived and waits for its pull to be complete, in the order of ``id``."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("stream", "position"),
        Index("ix_inbox_stream_table_name_record_id", "stream", "table_name", "record_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    # "restore", "central" or "addressed".
    stream: Mapped[str] = mapped_column(String(10))
    # The primary's seq of it: the same record arriving twice is one row.
    position: Mapped[int] = mapped_column(BigInteger)
    table_name: Mapped[str] = mapped_column(String(TABLE_NAME_LENGTH))
    record_id: Mapped[str] = mapped_column(String(RECORD_ID_LENGTH))
    owner: Mapped[int]
    to: Mapped[int | None]
    version: Mapped[int] = mapped_column(BigInteger)
    deleted: Mapped[bool]
    data: Mapped[str | None]


class Quarantined(Base):
    """A record that could not be applied, and why. It holds up nothing and is not forgotten."""

    __tablename__ = "set_aside"
    __table_args__ = (
        UniqueConstraint("source", "table_name", "record_id"),
        Index("ix_set_aside_mark", "last_at", "left_out_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    # Sync ID of the server that it came from.
    source: Mapped[int]
    table_name: Mapped[str] = mapped_column(String(TABLE_NAME_LENGTH))
    record_id: Mapped[str] = mapped_column(String(RECORD_ID_LENGTH))
    owner: Mapped[int]
    to: Mapped[int | None]
    version: Mapped[int] = mapped_column(BigInteger)
    deleted: Mapped[bool]
    data: Mapped[str | None]
    # A code of panel.sync.protocol.error_codes and the values its sentence needs.
    reason: Mapped[str] = mapped_column(String(40))
    reason_values: Mapped[dict[str, Any] | None]
    tries: Mapped[int] = mapped_column(default=1)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    left_out_at: Mapped[datetime | None]


Key = tuple[str, str]
