"""Activity: one row for everything that was done or refused. Rows are only ever added."""

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
from panel.models.base import NAME_LENGTH


@dataclass(frozen=True)
class Actor:
    """The one who acts: a person signed in, a script at the shell, or the sync service.

    ``via`` is "web", "shell", "proxy" or "sync"; ``person_id`` is None for all others.
    """

    name: str
    address: str = ""
    via: str = "shell"
    person_id: int | None = None


# What Activity says instead of a password or a code, before and after.
SECRET = "changed"  # noqa: S105 - the word that stands for a secret

ADDRESS_LENGTH, LABEL_LENGTH = 64, 120


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
    """Add one row: ``actor`` did ``what`` to ``subject``, which people call ``label``.

    ``was`` and ``became`` hold the fields that changed; secrets in them are :data:`SECRET`.
    ``version`` is the subject's after the change: :func:`changes_since` finds the row by it.
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
    """Return the newest rows first, at most ``limit`` of them, of one person or one kind if named.

    ``begin`` counts in and ``end`` does not; ``before_id`` is the last row of the page before.
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
    """Return who changed which field of ``subject`` after ``version``, oldest first."""
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
    """Raise :class:`Conflict`: the form was opened on version ``seen``, ``present`` is saved."""
    raise Conflict(changes_since(session, subject, subject_id, seen), present)
