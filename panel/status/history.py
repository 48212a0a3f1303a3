"""What the runs recorded, read for people: page by page, the newest first."""

from collections.abc import Iterable, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from panel.models.records import Quarantined
from panel.models.runs import Run
from panel.models.settings import Server

PAGE_SIZE = 50


def list_runs(
    session: Session, other: int | None = None, before_id: int | None = None, limit: int = PAGE_SIZE
) -> Sequence[Run]:
    """Return the newest runs first, with one server if ``other`` (its Sync ID) names it.

    ``before_id`` is the last run of the page before.
    """
    query = select(Run).order_by(Run.id.desc()).limit(limit)
    if other is not None:
        query = query.where(Run.other == other)
    if before_id is not None:
        query = query.where(Run.id < before_id)
    return session.scalars(query).all()


def list_set_aside(
    session: Session,
    source: int | None = None,
    before_id: int | None = None,
    limit: int = PAGE_SIZE,
) -> Sequence[Quarantined]:
    """Return the records set aside, those left out too, the newest first; as :func:`list_runs`."""
    query = select(Quarantined).order_by(Quarantined.id.desc()).limit(limit)
    if source is not None:
        query = query.where(Quarantined.source == source)
    if before_id is not None:
        query = query.where(Quarantined.id < before_id)
    return session.scalars(query).all()


def count_set_aside(session: Session, source: int | None = None) -> int:
    """Return how many records are set aside and not left out (from one server: ``source``)."""
    query = select(func.count()).select_from(Quarantined).where(Quarantined.left_out_at.is_(None))
    if source is not None:
        query = query.where(Quarantined.source == source)
    return session.scalar(query) or 0


def names_of(session: Session, sync_ids: Iterable[int]) -> dict[int, str]:
    """Return the names of the servers of the list that have these Sync IDs."""
    query = select(Server.sync_id, Server.name)
    query = query.where(Server.sync_id.in_(set(sync_ids)), Server.removed_at.is_(None))
    return {row.sync_id: row.name for row in session.execute(query)}
