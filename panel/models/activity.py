"""The table of Activity: every act and refusal, and who did it."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from panel.models.base import NAME_LENGTH, Base


class Activity(Base):
    """One act or refusal. Rows are only added: a trigger refuses updates and deletes."""

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
    # A panel.activity.kinds.EventKind, e.g. "interval_changed".
    what: Mapped[str] = mapped_column(String(40))
    # The object of the act: its kind ("interval", "parameters", "server", "person", "code"), the
    # id of its row where there are many, and its name for people ("7 Kadavu Health Centre").
    subject: Mapped[str] = mapped_column(String(20), default="")
    subject_id: Mapped[int | None]
    label: Mapped[str] = mapped_column(String(120), default="")
    # The subject's version after the change: a second editor is shown what the first one did.
    version: Mapped[int | None]
    was: Mapped[dict[str, Any] | None]
    became: Mapped[dict[str, Any] | None]
