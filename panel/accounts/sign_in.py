"""Sign-in with name and password, and the sessions that it begins.

The sign-in is throttled, and as slow for an unknown name as for a known one. A session is a row, so
that it ends on the server: at sign-out, when nobody used it for a while, and after its longest time
(OWASP ASVS 5.0, 7.3 and 7.4).
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.orm import Session

from panel import clock
from panel.accounts.throttle import (
    Attempt,
    Purpose,
    count_failure,
    remember_source,
    throttle_refusal,
    throttled_until,
)
from panel.activity import log
from panel.activity.log import LABEL_LENGTH, Actor, EventKind
from panel.db import Database
from panel.errors import Invalid, NotFound, Refusal
from panel.i18n import say
from panel.models.base import ADDRESS_LENGTH, NAME_LENGTH, searchable
from panel.models.people import BROWSER_LENGTH, BrowserSession, Person, lock_code
from panel.security.hashes import TypedSecret, hash_secret, hash_token

# Sessions of one person; a further sign-in ends the one that was not used for longest.
MOST_SESSIONS = 20
# "Last seen" is written at most once in this time, so that few reads cause a write.
SEEN_STEP = timedelta(minutes=1)
# OWASP ASVS 5.0, 7.2.3: at least 128 bits.
_KEY_BYTES = 16


def name_key(name: str) -> str:
    """Return the form of ``name`` that is unique: folded in case and cut to its column."""
    return searchable(name)[:NAME_LENGTH]


def find_person(session: Session, name: str) -> Person | None:
    """Return the person of this name, in any case, disabled or not; None if there is none."""
    return session.scalar(select(Person).where(Person.name_key == name_key(name)))


def check_sign_in(
    database: Database, name: str, password: str, address: str, browser: str = ""
) -> Person:
    """Return the person of this name and password, and log the sign-in.

    ``address`` is the browser's, ``browser`` the hash of its own random id. Raise :class:`Invalid`
    (field ``password``), or :class:`Throttled` after too many failures. It commits by itself,
    because a refusal is logged in Activity too.
    """
    name, typed = "".join(filter(str.isprintable, name)), TypedSecret(password)
    with database.reading() as session:
        person = find_person(session, name)
        attempt = Attempt(Purpose.SIGN_IN, _known_as(person, name), address, browser)
        throttled = throttled_until(session, attempt)
    if throttled is None:
        # Compared here, so that nobody waits for the lock meanwhile.
        _is_password(person, typed)
    with database.writing() as session:
        outcome = _sign_in(session, attempt, typed)
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def confirm_password(
    database: Database, actor: Actor, password: str, field: str, browser: str = ""
) -> None:
    """Check the password that ``actor``, a signed-in person, gives for a serious change.

    Somebody without a password, whom a proxy signs in, needs none. Raise :class:`Invalid` (field
    ``field``) or :class:`Throttled`. It commits by itself, as :func:`check_sign_in` does.
    """
    typed = TypedSecret(password)
    attempt = Attempt(Purpose.SIGN_IN, actor.name, actor.address, browser)
    with database.reading() as session:
        person = find_person(session, actor.name)
        if person is not None and person.password_hash is None:
            return
        throttled = throttled_until(session, attempt)
    if throttled is None:
        _is_password(person, typed)
    with database.writing() as session:
        refusal = _confirm(session, attempt, actor, typed, field)
    if refusal is not None:
        raise refusal


def _confirm(
    session: Session, attempt: Attempt, actor: Actor, typed: TypedSecret, field: str
) -> Refusal | None:
    lock_code(session)
    if refusal := throttle_refusal(session, attempt, actor):
        return refusal
    if _is_password(find_person(session, actor.name), typed):
        return None
    count_failure(session, attempt)
    log.add_entry(session, actor, EventKind.WRONG_PASSWORD)
    return Invalid({field: say("This is not your password.")})


def _known_as(person: Person | None, name: str) -> str:
    # The saved name: otherwise "ASHA" would have five more attempts than "asha".
    return person.name if person is not None else name_key(name)


def _sign_in(session: Session, attempt: Attempt, typed: TypedSecret) -> Person | Refusal:
    lock_code(session)
    person = find_person(session, attempt.name)
    person_id = person.id if person is not None else None
    actor = Actor(attempt.name, attempt.address, "web", person_id)
    if refusal := throttle_refusal(session, attempt, actor):
        return refusal
    if not _is_password(person, typed) or person is None or person.disabled_at is not None:
        count_failure(session, attempt)
        log.add_entry(session, actor, EventKind.SIGN_IN_FAILED)
        return Invalid({"password": say("Name and password do not go together.")})
    remember_source(session, attempt)
    log.add_entry(session, actor, EventKind.SIGNED_IN)
    return person


def _is_password(person: Person | None, typed: TypedSecret) -> bool:
    password_hash = person.password_hash if person is not None else None
    # An unknown name is compared too: the time must not reveal which names exist.
    matches = typed.matches(password_hash or _decoy_hash())
    return matches and password_hash is not None


@cache
def _decoy_hash() -> str:
    return hash_secret("nobody's password")


@dataclass(frozen=True)
class SessionLimits:
    """How long a session lasts: unused (``idle``), and in all (``whole``)."""

    idle: timedelta
    whole: timedelta

    def end_of(self, found: BrowserSession) -> datetime:
        """Return when ``found`` ends unless it is used before."""
        return min(found.seen_at + self.idle, found.begun_at + self.whole)


@dataclass(frozen=True)
class Visitor:
    """Where a session begins: the browser's address, its User-Agent, and whether by a proxy."""

    address: str = ""
    user_agent: str = ""
    by_proxy: bool = False


