"""The tables of records, their change sequence, the inbox and the quarantine.

A record is one row with its newest version. ``seq`` counts the changes on this server. A number is
given out under the lock of the one :class:`ChangeSequence` row, which is held until the commit. So
a reader that sees a number sees all lower ones too, and its cursor skips no change (PROTOCOL.md,
*Order*).
"""

from datetime import datetime
from enum import StrEnum
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
    state_column,
)

# In characters.
TABLE_NAME_LENGTH, RECORD_ID_LENGTH = 100, 255
GENERATION_LENGTH = 12
# The condition of a version that no message carries (HIGHEST_VERSION): word for word as here, or
# the index of such is not used.
BEYOND_VERSIONS = "version > 2251799813685248"


class HistoryReason(StrEnum):
    """Why a generation of the sequence began."""

    # The database was created.
    MADE = "made"
    # The database is older than the witness, a file in the data folder.
    RESTORED = "restored"
    # The database stands in another PostgreSQL cluster, or in another timeline of it.
    TIMELINE = "timeline"
    # Somebody said that a backup was restored.
    BY_HAND = "by_hand"
    # The primary knows numbers of this server that it does not know itself.
    CLONE = "clone"
    # The count was higher than a server can reach by giving out numbers.
    HEALED = "healed"


class ChangeSequence(Base):
    """The one row that counts changes on this server."""

    __tablename__ = "clock"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    seq: Mapped[int] = mapped_column(BigInteger, default=0)
    # Tombstones up to here were purged: a reader whose cursor is lower has to initialise.
    purged_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    # The current generation.
    generation: Mapped[str] = mapped_column("mark", String(GENERATION_LENGTH), default="")


class Generation(Base):
    """A range of the sequence within which no number was given out twice.

    A database that is restored or copied begins another one. A cursor is good within the current
    generation, and up to ``last_seq`` of an earlier one.
    """

    __tablename__ = "history"

    generation: Mapped[str] = mapped_column(String(GENERATION_LENGTH), primary_key=True)
    first_seq: Mapped[int] = mapped_column(BigInteger, unique=True)
    # The last of its numbers that this database has; None for the current generation.
    last_seq: Mapped[int | None] = mapped_column(BigInteger)
    began_at: Mapped[datetime]
    reason: Mapped[HistoryReason] = mapped_column(state_column(HistoryReason, 10))
    # PostgreSQL: where the database stands, and in which timeline.
    cluster: Mapped[str | None] = mapped_column(String(40))
    timeline: Mapped[str | None] = mapped_column(String(8))


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
        partial_index("ix_records_beyond", "id", where=BEYOND_VERSIONS),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    table_name: Mapped[str] = mapped_column(String(TABLE_NAME_LENGTH))
    record_id: Mapped[str] = mapped_column(String(RECORD_ID_LENGTH))
    # Sync ID of the one server that may write it, and of the one it is addressed to, if any. A
    # negative number stands for an earlier server with that Sync ID: its records are archived.
    owner: Mapped[int]
    to: Mapped[int | None]
    # The owner's seq when it wrote this: a lower version never overwrites a higher one.
    version: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger, unique=True)
    deleted: Mapped[bool] = mapped_column(default=False)
    # A JSON object, kept as text because it is passed on more often than it is read.
    data: Mapped[str | None]
    # Bytes of ``data`` in UTF-8, so that a batch is cut to size without loading the data.
    size: Mapped[int] = mapped_column(default=0)
    # Written here and not yet known to have reached the primary.
    waiting: Mapped[bool] = mapped_column(default=False)
    # On a satellite: a count of the primary at which it had this record already; if this record
    # waits to be pushed, the version before it. None if no such count is known.
    remote_seq: Mapped[int | None] = mapped_column(BigInteger)
    changed_at: Mapped[datetime]


class Inbox(Base):
    """A received record that waits for its pull to be complete."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("stream", "position"),
        Index("ix_inbox_stream_table_name_record_id", "stream", "table_name", "record_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    # "restore", "central" or "addressed".
    stream: Mapped[str] = mapped_column(String(10))
    # The primary's seq of the record. It is unique, so a record received twice is one row.
    position: Mapped[int] = mapped_column(BigInteger)
    table_name: Mapped[str] = mapped_column(String(TABLE_NAME_LENGTH))
    record_id: Mapped[str] = mapped_column(String(RECORD_ID_LENGTH))
    owner: Mapped[int]
    to: Mapped[int | None]
    version: Mapped[int] = mapped_column(BigInteger)
    deleted: Mapped[bool]
    data: Mapped[str | None]


class Part(Base):
    """What has arrived of a record that is too large for one message (PROTOCOL.md, *Parts*)."""

    __tablename__ = "parts"

    # Sync ID of the server that sends it; each server sends one at a time.
    source: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    # Of the whole record: the beginning of its SHA-256, which is its name, and its bytes.
    digest: Mapped[str] = mapped_column(String(32))
    size: Mapped[int]
    content: Mapped[bytes]
    last_at: Mapped[datetime]


class Quarantined(Base):
    """A record that could not be applied, with the reason; the pages call it "set aside"."""

    __tablename__ = "set_aside"
    __table_args__ = (
        UniqueConstraint("source", "table_name", "record_id"),
        Index("ix_set_aside_mark", "last_at", "left_out_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    # Sync ID of the server that sent it.
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
    # When a person decided to leave it out: it is not tried again.
    left_out_at: Mapped[datetime | None]


# The name of a record among all records: its table and its id there.
Key = tuple[str, str]
