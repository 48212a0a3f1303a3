"""The tables of sync runs, of the loop that starts them, and of each side's state of the other."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    String,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from panel.models.base import NAME_LENGTH, STORE_LENGTH, Base, BigId, partial_index, state_column
from panel.models.records import GENERATION_LENGTH
from panel.models.settings import SyncProtocol

_GENERATION = String(GENERATION_LENGTH)

# The refusal of a satellite's loop while no secret key opens the stored password.
PASSWORD_UNREADABLE = "password_unreadable"  # noqa: S105 - a code


class RunStep(StrEnum):
    """What a run does at the moment."""

    CONNECTING = "connecting"
    INITIALISING = "initialising"
    PUSHING = "pushing"
    PULLING_CENTRAL = "pulling_central"
    PULLING_ADDRESSED = "pulling_addressed"
    APPLYING = "applying"


class RunResult(StrEnum):
    """How a run ended; RUNNING while it has not."""

    RUNNING = ""
    WELL = "well"
    PAUSED = "paused"
    CUT_OFF = "cut_off"
    FAILED = "failed"
    REFUSED = "refused"


class InitialiseState(StrEnum):
    """The state of a satellite's initialise (PROTOCOL.md, *States of a satellite*)."""

    NEEDED = "needed"
    RUNNING = "running"
    DONE = "done"


class SiteInitialisation(StrEnum):
    """The ``initialisationStatus`` of a site in mSupply Sync v5.

    ``started`` lasts no longer than the call that prepares the queue, so it is never stored.
    """

    NEW = "new"
    COMPLETED = "completed"


