"""One satellite as its primary knows it, and where the two disagree on their identity.

A primary finds the differences and names them in its refusal, so that both sides keep the same
list: field, the primary's value, the satellite's
(:func:`panel.sync.primary.admission.differences`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.errors import NotFound
from panel.i18n import say
from panel.models.records import Record
from panel.models.runs import Peer
from panel.models.settings import Server
from panel.status.history import count_set_aside
from panel.sync.store.change_feed import central_records, count

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
    query = select(Peer.server_id).where(Peer.server_id.in_(ids), Peer.refusal != "")
    return set(session.scalars(query))


def _waiting_for(session: Session, server: Server, peer: Peer | None) -> int:
    central, addressed = (peer.central_cursor, peer.addressed_cursor) if peer else (0, 0)
    to_it = Record.to == server.sync_id
    return count(session, central_records(), central) + count(session, to_it, addressed)
