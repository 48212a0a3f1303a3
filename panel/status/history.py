"""Past runs, quarantined records, one satellite's status and the delivery of one record."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select
from sqlalchemy.orm import Session

from panel.errors import NotFound
from panel.i18n import Message, say
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Quarantined, Record
from panel.models.runs import Acknowledged, Applicant, Link, Peer, Run, SiteCopy
from panel.models.settings import Server, Settings
from panel.preferences.server_list import is_row_refused
from panel.sync.store.change_feed import central_records, count
from panel.sync.store.quarantine import held_back
from panel.sync.store.records import get_record

PAGE_SIZE = 50
# Of a comparison, which a page shows: bytes of a version, fields, and characters of a value.
_LARGEST_COMPARED_BYTES, _MOST_COMPARED_FIELDS, _LONGEST_VALUE = 256 * 1024, 60, 200
_SECONDS_PER_MINUTE = 60
# The code of the refusal that names the fields in which two identities differ.
_IDENTITY_DIFFERS = "identity_differs"
# The fields in which a satellite describes its primary, and the field of the list for each.
OF_PRIMARY = {"primary_name": "name", "primary_store": "store"}
OF_SATELLITE = {"sync_id", "name", "store"}
_TEXTS = {"name", "store", *OF_PRIMARY}


def list_runs(
    session: Session, other: int | None = None, before_id: int | None = None, limit: int = PAGE_SIZE
) -> Sequence[Run]:
    """Return at most ``limit`` runs, the newest first.

    ``other`` is the Sync ID of the only server whose runs are wanted; ``before_id`` is the id of
    the last run on the page before.
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
    """Return at most ``limit`` quarantined records, the newest first, those left out too.

    ``source`` is the Sync ID of the only sender wanted; ``before_id`` as in :func:`list_runs`.
    """
    query = select(Quarantined).order_by(Quarantined.id.desc()).limit(limit)
    if source is not None:
        query = query.where(Quarantined.source == source)
    if before_id is not None:
        query = query.where(Quarantined.id < before_id)
    return session.scalars(query).all()


def count_set_aside(session: Session, source: int | None = None) -> int:
    """Return how many records are quarantined and not left out, of one ``source`` or of all."""
    query = _COUNT_SET_ASIDE
    if source is not None:
        query = query.where(Quarantined.source == source)
    return session.scalar(query) or 0


# Of the table: every page asks, and without the ORM it takes half the time.
_quarantined = Quarantined.__table__
_COUNT_SET_ASIDE = (
    select(func.count()).select_from(_quarantined).where(_quarantined.c.left_out_at.is_(None))
)


def set_aside_reasons(session: Session, source: int | None = None) -> Sequence[tuple[str, int]]:
    """Return each reason of records that wait for a decision, with their number, most first."""
    number = func.count()
    query = select(_quarantined.c.reason, number).where(_quarantined.c.left_out_at.is_(None))
    if source is not None:
        query = query.where(_quarantined.c.source == source)
    query = query.group_by(_quarantined.c.reason).order_by(number.desc(), _quarantined.c.reason)
    return [(reason, found) for reason, found in session.execute(query)]


class ComparedField(NamedTuple):
    """A field of a record in two versions, as text; None where a version does not have it."""

    name: str
    here: str | None
    set_aside: str | None

    @property
    def differs(self) -> bool:
        """Say whether the versions differ in it."""
        return self.here != self.set_aside


@dataclass(frozen=True)
class Comparison:
    """A record as it is in use here, and as it is set aside: those fields first that differ.

    ``has_here`` and ``has_set_aside`` say whether that version has content. ``more`` is the number
    of fields that are not in ``fields``; ``is_too_large`` that none was read.
    """

    fields: Sequence[ComparedField]
    has_here: bool
    has_set_aside: bool
    more: int = 0
    is_too_large: bool = False


