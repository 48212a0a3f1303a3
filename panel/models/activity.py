"""Activity: what was done and refused, and by whom."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from panel.models.base import NAME_LENGTH, Base


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
    # What happened, e.g. "interval_changed": see panel.activity.kinds.EventKind.
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
