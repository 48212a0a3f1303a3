"""The tables of people, their sessions and secrets, failed attempts, and the log of their acts."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Float, Index, String, false
from sqlalchemy.orm import Mapped, Session, mapped_column

from panel.models.base import ADDRESS_LENGTH, NAME_LENGTH, Base

BROWSER_LENGTH = 40


class Person(Base):
    """A person who may sign in, with their permissions."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    name_key: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    # None for a person who signs in through the reverse proxy only.
    password_hash: Mapped[str | None]
    may_view: Mapped[bool] = mapped_column(default=True)
    may_edit: Mapped[bool] = mapped_column(default=False)
    may_manage: Mapped[bool] = mapped_column(default=False)
    disabled_at: Mapped[datetime | None]
    # Raised when the password changes or the person is disabled: sessions of before end.
    generation: Mapped[int] = mapped_column(default=1)
    # Raised by "Lock now": unlocks of this person of before end.
    unlock_generation: Mapped[int] = mapped_column(default=1)
    language: Mapped[str | None] = mapped_column(String(8))
    version: Mapped[int] = mapped_column(default=1)


class BrowserSession(Base):
    """The session of a person in one browser, from sign-in to sign-out.

    The cookie holds a random id, and the row its hash: who reads the database cannot sign in.
    """

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    person_id: Mapped[int] = mapped_column(index=True)
    # That of the person when it began: a higher one there has ended it.
    generation: Mapped[int]
    # Begun by a reverse proxy, and valid only while that names the person.
    by_proxy: Mapped[bool]
    begun_at: Mapped[datetime]
    # Of the last request of a person, to the minute.
    seen_at: Mapped[datetime]
    address: Mapped[str] = mapped_column(String(ADDRESS_LENGTH))
    # Such as "Firefox, Windows"; empty where the browser does not say.
    browser: Mapped[str] = mapped_column(String(BROWSER_LENGTH))


class AuthorisationCode(Base):
    """The one row with the argon2 hash of the code that unlocks the page.

    Attempts take its row lock one after the other, so that no two are counted as one.
    """

    __tablename__ = "authorisation_code"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    code_hash: Mapped[str | None]
    generation: Mapped[int] = mapped_column(default=0)


class FailureCount(Base):
    """How many failed attempts at a secret count against a name, an address or both.

    ``purpose`` and ``scope`` are those of panel.accounts.throttle. ``level`` is the count at
    ``last_at``; it falls with the time since.
    """

    __tablename__ = "failure_counts"

    purpose: Mapped[str] = mapped_column(String(8), primary_key=True)
    scope: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    source: Mapped[str] = mapped_column(String(ADDRESS_LENGTH), primary_key=True)
    level: Mapped[float] = mapped_column(Float)
    last_at: Mapped[datetime] = mapped_column(index=True)


class KnownSource(Base):
    """An address or a browser from which a name proved itself before."""

    __tablename__ = "known_sources"

    purpose: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    # An address (IPv6: its /64), or the hash of the random id of a browser.
    source: Mapped[str] = mapped_column(String(ADDRESS_LENGTH), primary_key=True)
    last_at: Mapped[datetime] = mapped_column(index=True)


class Token(Base):
    """A bearer token of an application on this machine, stored as its hash alone."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    made_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    may_sync: Mapped[bool] = mapped_column(default=False, server_default=false())


def lock_code(session: Session) -> AuthorisationCode:
    """Return the authorisation code's row, locked until the caller's commit.

    Other attempts at the code and changes of people wait for it.
    """
    return session.get_one(AuthorisationCode, 1, with_for_update=True, populate_existing=True)


class Activity(Base):
    """One act or refusal, or several of a kind.

    Triggers refuse every change but that of ``count`` and ``last_at``, and every removal that no
    later row speaks of (panel.activity.log.remove_old).
    """

    __tablename__ = "activity"
    __table_args__ = (
        # One for each filter of the page, in the order of its rows.
        Index("ix_activity_at_id", "at", "id"),
        Index("ix_activity_what_at_id", "what", "at", "id"),
        Index("ix_activity_person_at_id", "person", "at", "id"),
        Index("ix_activity_person_what_at_id", "person", "what", "at", "id"),
        Index("ix_activity_subject_subject_id_version", "subject", "subject_id", "version"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    # How often, and when for the last time; None where it was once.
    count: Mapped[int] = mapped_column(default=1, server_default="1")
    last_at: Mapped[datetime | None]
    person: Mapped[str] = mapped_column(String(NAME_LENGTH))
    address: Mapped[str] = mapped_column(String(64))
    # "web", "shell", "proxy", "api" or "sync".
    via: Mapped[str] = mapped_column(String(8))
    # A panel.activity.log.EventKind, e.g. "interval_changed".
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
