"""The authorisation code, and the unlock that it gives to one person for some minutes."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from panel import clock
from panel.accounts.throttle import (
    LONGEST_WAIT,
    Attempt,
    Purpose,
    count_failure,
    remember_source,
    throttle_refusal,
    throttled_until,
    wait_words,
)
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.db import Database
from panel.errors import Invalid, NotPermitted, Refusal
from panel.i18n import Message, say
from panel.models.people import AuthorisationCode, Person, lock_code
from panel.preferences.field_checks import Checks
from panel.security.hashes import TypedSecret, hash_secret

# Without letters and digits that look alike. Sixteen of these characters have 79 bits.
_UNAMBIGUOUS = "23456789abcdefghjkmnpqrstuvwxyz"


@dataclass(frozen=True)
class Unlock:
    """The right of one person to change locked parameters.

    It ends at ``expires_at`` (UTC). It ends earlier when a new code is set, which raises the code's
    ``generation``, or when the person locks or is disabled, which raises ``unlock_generation``.
    """

    person_id: int
    expires_at: datetime
    generation: int
    unlock_generation: int


def generate_code() -> str:
    """Return a new random code that is easy to read out: four groups of four, such as "k7mq-…"."""
    groups = ("".join(secrets.choice(_UNAMBIGUOUS) for _ in range(4)) for _ in range(4))
    return "-".join(groups)


def set_code(session: Session, actor: Actor, code: str) -> None:
    """Save ``code``, stripped, as the authorisation code and end every unlock.

    Raise :class:`Invalid` (field ``code``).
    """
    row = lock_code(session)
    code = code.strip()
    checks = Checks()
    checks.new_secret("code", code)
    checks.finish()
    row.code_hash = hash_secret(code)
    row.generation += 1
    log.add_entry(session, actor, EventKind.CODE_SET, subject="code", version=row.generation)


def try_code(database: Database, actor: Actor, code: str, unlock_minutes: int) -> Unlock:
    """Return the unlock of ``actor`` for ``unlock_minutes`` if ``code`` is right.

    Raise :class:`Invalid` (field ``code``), :class:`Throttled` or :class:`NotPermitted`. It commits
    by itself, so that the entry of Activity about a refusal is saved too.
    """
    typed = TypedSecret(code.strip())
    with database.reading() as session:
        code_hash = session.get_one(AuthorisationCode, 1).code_hash
        throttled = throttled_until(session, _attempt(actor))
    if code_hash is not None and throttled is None:
        # It takes long and its result is remembered: compared here, it keeps nobody waiting for the
        # lock.
        typed.matches(code_hash)
    with database.writing() as session:
        outcome = _unlock(session, actor, typed, timedelta(minutes=unlock_minutes))
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def _unlock(
    session: Session, actor: Actor, typed: TypedSecret, duration: timedelta
) -> Unlock | Refusal:
    row = lock_code(session)
    person = None if actor.person_id is None else session.get(Person, actor.person_id)
    if person is None or not _may_unlock(person):
        log.add_entry(session, actor, EventKind.REFUSED_PERMISSION, subject="code")
        return NotPermitted(say("You may not change the parameters."))
    attempt = _attempt(actor)
    if refusal := throttle_refusal(session, attempt, actor):
        return refusal
    if row.code_hash is None:
        log.add_entry(session, actor, EventKind.REFUSED_LOCKED, subject="code")
        return Invalid({"code": say("No authorisation code is set yet.")})
    if not typed.matches(row.code_hash):
        log.add_entry(session, actor, EventKind.WRONG_CODE, subject="code")
        return Invalid({"code": _why_wrong(session, attempt)})
    remember_source(session, attempt)
    log.add_entry(session, actor, EventKind.UNLOCKED, subject="code")
    return Unlock(person.id, clock.now() + duration, row.generation, person.unlock_generation)


def _attempt(actor: Actor) -> Attempt:
    # Counted by person, and not by address alone: the wrong codes of one person block nobody else.
    return Attempt(Purpose.CODE, actor.name, actor.address)


def _why_wrong(session: Session, attempt: Attempt) -> Message:
    """Count a wrong code. Return the refusal, which says how often the person may try again."""
    left = count_failure(session, attempt)
    if left:
        return say(
            "This authorisation code is invalid. Everything stays read-only. "
            "Tries left before a wait: %(left)s.",
            left=left,
        )
    session.flush()
    until = throttled_until(session, attempt) or clock.now() + LONGEST_WAIT
    return say(
        "This authorisation code is invalid. Everything stays read-only. %(wait)s",
        wait=wait_words(until),
    )


def _may_unlock(person: Person) -> bool:
    return person.may_edit and person.disabled_at is None


def is_unlock_valid(session: Session, unlock: Unlock, person: Person, now: datetime) -> bool:
    """Say whether ``unlock`` is still valid for ``person`` at ``now``."""
    if unlock.person_id != person.id or now >= unlock.expires_at or not _may_unlock(person):
        return False
    row = session.get_one(AuthorisationCode, 1)
    present = (row.generation, person.unlock_generation)
    return (unlock.generation, unlock.unlock_generation) == present


def end_unlocks(session: Session, actor: Actor, person_id: int) -> None:
    """End every unlock of the person ``person_id`` at once, in all browsers.

    ``person_id`` is the id of an existing row.
    """
    person = session.get_one(Person, person_id, with_for_update=True, populate_existing=True)
    person.unlock_generation += 1
    log.add_entry(session, actor, EventKind.LOCKED_NOW, subject="code")
