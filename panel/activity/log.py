"""The log Activity: one row for each act and refusal. Rows are added, never changed or deleted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import clock
from panel.activity.kinds import EventKind
from panel.errors import Conflict, Difference
from panel.models.activity import Activity
from panel.models.base import ADDRESS_LENGTH, NAME_LENGTH

# Logged instead of a password or a code, before and after.
SECRET = "changed"  # noqa: S105 - a word that stands for a secret
LABEL_LENGTH = 120


@dataclass(frozen=True)
class Actor:
    """Who acts: a signed-in person, a script at the shell, or the sync service.

    ``via`` is "web", "shell", "proxy" or "sync"; ``person_id`` is None unless a person acts.
    """

    name: str
    address: str = ""
    via: str = "shell"
    person_id: int | None = None


def add_entry(
    session: Session,
    actor: Actor,
    what: EventKind,
    *,
    subject: str = "",
    subject_id: int | None = None,
    label: str = "",
    version: int | None = None,
    was: Mapping[str, Any] | None = None,
    became: Mapping[str, Any] | None = None,
) -> None:
    """Add the entry that ``actor`` did ``what`` to ``subject`` (with ``subject_id``).

    ``label`` is the subject's name for people. ``was`` and ``became`` map the changed fields to
    their values; a secret is :data:`SECRET`. ``version`` is the subject's version after the change,
    by which :func:`changes_since` finds the entry. Long names are cut to their columns.
    """
    row = Activity(
        at=clock.now(),
        person=actor.name[:NAME_LENGTH],
        address=actor.address[:ADDRESS_LENGTH],
        via=actor.via,
        what=what,
        subject=subject,
        subject_id=subject_id,
        label=label[:LABEL_LENGTH],
        version=version,
    )
    if was is not None:
        row.was = dict(was)
    if became is not None:
        row.became = dict(became)
    session.add(row)


def search(
    session: Session,
    *,
    person: str = "",
    what: str = "",
    begin: datetime | None = None,
    end: datetime | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> list[Activity]:
    """Return at most ``limit`` entries, newest first, of a person or of a kind if given.

    They are from ``begin`` (included) to ``end`` (not included). ``before_id`` is the id of the
    last entry of the previous page.
    """
    query = select(Activity).order_by(Activity.id.desc()).limit(limit)
    if person:
        query = query.where(Activity.person == person)
    if what:
        query = query.where(Activity.what == what)
    if begin is not None:
        query = query.where(Activity.at >= begin)
    if end is not None:
        query = query.where(Activity.at < end)
    if before_id is not None:
        query = query.where(Activity.id < before_id)
    return list(session.scalars(query))


def changes_since(
    session: Session, subject: str, subject_id: int | None, version: int
) -> list[Difference]:
    """Return the changes of each field of ``subject`` after ``version``, oldest first."""
    query = (
        select(Activity)
        .where(Activity.subject == subject, Activity.version > version)
        .where(Activity.subject_id == subject_id)
        .order_by(Activity.version, Activity.id)
    )
    return [
        Difference(field, (row.was or {}).get(field), became, row.person, row.at)
        for row in session.scalars(query)
        for field, became in (row.became or {}).items()
    ]


def refuse_stale(
    session: Session, subject: str, subject_id: int | None, seen: int, present: int
) -> NoReturn:
    """Raise :class:`Conflict`: the form shows version ``seen``, and ``present`` is saved."""
    raise Conflict(changes_since(session, subject, subject_id, seen), present)
