"""Sign-in with name and password: throttled, and as slow for an unknown name as for a known one."""

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
    """Return the form of ``name`` that is unique: folded in case and cut to its column."""
    return searchable(name)[:NAME_LENGTH]


def find_person(session: Session, name: str) -> Person | None:
    """Return the person of this name, in any case, disabled or not; None if there is none."""
    return session.scalar(select(Person).where(Person.name_key == name_key(name)))


def check_sign_in(database: Database, name: str, password: str, address: str) -> Person:
    """Return the person of this name and password, and log the sign-in.

    ``address`` is the browser's. Raise :class:`Invalid` (field ``password``), or
    :class:`Throttled` after five failures in 15 minutes for one name or from one address (OWASP
    ASVS 5.0, 6.3.1). It commits by itself, because a refusal is logged in Activity too.
    """
    name, typed = "".join(filter(str.isprintable, name)), TypedSecret(password)
    with database.reading() as session:
        person = find_person(session, name)
        actor = _actor(person, name, address)
        throttled = is_throttled(session, actor, EventKind.SIGN_IN_FAILED, most_overall=None)
    if not throttled:
        # Compared here, so that nobody waits for the lock meanwhile.
        _is_password(person, typed)
    with database.writing() as session:
        outcome = _sign_in(session, name, typed, address)
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def _actor(person: Person | None, name: str, address: str) -> Actor:
    # The saved name: otherwise "ASHA" would have five more attempts than "asha".
    known_as = person.name if person is not None else name_key(name)
    return Actor(known_as, address, "web", person.id if person is not None else None)


def _sign_in(session: Session, name: str, typed: TypedSecret, address: str) -> Person | Refusal:
    lock_code(session)
    person = find_person(session, name)
    actor = _actor(person, name, address)
    # No overall limit: anybody can reach this form, and could lock everybody out with it.
    if refusal := throttle_refusal(session, actor, EventKind.SIGN_IN_FAILED, most_overall=None):
        return refusal
    if not _is_password(person, typed) or person is None or person.disabled_at is not None:
        log.add_entry(session, actor, EventKind.SIGN_IN_FAILED)
        return Invalid({"password": say("Name and password do not go together.")})
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
