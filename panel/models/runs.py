"""Runs of the sync, the loop that starts them, and what each side remembers of the other."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from panel.models.base import NAME_LENGTH, STORE_LENGTH, Base, BigId, partial_index, state_column
from panel.models.settings import SyncProtocol


class RunStep(StrEnum):
    """What a run is at."""

    CONNECTING = "connecting"
    INITIALISING = "initialising"
    PUSHING = "pushing"
    PULLING_CENTRAL = "pulling_central"
    PULLING_ADDRESSED = "pulling_addressed"
    APPLYING = "applying"


class RunResult(StrEnum):
    """How a run ended."""

    # It has not.
    RUNNING = ""
    WELL = "well"
    PAUSED = "paused"
    CUT_OFF = "cut_off"
    FAILED = "failed"
    REFUSED = "refused"


class InitialiseState(StrEnum):
    """How far a satellite's initialise is: needed and not begun, running, or done."""

    NEEDED = "needed"
    RUNNING = "running"
    DONE = "done"


class SiteInitialisation(StrEnum):
    """How far the initialise of a v5 site is, as ``initialisationStatus`` tells it."""

    NEW = "new"
    STARTED = "started"
    COMPLETED = "completed"


class Run(Base):
    """One run of the sync; a primary keeps those that moved something or changed the result."""

    __tablename__ = "runs"
    __table_args__ = (partial_index("ix_runs_open", "other", where="ended_at IS NULL"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    # Sync ID of the server at the other end.
    other: Mapped[int] = mapped_column(index=True)
    started_at: Mapped[datetime] = mapped_column(index=True)
    # None while it lasts.
    ended_at: Mapped[datetime | None]
    step: Mapped[RunStep] = mapped_column(state_column(RunStep, 20), default=RunStep.CONNECTING)
    protocol: Mapped[SyncProtocol] = mapped_column(
        state_column(SyncProtocol, 4), default=SyncProtocol.OWN
    )
    pushed: Mapped[int] = mapped_column(default=0)
    to_push: Mapped[int] = mapped_column(default=0)
    pulled: Mapped[int] = mapped_column(default=0)
    to_pull: Mapped[int] = mapped_column(default=0)
    set_aside: Mapped[int] = mapped_column(default=0)
    bytes_up: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_down: Mapped[int] = mapped_column(BigInteger, default=0)
    result: Mapped[RunResult] = mapped_column(
        state_column(RunResult, 10), default=RunResult.RUNNING
    )
    # A code of panel.sync.protocol.error_codes and the values its sentence needs.
    reason: Mapped[str] = mapped_column(String(40), default="")
    reason_values: Mapped[dict[str, Any] | None]


class Loop(Base):
    """The one row that keeps the satellite's loop single, and when it is due."""

    __tablename__ = "loop"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    # Who runs now: host, process and a random word; it has to renew the lease while it does.
    holder: Mapped[str | None] = mapped_column(String(64))
    held_until: Mapped[datetime | None]
    # When the last run began, and after a fault of the line when it is tried again.
    started_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    # "Sync now" was pressed and no run has begun since.
    asked_at: Mapped[datetime | None]
    # Faults in a row, for the back-off.
    failures: Mapped[int] = mapped_column(default=0)
    # A digest of the preferences that the last run obeyed: others are tried at once.
    settings_digest: Mapped[str] = mapped_column("orders", String(16), default="")
    # The last refusal, until the next run begins: a code of
    # panel.sync.protocol.error_codes and its values.
    refusal: Mapped[str] = mapped_column(String(40), default="")
    refusal_values: Mapped[dict[str, Any] | None]
    refused_at: Mapped[datetime | None]
    purged_at: Mapped[datetime | None]


class Link(Base):
    """The one row of what a satellite remembers of its primary."""

    __tablename__ = "link"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    device_token_sealed: Mapped[str | None]
    # The mark of the last exchange that both sides know, and the one proposed for the exchange
    # under way: a side restored from a backup does not have them (PROTOCOL.md, *Checkpoints*).
    checkpoint: Mapped[str] = mapped_column("point", String(12), default="")
    next_checkpoint: Mapped[str] = mapped_column("next_point", String(12), default="")
    central_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    addressed_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    restore_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    # A satellite's first sync initialises it.
    initialise: Mapped[InitialiseState] = mapped_column(
        state_column(InitialiseState, 8), default=InitialiseState.NEEDED
    )
    # Which protocol answered last, where the parameters leave it open.
    protocol: Mapped[SyncProtocol] = mapped_column(
        state_column(SyncProtocol, 4), default=SyncProtocol.UNKNOWN
    )
    site_uuid: Mapped[str] = mapped_column(String(64), default="")
    seconds_per_record_up: Mapped[float | None]
    seconds_per_record_down: Mapped[float | None]
    last_attempt_at: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]


class Peer(Base):
    """What a primary remembers of one satellite's exchanges."""

    __tablename__ = "peers"
    __table_args__ = (
        partial_index("ix_peers_refused", "server_id", "refusal", where="refusal <> ''"),
    )

    server_id: Mapped[int] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    site_uuid: Mapped[str] = mapped_column(String(36), unique=True)
    # The marks of the last exchange and the one before: an answer may have been lost.
    checkpoint: Mapped[str] = mapped_column("point", String(12), default="")
    checkpoint_before: Mapped[str] = mapped_column("point_before", String(12), default="")
    # The mark that an initialise may start from, until it does.
    checkpoint_begun: Mapped[str] = mapped_column("point_begun", String(12), default="")
    central_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    addressed_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    restore_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    # v5: the restore ends at this seq.
    restore_until: Mapped[int] = mapped_column(BigInteger, default=0)
    initialisation: Mapped[SiteInitialisation] = mapped_column(
        state_column(SiteInitialisation, 10), default=SiteInitialisation.NEW
    )
    waiting_there: Mapped[int] = mapped_column(default=0)
    app_name: Mapped[str] = mapped_column(String(60), default="")
    app_version: Mapped[str] = mapped_column(String(40), default="")
    protocol: Mapped[SyncProtocol] = mapped_column(
        state_column(SyncProtocol, 4), default=SyncProtocol.UNKNOWN
    )
    # The last answer: "" for well, or the code and values of the refusal.
    refusal: Mapped[str] = mapped_column(String(40), default="")
    refusal_values: Mapped[dict[str, Any] | None]


class Acknowledged(Base):
    """v5: a delivery acknowledged ahead of an earlier one; gone when the cursor passes it."""

    __tablename__ = "acknowledged"

    server_id: Mapped[int] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class Applicant(Base):
    """A caller with the right shared pair whose Sync ID no row has: waiting to be added."""

    __tablename__ = "applicants"

    sync_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    store: Mapped[str] = mapped_column(String(STORE_LENGTH))
    hardware_id: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
