"""Secrets of programs, shown once and stored as a hash.

Bearer tokens (RFC 6750) of applications for the API, and the key in the address of the status line.
"""

import secrets
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import Invalid, NotFound
from panel.i18n import say
from panel.models.base import NAME_LENGTH
from panel.models.people import Token
from panel.models.settings import lock_settings, read_settings
from panel.security.hashes import equal_in_constant_time, hash_token

# A known prefix lets secret scanners find a leaked token.
PREFIX = "sync_"
# "Last used" is updated at most once in this time, so that few reads cause a write.
LAST_USED_STEP = timedelta(hours=1)
# Of the key of the status line: nobody guesses so many.
_STATUS_KEY_BYTES = 24


def add_token(session: Session, actor: Actor, name: str, *, may_sync: bool = False) -> str:
    """Add a token for the application called ``name`` and return its secret, this once.

    With ``may_sync`` it may let a sync begin, beside reading and writing records. The name of a
    revoked token may be used again. Raise :class:`Invalid` (field ``name``).
    """
    name = _checked_name(name)
    token = session.scalar(select(Token).where(Token.name == name).with_for_update())
    if token is not None and token.revoked_at is None:
        raise Invalid({"name": say("There is a token of this name. Revoke it first.")})
    if token is None:
        token = Token(name=name)
        session.add(token)
    secret = PREFIX + secrets.token_urlsafe(32)
    token.token_hash, token.may_sync = hash_token(secret), may_sync
    token.made_at, token.last_used_at, token.revoked_at = clock.now(), None, None
    session.flush()
    _log(session, actor, EventKind.TOKEN_ADDED, token)
    return secret


def list_tokens(session: Session) -> list[Token]:
    """Return all tokens by name, revoked ones too."""
    return list(session.scalars(select(Token).order_by(Token.name)))


def revoke_token(session: Session, actor: Actor, name: str) -> Token:
    """Revoke the token called ``name`` and return it. Raise :class:`NotFound` if there is none."""
    token = session.scalar(
        select(Token).where(Token.name == name.strip(), Token.revoked_at.is_(None))
    )
    if token is None:
        raise NotFound(say("There is no token of this name in use."))
    token.revoked_at = clock.now()
    _log(session, actor, EventKind.TOKEN_REVOKED, token)
    return token


def read_bearer(authorization: str) -> str:
    """Return the token in an ``Authorization`` header (RFC 6750, 2.1); "" if it has none."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def find_token(session: Session, secret: str) -> Token | None:
    """Return the token with this ``secret``; None if it is unknown or revoked."""
    # Looked up by its hash, so that the time reveals nothing about the token's 256 bits.
    return session.scalar(
        select(Token).where(Token.token_hash == hash_token(secret), Token.revoked_at.is_(None))
    )


def last_used_is_outdated(token: Token, moment: datetime) -> bool:
    """Say whether ``last_used_at`` is older than :data:`LAST_USED_STEP` at ``moment``."""
    return token.last_used_at is None or moment - token.last_used_at >= LAST_USED_STEP


def update_last_used(session: Session, token_id: int, moment: datetime) -> None:
    """Set ``last_used_at`` of a token, unless it was revoked since it was found."""
    session.execute(
        update(Token)
        .where(Token.id == token_id, Token.revoked_at.is_(None))
        .values(last_used_at=moment)
    )


def make_status_key(session: Session, actor: Actor) -> str:
    """Return a new key for the address of the status line, this once; an older one ends."""
    key = secrets.token_urlsafe(_STATUS_KEY_BYTES)
    lock_settings(session).status_key_hash = hash_token(key)
    log.add_entry(session, actor, EventKind.STATUS_ADDRESS_MADE)
    return key


def revoke_status_key(session: Session, actor: Actor) -> None:
    """End the address of the status line. Raise :class:`NotFound` if there is none."""
    settings = lock_settings(session)
    if settings.status_key_hash is None:
        raise NotFound(say("The status line has no address."))
    settings.status_key_hash = None
    log.add_entry(session, actor, EventKind.STATUS_ADDRESS_REVOKED)


def opens_status(session: Session, key: str) -> bool:
    """Say whether ``key`` is that of the status line."""
    expected = read_settings(session).status_key_hash
    return expected is not None and equal_in_constant_time(hash_token(key), expected)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        problem = say(
            "Give the application a name of at most %(length)s letters.", length=NAME_LENGTH
        )
        raise Invalid({"name": problem})
    return name


def _log(session: Session, actor: Actor, what: EventKind, token: Token) -> None:
    log.add_entry(session, actor, what, subject="token", subject_id=token.id, label=token.name)