def compare_set_aside(session: Session, quarantined_id: int) -> Comparison:
    """Return both versions of a quarantined record. Raise :class:`NotFound`."""
    aside, record = Quarantined, Record
    same = (record.table_name == aside.table_name) & (record.record_id == aside.record_id)
    data_bytes = func.coalesce(func.length(aside.data), 0), func.coalesce(record.size, 0)
    query = select(*data_bytes).select_from(aside).outerjoin(record, same)
    sizes = session.execute(query.where(aside.id == quarantined_id)).one_or_none()
    if sizes is None:
        raise NotFound(say("This record is no longer set aside."))
    if max(sizes) > _LARGEST_COMPARED_BYTES:
        return Comparison([], bool(sizes[1]), bool(sizes[0]), is_too_large=True)
    both = select(record.data, aside.data).select_from(aside).outerjoin(record, same)
    here, there = session.execute(both.where(aside.id == quarantined_id)).one()
    mine, other = _fields(here), _fields(there)
    fields = [ComparedField(name, mine.get(name), other.get(name)) for name in {**mine, **other}]
    fields.sort(key=lambda field: not field.differs)
    shown = fields[:_MOST_COMPARED_FIELDS]
    return Comparison(shown, here is not None, there is not None, len(fields) - len(shown))


def _fields(data: str | None) -> dict[str, str]:
    """Return the fields of a record's content as texts, each of a length that a page takes."""
    content = json.loads(data) if data else {}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in content.items()
    }
    return {name: _shortened(text) for name, text in texts.items()}


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_VALUE:
        return text
    # Two long texts that differ only in what is not shown are told apart by it.
    mark = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{text[:_LONGEST_VALUE]}… ({len(text)}, {mark})"


def names_of(session: Session, sync_ids: Iterable[int]) -> dict[int, str]:
    """Return the names of the servers in the list, by Sync ID, as far as they are in it."""
    query = select(Server.sync_id, Server.name)
    query = query.where(Server.sync_id.in_(set(sync_ids)), Server.removed_at.is_(None))
    return {row.sync_id: row.name for row in session.execute(query)}


@dataclass(frozen=True)
class Disagreement:
    """A field of an identity: its value here, and its value at the other server."""

    field: str
    here: object
    there: object


def disagreements(
    code: str, values: Mapping[str, Any] | None, *, at_primary: bool
) -> list[Disagreement]:
    """Return the fields in which the two servers differ, from the ``values`` of a refusal.

    ``at_primary`` says which of the two values is the one here. Every code but
    ``identity_differs`` gives none.
    """
    if code != _IDENTITY_DIFFERS:
        return []
    named = (values or {}).get("differences")
    found = filter(_is_difference, named if isinstance(named, list) else [])
    if at_primary:
        return [Disagreement(field, ours, theirs) for field, ours, theirs in found]
    return [Disagreement(field, theirs, ours) for field, ours, theirs in found]


@dataclass(frozen=True)
class PeerStatus:
    """The status of one satellite, with numbers of records.

    ``peer`` is None until it has called; ``waiting_there`` counts what it has still to push.
    """

    server: Server
    peer: Peer | None
    waiting_for_it: int
    waiting_there: int
    set_aside: int
    disagreements: Sequence[Disagreement]
    is_refused: bool
    clock: Message | None


def read_peer_status(session: Session, server_id: int) -> PeerStatus:
    """Return the status of the satellite in this row of the list. Raise :class:`NotFound`."""
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
        is_refused=is_row_refused(session, server),
        clock=peer_clock_sentence(peer.clock_seconds) if peer and peer.clock_seconds else None,
    )


def peer_clock_sentence(seconds_ahead: int) -> Message:
    """Return what a satellite's clock is, against its primary's, as the primary is told."""
    minutes = abs(seconds_ahead) // _SECONDS_PER_MINUTE
    if seconds_ahead > 0:
        return say(
            "Its clock is %(minutes)s minutes ahead of this server's: set the one that is wrong.",
            minutes=minutes,
        )
    return say(
        "Its clock is %(minutes)s minutes behind this server's: set the one that is wrong.",
        minutes=minutes,
    )


