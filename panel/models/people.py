"""People, the authorisation code, and the tokens of applications."""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    String,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from panel.models.base import NAME_LENGTH, Base


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


class Token(Base):
    """A bearer token of an application on this machine; only its hash is kept."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    made_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


def lock_code(session: Session) -> AuthorisationCode:
    """Return the authorisation code's row; other tries, and changes of people, wait for us."""
    return session.get_one(AuthorisationCode, 1, with_for_update=True, populate_existing=True)