class Run(Base):
    """One run of the sync. A primary keeps the runs that moved records or were refused."""

    __tablename__ = "runs"
    __table_args__ = (partial_index("ix_runs_open", "other", where="ended_at IS NULL"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    # Sync ID of the server at the other end.
    other: Mapped[int] = mapped_column(index=True)
    started_at: Mapped[datetime] = mapped_column(index=True)
    # None while the run lasts.
    ended_at: Mapped[datetime | None]
    step: Mapped[RunStep] = mapped_column(state_column(RunStep, 20), default=RunStep.CONNECTING)
    protocol: Mapped[SyncProtocol] = mapped_column(
        state_column(SyncProtocol, 4), default=SyncProtocol.OWN
    )
    # Records so far, and how many are expected in all.
    pushed: Mapped[int] = mapped_column(default=0)
    to_push: Mapped[int] = mapped_column(default=0)
    pulled: Mapped[int] = mapped_column(default=0)
    to_pull: Mapped[int] = mapped_column(default=0)
    # Records that went into quarantine on this side or the other.
    set_aside: Mapped[int] = mapped_column(default=0)
    bytes_up: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_down: Mapped[int] = mapped_column(BigInteger, default=0)
    result: Mapped[RunResult] = mapped_column(
        state_column(RunResult, 10), default=RunResult.RUNNING
    )
    # A code of panel.sync.protocol.error_codes, and the values that its sentence needs.
    reason: Mapped[str] = mapped_column(String(40), default="")
    reason_values: Mapped[dict[str, Any] | None]


class Loop(Base):
    """The one row with the lease and the schedule of the satellite's loop."""

    __tablename__ = "loop"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    # The process that runs now, as host, process id and random text; it renews the lease.
    holder: Mapped[str | None] = mapped_column(String(64))
    held_until: Mapped[datetime | None]
    # When the last run began, and when the next is due after a line fault.
    started_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    # When "Sync now" was pressed; None once a run has begun.
    asked_at: Mapped[datetime | None]
    # Faults in a row without progress between them, for the back-off.
    failures: Mapped[int] = mapped_column(default=0)
    # Since when the primary has answered nothing, once that is long; None while the line moves.
    silent_since: Mapped[datetime | None]
    # When "Stop" was pressed; None once a run has begun.
    stop_asked_at: Mapped[datetime | None]
    # A digest of the preferences that the last run used: after a change the next is due at once.
    settings_digest: Mapped[str] = mapped_column("orders", String(16), default="")
    # The last refusal, until the next run begins: a code of panel.sync.protocol.error_codes and
    # its values.
    refusal: Mapped[str] = mapped_column(String(40), default="")
    refusal_values: Mapped[dict[str, Any] | None]
    refused_at: Mapped[datetime | None]
    purged_at: Mapped[datetime | None]


class Link(Base):
    """The one row with a satellite's state towards its primary."""

    __tablename__ = "link"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    device_token_sealed: Mapped[str | None]
    # The address or the pair changed since: another server may be there, so the token is sent only
    # once that one asks for it.
    token_withheld: Mapped[bool] = mapped_column(default=False, server_default=false())
    # The checkpoint that both sides know, and the one proposed by the exchange under way. A side
    # that was restored from a backup has others (PROTOCOL.md, *Checkpoints*).
    checkpoint: Mapped[str] = mapped_column("point", String(12), default="")
    next_checkpoint: Mapped[str] = mapped_column("next_point", String(12), default="")
    central_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    addressed_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    restore_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    # The generation of the primary to which the cursors belong; "" if the primary never told it.
    generation: Mapped[str] = mapped_column(_GENERATION, default="", server_default=text("''"))
    # The generation of this server that the primary knows; a recovery tells it a newer one.
    own_generation: Mapped[str] = mapped_column(_GENERATION, default="", server_default=text("''"))
    # The first own number that was given out after a past was lost; None if none was lost.
    written_since: Mapped[int | None] = mapped_column(BigInteger, default=0)
    # The number of the primary up to which both sides had the same records when the initialise
    # began; 0 if that is not known.
    central_common: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    addressed_common: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    # The last key in doubt, [table, id], that the primary was asked about.
    doubt_key: Mapped[list[str] | None] = mapped_column(JSON)
    # How many records the initialise under way may remove, as a person agreed.
    removal_consent: Mapped[int] = mapped_column(default=0, server_default="0")
    # The highest ``remote_seq`` of a tombstone that was purged here.
    purged_remote_seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    # A satellite's first sync initialises it.
    initialise: Mapped[InitialiseState] = mapped_column(
        state_column(InitialiseState, 8), default=InitialiseState.NEEDED
    )
    # The protocol in which the primary answered, if the parameters say "ask".
    protocol: Mapped[SyncProtocol] = mapped_column(
        state_column(SyncProtocol, 4), default=SyncProtocol.UNKNOWN
    )
    site_uuid: Mapped[str] = mapped_column(String(64), default="")
    # The highest number of an own record that was sent, noted before it is sent: over v5 a restored
    # satellite has a lower one than its primary got.
    sent_seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    # How slow the line is, as measured; None until it is known (PROTOCOL.md, *When*).
    seconds_per_record_up: Mapped[float | None]
    seconds_per_record_down: Mapped[float | None]
    seconds_per_byte_up: Mapped[float | None]
    # The most bytes that a body may have, after a larger one failed; None if every size passes.
    largest_up: Mapped[int | None]
    largest_down: Mapped[int | None]
    last_attempt_at: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    # How far this server's clock is ahead of the primary's, None if the difference is small; and
    # when the primary was last told.
    clock_seconds: Mapped[int | None]
    clock_told_at: Mapped[datetime | None]


class Peer(Base):
    """A primary's state towards one satellite."""

    __tablename__ = "peers"
    __table_args__ = (
        partial_index("ix_peers_refused", "server_id", "refusal", where="refusal <> ''"),
    )

    server_id: Mapped[int] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    site_uuid: Mapped[str] = mapped_column(String(36), unique=True)
    # The checkpoints of the last exchange and of the one before, since an answer may be lost.
    checkpoint: Mapped[str] = mapped_column("point", String(12), default="")
    checkpoint_before: Mapped[str] = mapped_column("point_before", String(12), default="")
    # The checkpoint from which an initialise may start; "" once it has started.
    checkpoint_begun: Mapped[str] = mapped_column("point_begun", String(12), default="")
    central_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    addressed_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    restore_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    # The highest cursors handed out. A satellite with a higher one got it in a past that this
    # primary lost.
    central_offered: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    addressed_offered: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    # The generation of this primary in which the checkpoint was made.
    generation: Mapped[str] = mapped_column(_GENERATION, default="", server_default=text("''"))
    # The satellite's present generation, and those that it left behind, newest last.
    own_generation: Mapped[str] = mapped_column(_GENERATION, default="", server_default=text("''"))
    superseded: Mapped[list[str] | None] = mapped_column(JSON)
    # Two machines called with one identity: both are refused until a person clears the Hardware ID.
    is_shared: Mapped[bool] = mapped_column(default=False, server_default=false())
    # When the satellite last continued an initialise from the beginning; None if none is under way.
    initialising_at: Mapped[datetime | None]
    # v5: the restore ends at this seq; it is complete when its cursor is there.
    restore_until: Mapped[int] = mapped_column(BigInteger, default=0)
    initialisation: Mapped[SiteInitialisation] = mapped_column(
        state_column(SiteInitialisation, 10), default=SiteInitialisation.NEW
    )
    # v5: the highest cursor from which the site asked for central data since it initialised; and
    # whether it has only said who it is since, and not asked for central data yet.
    asked_cursor: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    meeting: Mapped[bool] = mapped_column(default=False, server_default=false())
    # v5: the highest number of its own that a site with Sync Panel has sent.
    sent_seq: Mapped[int] = mapped_column("told_seq", BigInteger, default=0, server_default="0")
    # v5: this server was restored from a backup and may lack what the site sent since this moment;
    # None if it was not, or if the site has initialised since.
    lacking_since: Mapped[datetime | None]
    # Records that the satellite still has to push, as it said.
    waiting_there: Mapped[int] = mapped_column(default=0)
    # How far its clock is ahead of this server's, as it said; None if the difference is small.
    clock_seconds: Mapped[int | None]
    app_name: Mapped[str] = mapped_column(String(60), default="")
    app_version: Mapped[str] = mapped_column(String(40), default="")
    protocol: Mapped[SyncProtocol] = mapped_column(
        state_column(SyncProtocol, 4), default=SyncProtocol.UNKNOWN
    )
    # The code and values of the refusal that the last call got; "" if it got none.
    refusal: Mapped[str] = mapped_column(String(40), default="")
    refusal_values: Mapped[dict[str, Any] | None]


class Acknowledged(Base):
    """v5: a delivery acknowledged before an earlier one; deleted once the cursor passes it."""

    __tablename__ = "acknowledged"

    server_id: Mapped[int] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class SiteCopy(Base):
    """v5: a record that a site has a copy of, beside its own and what is addressed to it.

    The site is told of the record again once its ``seq`` is higher than ``known_seq``.
    """

    __tablename__ = "site_copies"

    server_id: Mapped[int] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    record_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("records.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    known_seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")


class Applicant(Base):
    """A satellite with the right shared pair and an unknown Sync ID, which waits to be added."""

    __tablename__ = "applicants"

    sync_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    store: Mapped[str] = mapped_column(String(STORE_LENGTH))
    # Another machine under the same Sync ID is another applicant: a person tells them apart.
    hardware_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    address: Mapped[str] = mapped_column(String(64))
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
