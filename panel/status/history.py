"""What the runs recorded, read for people: page by page, the newest first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from panel.errors import NotFound
from panel.i18n import say
from panel.models.records import Quarantined, Record
from panel.models.runs import Peer, Run
from panel.models.settings import Server
from panel.sync.store.change_feed import central_records, count

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
    query = _SET_ASIDE if source is None else _SET_ASIDE.where(Quarantined.source == source)
    return session.scalar(query) or 0


_SET_ASIDE = select(func.count()).select_from(Quarantined).where(Quarantined.left_out_at.is_(None))


def names_of(session: Session, sync_ids: Iterable[int]) -> dict[int, str]:
    """Return the names of the servers of the list that have these Sync IDs."""
    query = select(Server.sync_id, Server.name)
    query = query.where(Server.sync_id.in_(set(sync_ids)), Server.removed_at.is_(None))
    return {row.sync_id: row.name for row in session.execute(query)}


CODE = "identity_differs"
# What a satellite calls its primary; the other fields are the satellite's own.
OF_PRIMARY = {"primary_name": "name", "primary_store": "store"}
OF_SATELLITE = {"sync_id", "name", "store"}
_TEXTS = {"name", "store", *OF_PRIMARY}


@dataclass(frozen=True)
class Disagreement:
    """One field: what is saved here, and what the other server says."""

    field: str
    here: object
    there: object


def disagreements(
    code: str, values: Mapping[str, Any] | None, *, at_primary: bool
) -> list[Disagreement]:
    """Return what a refusal with this ``code`` and ``values`` names, seen from one of its sides."""
    if code != CODE:
        return []
    named = (values or {}).get("differences")
    found = filter(_is_difference, named if isinstance(named, list) else [])
    if at_primary:
        return [Disagreement(field, ours, theirs) for field, ours, theirs in found]
    return [Disagreement(field, theirs, ours) for field, ours, theirs in found]


def _is_difference(value: object) -> bool:
    # It came from another server: what is not understood is not shown, and harms nobody.
    match value:
        case ["sync_id", int() | None, int() | None]:
            return True
        case [str(field), str(), str()]:
            return field in _TEXTS
    return False


@dataclass(frozen=True)
class PeerStatus:
    """One satellite. ``peer`` is None until it has called; the numbers are of records."""

    server: Server
    peer: Peer | None
    waiting_for_it: int
    waiting_there: int
    set_aside: int
    disagreements: Sequence[Disagreement]


def read_peer_status(session: Session, server_id: int) -> PeerStatus:
    """Return how the satellite in this row of the list stands. Raise :class:`NotFound`."""
    server = session.get(Server, server_id)
    if server is None or server.removed_at is not None:
        raise NotFound(say("This server is not in the list any more."))
    peer = session.get(Peer, server_id)
    return PeerStatus(
        server,
        peer,
        waiting_for_it=_waiting_for(session, server, peer),
        waiting_there=peer.waiting_there if peer else 0,
        set_aside=count_set_aside(session, server.sync_id),
        disagreements=(
            disagreements(peer.refusal, peer.refusal_values, at_primary=True) if peer else ()
        ),
    )


def refused_among(session: Session, ids: Sequence[int]) -> set[int]:
    """Return which of the rows with these ids were refused when they last called."""
    return set(session.scalars(_REFUSED, {"ids": ids}))


_REFUSED = select(Peer.server_id).where(
    Peer.server_id.in_(bindparam("ids", expanding=True)), Peer.refusal != ""
)


def _waiting_for(session: Session, server: Server, peer: Peer | None) -> int:
    central, addressed = (peer.central_cursor, peer.addressed_cursor) if peer else (0, 0)
    to_it = Record.to == server.sync_id
    return count(session, central_records(), central) + count(session, to_it, addressed)
