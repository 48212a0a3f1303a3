"""The people who may sign in, and their permissions.

Two names that differ only in upper and lower case are the same name.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import clock
from panel.accounts.authorisation_code import set_code
from panel.accounts.sign_in import find_person, name_key
from panel.accounts.throttle import forgive
from panel.activity import log
from panel.activity.log import SECRET, Actor, EventKind, refuse_stale
from panel.errors import NotFound, Refusal
from panel.i18n import say
from panel.models.base import NAME_LENGTH
from panel.models.people import Person, lock_code
from panel.preferences.field_checks import Checks
from panel.security.hashes import hash_secret, verify_secret


class Permission(StrEnum):
    """A permission of a person. EDIT and MANAGE include VIEW."""

    VIEW = "view"
    EDIT = "edit"
    MANAGE = "manage"


def permissions(person: Person) -> frozenset[Permission]:
    """Return the permissions of ``person``."""
    granted = granted_to(person)
    return frozenset(permission for permission in Permission if granted[permission])


def granted_to(person: Person) -> dict[str, bool]:
    """Map every permission to whether ``person`` has it."""
    return {
        Permission.VIEW: person.may_view,
        Permission.EDIT: person.may_edit,
        Permission.MANAGE: person.may_manage,
    }


def permit(person: Person, permitted: Collection[Permission]) -> None:
    """Set the permissions of ``person`` to ``permitted``, and VIEW with any of them."""
    person.may_view = bool(permitted)
    person.may_edit = Permission.EDIT in permitted
    person.may_manage = Permission.MANAGE in permitted


def add_person(
    session: Session,
    actor: Actor,
    name: str,
    password: str | None,
    permitted: Collection[Permission] = (Permission.VIEW,),
) -> Person:
    """Add a person and return them. Without a password only a trusted proxy can sign them in.

    If a form is sent twice, the second time returns the person that the first time added. Raise
    :class:`Invalid` (fields ``name``, ``password``).
    """
    lock_code(session)
    checks = Checks()
    name = _check_name(session, checks, name)
    if added := _find_duplicate(session, name, password, permitted):
        return added
    if password is not None:
        checks.new_secret("password", password, name)
    checks.finish()
    person = Person(name=name, name_key=name_key(name), version=0)
    person.password_hash = None if password is None else hash_secret(password)
    permit(person, permitted)
    session.add(person)
    _log_change(session, actor, EventKind.PERSON_ADDED, person, became=granted_to(person))
    return person


def set_up(session: Session, actor: Actor, name: str, password: str, code: str) -> Person:
    """Add the first person, with every permission, and set the authorisation code.

    Raise :class:`Invalid` (fields ``name``, ``password``, ``code``), or :class:`Refusal` if there
    is a person already.
    """
    lock_code(session)
    if first_person_exists(session):
        raise Refusal(say("This panel is set up already. Sign in."))
    checks = Checks()
    _check_name(session, checks, name)
    checks.new_secret("password", password, name)
    checks.new_secret("code", code.strip(), name)
    checks.finish()
    person = add_person(session, actor, name, password, tuple(Permission))
    set_code(session, actor, code)
    return person


def set_password(session: Session, actor: Actor, person_id: int, password: str) -> Person:
    """Set the password of a person, end their sessions and return them.

    Raise :class:`Invalid` (field ``password``) or :class:`NotFound`.
    """
    lock_code(session)
    person = _lock_person(session, person_id)
    checks = Checks()
    checks.new_secret("password", password, person.name)
    checks.finish()
    person.password_hash = hash_secret(password)
    person.generation += 1
    secret = {"password": SECRET}
    _log_change(session, actor, EventKind.PASSWORD_SET, person, secret, secret)
    return person


def set_permissions(
    session: Session,
    actor: Actor,
    person_id: int,
    permitted: Collection[Permission],
    version: int | None = None,
) -> Person:
    """Set the permissions of a person to ``permitted``, VIEW with any of them, and return them.

    ``version`` is the person's version that the form shows; with None every version is overwritten.
    Raise :class:`Conflict`, :class:`NotFound`, or :class:`Refusal` if nobody would be left who
    manages people.
    """
    lock_code(session)
    person = _lock_person(session, person_id)
    was = granted_to(person)
    if version is not None and version != person.version:
        refuse_stale(session, "person", person.id, version, person.version)
    if Permission.MANAGE not in permitted and person.disabled_at is None:
        _check_manager_left(session, person)
    permit(person, permitted)
    if (became := granted_to(person)) != was:
        _log_change(session, actor, EventKind.PERSON_CHANGED, person, was, became)
    return person


def disable(session: Session, actor: Actor, person_id: int) -> Person:
    """Disable a person, end their sessions and unlocks at once, and return them.

    Raise :class:`NotFound`, or :class:`Refusal` if nobody would be left who manages people.
    """
    lock_code(session)
    person = _lock_person(session, person_id)
    if person.disabled_at is None:
        _check_manager_left(session, person)
        person.disabled_at = clock.now()
        person.generation += 1
        person.unlock_generation += 1
        _log_change(session, actor, EventKind.PERSON_DISABLED, person)
    return person


def enable(session: Session, actor: Actor, person_id: int) -> Person:
    """Enable a person again, with the same password and permissions, and return them.

    Raise :class:`NotFound`.
    """
    lock_code(session)
    person = _lock_person(session, person_id)
    if person.disabled_at is not None:
        person.disabled_at = None
        _log_change(session, actor, EventKind.PERSON_ENABLED, person)
    return person


def choose_language(session: Session, person_id: int, language: str) -> None:
    """Save the language of the panel for a person, a code such as ``pt``. Raise :class:`NotFound`.

    This concerns nobody else, so it is not logged, and the person's version stays: open forms about
    the person can still be saved.
    """
    _lock_person(session, person_id).language = language


def forgive_tries(session: Session, actor: Actor, name: str) -> Person:
    """Let the person ``name`` try again at once, however often they failed, and return them.

    Raise :class:`NotFound`.
    """
    lock_code(session)
    person = find_person(session, name)
    if person is None:
        raise NotFound(say("There is no person called %(name)s.", name=name))
    forgive(session, person.name)
    _log_change(session, actor, EventKind.TRIES_FORGIVEN, person)
    return person


def list_people(session: Session) -> list[Person]:
    """Return all people in the order of their names, disabled ones too."""
    return list(session.scalars(select(Person).order_by(Person.name_key)))


def first_person_exists(session: Session) -> bool:
    """Say whether there is any person, which means that the panel is set up."""
    return session.scalar(select(Person.id).limit(1)) is not None


def _check_manager_left(session: Session, leaving: Person) -> None:
    """Raise :class:`Refusal` if ``leaving`` is the last enabled person who manages people."""
    others = select(Person.id).where(
        Person.id != leaving.id, Person.may_manage, Person.disabled_at.is_(None)
    )
    if leaving.may_manage and session.scalar(others.limit(1)) is None:
        raise Refusal(say("%(name)s is the last one who manages people.", name=leaving.name))


def _find_duplicate(
    session: Session, name: str, password: str | None, permitted: Collection[Permission]
) -> Person | None:
    """Return the person of this name if password and permissions are the same too."""
    found, wanted = find_person(session, name), Person()
    permit(wanted, permitted)
    if found is None or found.disabled_at or granted_to(found) != granted_to(wanted):
        return None
    if password is None or found.password_hash is None:
        return found if password is found.password_hash else None
    return found if verify_secret(found.password_hash, password) else None


def _check_name(session: Session, checks: Checks, name: str) -> str:
    name = checks.text("name", name, NAME_LENGTH, say("A person needs a name."))
    if find_person(session, name) is not None:
        checks.refuse("name", say("There is a person of this name already."))
    return name


def _lock_person(session: Session, person_id: int) -> Person:
    person = session.get(Person, person_id, with_for_update=True, populate_existing=True)
    if person is None:
        raise NotFound(say("There is no such person."))
    return person


def _log_change(
    session: Session,
    actor: Actor,
    what: EventKind,
    person: Person,
    was: Mapping[str, object] | None = None,
    became: Mapping[str, object] | None = None,
) -> None:
    person.version += 1
    session.flush()
    log.add_entry(
        session,
        actor,
        what,
        subject="person",
        subject_id=person.id,
        label=person.name,
        version=person.version,
        was=was,
        became=became,
    )
