"""Signing in with name and password: throttled, and as slow for a name that nobody has."""

from functools import cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.accounts.throttle import is_throttled, throttle_refusal
from panel.activity import log
from panel.activity.kinds import EventKind
from panel.activity.log import Actor
from panel.db import Database
from panel.errors import Invalid, Refusal
from panel.i18n import say
from panel.models.base import NAME_LENGTH, searchable
from panel.models.people import Person, lock_code
from panel.security.hashes import TypedSecret, hash_secret


def name_key(name: str) -> str:
    """Return what tells two people apart: their names, whatever the case."""
    return searchable(name)[:NAME_LENGTH]


def find_person(session: Session, name: str) -> Person | None:
    """Return the person of this name in whatever case, disabled or not."""
    return session.scalar(select(Person).where(Person.name_key == name_key(name)))


def check_sign_in(database: Database, name: str, password: str, address: str) -> Person:
    """Return the person of this name and password, and record that they signed in.

    Raise :class:`Invalid` (``password``) or :class:`Throttled`: five wrong tries in 15 minutes
    under one name or from one address. A refusal leaves its row of Activity too, which is why this
    commits by itself.
    """
    name, typed = "".join(filter(str.isprintable, name)), TypedSecret(password)
    with database.reading() as session:
        person = find_person(session, name)
        actor = _actor(person, name, address)
        closed = is_throttled(session, actor, EventKind.SIGN_IN_FAILED, most_overall=None)
    if not closed:
        # Anybody can have this done, so not while others wait for the lock.
        _is_password(person, typed)
    with database.writing() as session:
        answer = _answer(session, name, typed, address)
    if isinstance(answer, Refusal):
        raise answer
    return answer


def _actor(person: Person | None, name: str, address: str) -> Actor:
    # Under the name as it is known, so that "ASHA" gives no five tries more than "asha".
    known_as = person.name if person is not None else name_key(name)
    return Actor(known_as, address, "web", person.id if person is not None else None)


def _answer(session: Session, name: str, typed: TypedSecret, address: str) -> Person | Refusal:
    lock_code(session)
    person = find_person(session, name)
    actor = _actor(person, name, address)
    # No limit over all here: anybody can reach this form, and could lock everybody out with it.
    if closed := throttle_refusal(session, actor, EventKind.SIGN_IN_FAILED, most_overall=None):
        return closed
    if not _is_password(person, typed) or person is None or person.disabled_at is not None:
        log.add_entry(session, actor, EventKind.SIGN_IN_FAILED)
        return Invalid({"password": say("Name and password do not go together.")})
    log.add_entry(session, actor, EventKind.SIGNED_IN)
    return person


def _is_password(person: Person | None, typed: TypedSecret) -> bool:
    password_hash = person.password_hash if person is not None else None
    # Checked against something in any case: the time it takes tells nobody which names exist.
    matches = typed.matches(password_hash or _decoy_hash())
    return matches and password_hash is not None


@cache
def _decoy_hash() -> str:
    return hash_secret("nobody's password")
