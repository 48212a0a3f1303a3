"""The idle exchange: a satellite in step asks, and nothing moves (PROTOCOL.md, *Idle*).

Nearly every exchange is one. It is answered from the one read that its token needs anyway, without
a lock, and it writes nothing; :class:`panel.sync.primary.run_log.Contacts` remembers it. Whatever
is not as it was before goes the long way, where the transaction reads again what it relies on.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import and_, bindparam, exists, not_, or_, select, text, true

from panel.db import Database
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import ChangeSequence, Quarantined, Record
from panel.models.runs import Peer, Run, SiteInitialisation
from panel.models.settings import Server, Settings, SyncProtocol
from panel.preferences.readiness import HAS_URL
from panel.sync.protocol.messages import Identity, Request, Stream

_DAY_MINUTES = 24 * 60


class Device(NamedTuple):
    """What one read tells of the satellite whose Sync ID a token names, and of this server.

    What is of the row or its peer is None where there is no such row.
    """

    # This server.
    own_sync_id: int | None
    own_name: str
    own_store: str
    # The row.
    id: int
    sync_id: int
    name: str
    store: str
    hardware_id: str | None
    token_hash: str | None
    last_success_at: datetime | None
    # Its peer.
    app_version: str | None
    checkpoint: str | None
    central_cursor: int | None
    addressed_cursor: int | None
    # Nothing keeps it from asking, nothing waits for it, and nothing of it is under way.
    is_in_step: bool | None

    @property
    def is_of_primary(self) -> bool:
        """Say whether this server is a primary."""
        return self.own_sync_id == PRIMARY_SYNC_ID

    @property
    def identity(self) -> Identity:
        """The identity that the satellite has, as far as this primary knows."""
        return Identity(
            self.sync_id,
            self.name,
            self.store,
            self.hardware_id or "",
            self.app_version or "",
            self.own_name,
            self.own_store,
        )


def read_device(database: Database, sync_id: int) -> Device:
    """Return what there is to know of the satellite ``sync_id``."""
    return Device(*database.read_row(_DEVICE, {"sync_id": sync_id}))


def is_idle(device: Device, request: Request, now: datetime) -> bool:
    """Say whether ``request`` of ``device`` asks for nothing but news, and there are none.

    Its credentials and its identity have been checked. One that comes in full is news.
    """
    # Compared as a whole, so that whatever else a request says goes the long way.
    question = Request(
        request.identity,
        start=request.start,
        checkpoint=device.checkpoint or "",
        cursors=request.cursors,
        limit=request.limit,
        most_bytes=request.most_bytes,
    )
    streams = (Stream.RESTORE, Stream.CENTRAL, Stream.ADDRESSED)
    cursors = [request.cursors.get(stream, 0) for stream in streams]
    return (
        bool(device.is_in_step)
        and isinstance(request.identity, str)
        and bool(request.checkpoint)
        and request.limit > 0
        and request == question
        and cursors == [0, device.central_cursor, device.addressed_cursor]
        and not is_first_of_day(device.id, device.last_success_at, now)
    )


def is_first_of_day(server_id: int, last_success_at: datetime | None, now: datetime) -> bool:
    """Say whether a satellite's last success was on another day.

    Once a day its cursors follow the sequence although nothing of it is for the satellite: a cursor
    that stayed behind would need tombstones that are purged. Each satellite's day begins at another
    time, since they would all go the long way at midnight.
    """
    shift = timedelta(minutes=server_id % _DAY_MINUTES)
    return last_success_at is None or (last_success_at + shift).date() != (now + shift).date()


# The conditions of partial indexes, and values that never change, stand in the statement as text:
# PostgreSQL plans it once for whatever is bound.
_NEWS = or_(
    exists().where(
        text("records.owner = 1"),
        text('records."to" IS NULL'),
        Record.seq > Peer.central_offered,
    ),
    exists().where(Record.to == Server.sync_id, Record.seq > Peer.addressed_offered),
)
_UNDER_WAY = or_(
    exists().where(Run.other == Server.sync_id, Run.ended_at.is_(None)),
    exists().where(Quarantined.source == Server.sync_id),
)
_MAY_ASK = and_(
    Settings.url == "",
    Settings.interval_minutes > 0,
    not_(HAS_URL),
    Server.has_used_token,
    not_(Peer.is_shared),
    Peer.refusal == "",
)
_IS_KNOWN = and_(
    Peer.protocol == SyncProtocol.OWN,
    Peer.generation == ChangeSequence.generation,
    Peer.initialisation == SiteInitialisation.COMPLETED,
    Peer.initialising_at.is_(None),
    Peer.waiting_there == 0,
    Peer.restore_cursor == 0,
    # It has stored all that was handed out to it, in the present past.
    Peer.central_cursor == Peer.central_offered,
    Peer.addressed_cursor == Peer.addressed_offered,
    Peer.central_offered.between(ChangeSequence.purged_seq, ChangeSequence.seq),
    Peer.addressed_offered.between(ChangeSequence.purged_seq, ChangeSequence.seq),
)
_DEVICE = (
    select(
        *(Settings.sync_id, Settings.name, Settings.store),
        *(Server.id, Server.sync_id, Server.name, Server.store, Server.hardware_id),
        *(Server.device_token_hash, Server.last_success_at),
        *(Peer.app_version, Peer.checkpoint, Peer.central_cursor, Peer.addressed_cursor),
        and_(_MAY_ASK, _IS_KNOWN, not_(_NEWS), not_(_UNDER_WAY)),
    )
    .select_from(Settings)
    .join(ChangeSequence, true())
    .outerjoin(Server, and_(Server.sync_id == bindparam("sync_id"), Server.removed_at.is_(None)))
    .outerjoin(Peer, Peer.server_id == Server.id)
)
