"""How one satellite stands, as its primary knows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.errors import NotFound
from panel.i18n import say
from panel.models.base import Server
from panel.models.sync import Peer, Record
from panel.operations.adopt_identity import Disagreement, disagreements
from panel.status.history import count_set_aside
from panel.sync.store.change_feed import central_records, count


@dataclass(frozen=True)
class Standing:
    """One satellite. ``peer`` is None until it has called; the numbers are of records."""

    server: Server
    peer: Peer | None
    waiting_for_it: int
    waiting_there: int
    set_aside: int
    disagreements: Sequence[Disagreement]


def read_standing(session: Session, server_id: int) -> Standing:
    """Return how the satellite in this row of the list stands. Raise :class:`NotFound`."""
    server = session.get(Server, server_id)
    if server is None or server.removed_at is not None:
        raise NotFound(say("This server is not in the list any more."))
    peer = session.get(Peer, server_id)
    return Standing(
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