def begin_session(
    session: Session, person: Person, visitor: Visitor, limits: SessionLimits
) -> tuple[str, BrowserSession]:
    """Begin a session of ``person``; return its secret key, this once, and its row."""
    now, key = clock.now(), secrets.token_urlsafe(_KEY_BYTES)
    session.execute(
        delete(BrowserSession).where(
            or_(
                BrowserSession.seen_at <= now - limits.idle,
                BrowserSession.begun_at <= now - limits.whole,
            )
        )
    )
    newest = select(BrowserSession.id).where(BrowserSession.person_id == person.id)
    newest = newest.order_by(BrowserSession.seen_at.desc(), BrowserSession.id.desc())
    too_many = session.scalars(newest.offset(MOST_SESSIONS - 1)).all()
    session.execute(delete(BrowserSession).where(BrowserSession.id.in_(too_many)))
    begun = BrowserSession(
        key_hash=hash_token(key),
        person_id=person.id,
        generation=person.generation,
        by_proxy=visitor.by_proxy,
        begun_at=now,
        seen_at=now,
        address=visitor.address[:ADDRESS_LENGTH],
        browser=browser_name(visitor.user_agent),
    )
    session.add(begun)
    session.flush()
    return key, begun


def find_session(
    session: Session, key: str, limits: SessionLimits
) -> tuple[BrowserSession, Person] | None:
    """Return the session of ``key`` and its person; None if there is none or its time is over.

    :func:`is_session_valid` says whether the person may still use it.
    """
    found = session.execute(_BY_KEY, {"key_hash": hash_token(key)}).first()
    if found is None or clock.now() >= limits.end_of(found[0]):
        return None
    return found[0], found[1]


# Looked up by its hash, so that the time reveals nothing about the key.
_BY_KEY = (
    select(BrowserSession, Person)
    .join(Person, Person.id == BrowserSession.person_id)
    .where(BrowserSession.key_hash == bindparam("key_hash"))
)


def is_session_valid(found: BrowserSession, person: Person) -> bool:
    """Say whether neither a new password nor disabling ended the session of ``person``."""
    return person.disabled_at is None and found.generation == person.generation


def is_seen_outdated(found: BrowserSession) -> bool:
    """Say whether "last seen" is older than :data:`SEEN_STEP`."""
    return abs(clock.now() - found.seen_at) >= SEEN_STEP


def update_seen(session: Session, session_id: int) -> None:
    """Set "last seen" of a session to now, unless it ended meanwhile."""
    seen = update(BrowserSession).where(BrowserSession.id == session_id)
    session.execute(seen.values(seen_at=clock.now()))


def list_sessions(
    session: Session, person: Person, limits: SessionLimits
) -> Sequence[BrowserSession]:
    """Return the sessions of ``person`` that have not ended, the last used first."""
    query = select(BrowserSession).where(
        BrowserSession.person_id == person.id,
        BrowserSession.generation == person.generation,
        BrowserSession.seen_at > clock.now() - limits.idle,
        BrowserSession.begun_at > clock.now() - limits.whole,
    )
    order = BrowserSession.seen_at.desc(), BrowserSession.id.desc()
    return session.scalars(query.order_by(*order)).all()


def end_session(session: Session, actor: Actor, session_id: int) -> None:
    """End a session of ``actor``. Raise :class:`NotFound` if there is none of theirs."""
    found = session.get(BrowserSession, session_id)
    if found is None or found.person_id != actor.person_id:
        raise NotFound(say("This session has ended already."))
    drop_session(session, session_id)
    label = ", ".join(filter(None, (found.browser, found.address)))[:LABEL_LENGTH]
    log.add_entry(session, actor, EventKind.SESSION_ENDED, label=label)


def drop_session(session: Session, session_id: int) -> None:
    """Delete the row of a session: its cookie, and every copy of it, is good for nothing."""
    session.execute(delete(BrowserSession).where(BrowserSession.id == session_id))


# The first that fits: many browsers name others as well.
_BROWSERS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("Chrome", "Chrome"), ("CriOS", "Chrome"),
    ("Safari", "Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
    ("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


def browser_name(user_agent: str) -> str:
    """Return the names of browser and system in ``user_agent``, such as "Firefox, Windows"."""
    found = [
        next((name for sign, name in names if sign in user_agent), "")
        for names in (_BROWSERS, _SYSTEMS)
    ]
    # What is no browser is shown by its first word, which may be anything.
    words = ", ".join(filter(None, found)) or re.sub(r"[^\w./-].*", "", user_agent, flags=re.S)
    return words[:BROWSER_LENGTH]
