"""The tables of people, of the authorisation code and of applications' tokens."""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    String,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from panel.models.base import NAME_LENGTH, Base


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


class AuthorisationCode(Base):
    """The one row with the argon2 hash of the code that unlocks the page.

    Attempts take its row lock one after the other, so that no two are counted as one.
    """

    __tablename__ = "authorisation_code"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    code_hash: Mapped[str | None]
    generation: Mapped[int] = mapped_column(default=0)


class Token(Base):
    """A bearer token of an application on this machine, stored as its hash alone."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    made_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


def lock_code(session: Session) -> AuthorisationCode:
    """Return the authorisation code's row, locked until the caller's commit.

    Other attempts at the code and changes of people wait for it.
    """
    return session.get_one(AuthorisationCode, 1, with_for_update=True, populate_existing=True)