class DeliveryState(StrEnum):
    """How far a record has come on its way from this server."""

    # Not sent yet to somebody who gets it.
    WAITING = "waiting"
    # On its way to all for whom it waits; no answer has said yet that they have it.
    SENT = "sent"
    # Everybody who gets it from this server has it.
    ARRIVED = "arrived"


@dataclass(frozen=True)
class Delivery:
    """How far ``record`` has come.

    ``waits_for`` has the Sync IDs of servers that have not got it, at most :data:`PAGE_SIZE`;
    ``more`` says that there are others.
    """

    record: Record
    state: DeliveryState
    waits_for: Sequence[int] = ()
    more: bool = False


def read_delivery(session: Session, table: str, record_id: str) -> Delivery:
    """Return how far a record or its tombstone has come. Raise NotFound if there is none."""
    record = get_record(session, table, record_id, deleted_too=True)
    if session.get_one(Settings, 1).is_primary:
        return _from_primary(session, record)
    if not record.waiting:
        return Delivery(record, DeliveryState.ARRIVED)
    too_large = session.scalar(select(held_back(record.owner)).where(Record.id == record.id))
    is_sent = record.seq <= session.get_one(Link, 1).sent_seq and not too_large
    state = DeliveryState.SENT if is_sent else DeliveryState.WAITING
    return Delivery(record, state, [PRIMARY_SYNC_ID])


def _from_primary(session: Session, record: Record) -> Delivery:
    """Return for which satellites ``record`` waits, first those to which it was not sent yet."""
    waits, is_sent = _delivery_conditions(record)
    sent = func.coalesce(is_sent, false()).label("is_sent")
    query = select(Server.sync_id, sent).outerjoin(Peer, Peer.server_id == Server.id)
    query = query.where(Server.removed_at.is_(None), Server.sync_id != record.owner, waits)
    rows = session.execute(query.order_by(sent, Server.sync_id).limit(PAGE_SIZE + 1)).all()
    if not rows:
        return Delivery(record, DeliveryState.ARRIVED)
    state = DeliveryState.SENT if rows[0].is_sent else DeliveryState.WAITING
    waits_for = [row.sync_id for row in rows[:PAGE_SIZE]]
    return Delivery(record, state, waits_for, more=len(rows) > PAGE_SIZE)


def _delivery_conditions(record: Record) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return two conditions: ``record`` waits for a satellite; it was sent to that satellite."""
    if record.owner == PRIMARY_SYNC_ID and record.to is None:
        waits = func.coalesce(Peer.central_cursor, 0) < record.seq
        return waits, Peer.central_offered >= record.seq
    # v5 acknowledges records one by one.
    acknowledged = exists().where(
        Acknowledged.server_id == Server.id, Acknowledged.position == record.seq
    )
    addressed = and_(
        Server.sync_id == record.to,
        func.coalesce(Peer.addressed_cursor, 0) < record.seq,
        ~acknowledged,
    )
    copy = exists().where(
        SiteCopy.server_id == Server.id,
        SiteCopy.record_id == record.id,
        SiteCopy.known_seq < record.seq,
    )
    return or_(addressed, copy), Peer.addressed_offered >= record.seq


def count_applicants(session: Session) -> int:
    """Return how many satellites wait to be added to this primary."""
    return session.scalar(_APPLICANTS) or 0


_added = exists().where(Server.sync_id == Applicant.sync_id, Server.removed_at.is_(None))
_APPLICANTS = select(func.count()).select_from(Applicant).where(~_added)


def _is_difference(value: object) -> bool:
    # The other server sent it: what is malformed is left out.
    match value:
        case ["sync_id", int() | None, int() | None]:
            return True
        case [str(field), str(), str()]:
            return field in _TEXTS
    return False


def _waiting_for(session: Session, server: Server, peer: Peer | None) -> int:
    central, addressed = (peer.central_cursor, peer.addressed_cursor) if peer else (0, 0)
    to_it = Record.to == server.sync_id
    return count(session, central_records(), central) + count(session, to_it, addressed)
