"""The primary's side of an exchange, from bytes to bytes, without a web server."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from panel.activity.log import Actor
from panel.db import Database
from panel.models.records import ChangeSequence, Record
from panel.models.runs import Peer
from panel.models.settings import Server
from panel.sync.primary import admission
from panel.sync.primary.authentication import Authenticator, read_authorization
from panel.sync.primary.run_log import Exchanged, note_exchange, refusals_noted
from panel.sync.protocol.batch_codec import item_of
from panel.sync.protocol.body_codec import (
    Body,
    Turn,
    announced_bytes,
    read_body,
    write_body,
)
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.json_reader import BadMessage, JsonObject
from panel.sync.protocol.messages import (
    CHECKPOINT_BYTES,
    OLDEST_VERSION,
    VERSION,
    Answer,
    Cursors,
    Mode,
    Refused,
    Request,
    Stream,
)
from panel.sync.store import change_feed
from panel.sync.store.apply import Outcome, pushed_by
from panel.sync.store.quarantine import apply_or_quarantine, retry_quarantined
from panel.sync.store.sequence import present_seq

ReadContent = Callable[[], bytes]
Records = dict[Stream, list[Record]]

# An answer with this much data has no further stream.
_ENOUGH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """The HTTP response to send: status, headers and body."""

    status: int
    headers: dict[str, str]
    content: bytes


@dataclass
class Primary:
    """The server of exchanges, with its database and the authenticator of this process."""

    database: Database
    authenticator: Authenticator = field(default_factory=Authenticator)

    def exchange(
        self, read_content: ReadContent, headers: Mapping[str, str], address: str
    ) -> Reply:
        """Return the response to a ``POST /sync/exchange`` from ``address``; errors are responses.

        ``read_content`` is called once the caller is authenticated. ``headers`` are looked up as
        ``Authorization``, ``Content-Encoding``, ``Content-Length`` and ``Accept-Encoding``.
        """
        try:
            with refusals_noted(self.database, address), Turn() as turn:
                answer, status = self._answer(read_content, headers, address, turn), 200
        except SyncRefusal as refusal:
            accepted = headers.get("Accept-Encoding", "")
            answer, status = write_body(_error(refusal), accepted), refusal.status
        encoding = {"Content-Encoding": answer.encoding} if answer.encoding else {}
        return Reply(status, encoding, answer.content)

    def _answer(
        self, read_content: ReadContent, headers: Mapping[str, str], address: str, turn: Turn
    ) -> Body:
        credentials = read_authorization(headers.get("Authorization", ""))
        accepted = headers.get("Accept-Encoding", "")
        with self.database.reading() as session:
            # Before the body is read: a stranger's could fill the memory.
            proof = admission.prove(session, self.authenticator, credentials, address)
            turn.take_for(announced_bytes(headers.get("Content-Length", "")))
            sent = Body(read_content(), headers.get("Content-Encoding", ""))
            request = _read_request(sent, turn)
            with _trials_marked(request):
                caller = admission.identify(session, proof, request.identity, address)
        with _trials_marked(request), self.database.writing() as session:
            server, peer, token = admission.admit(session, caller, Actor("", address, "sync"))
            if request.mode is Mode.TEST:
                session.rollback()
                return write_body(Answer().to_json(), accepted)
            answer = _exchange(session, server, peer, request, token)
            # Before the commit, since the run counts the bytes of the body.
            body = write_body(answer.to_json(), accepted)
            sizes = len(sent.content), len(body.content)
            note_exchange(session, server, peer, Exchanged(request, answer, *sizes))
        return body


@contextmanager
def _trials_marked(request: Request) -> Iterator[None]:
    try:
        yield
    except SyncRefusal as refusal:
        # A connection test does not change the status of the satellite.
        refusal.is_trial = request.mode is Mode.TEST
        raise


def _read_request(body: Body, turn: Turn) -> Request:
    try:
        value = read_body(body, turn)
        fields = JsonObject(value)
        _check_version(fields)
        if fields.get("records") is not None:
            # A few bytes can be many records with the same values.
            turn.take()
        return Request.from_json(value)
    except BadMessage as error:
        raise SyncRefusal("bad_request", what=str(error)) from error


def _check_version(fields: JsonObject) -> None:
    version = fields.whole("version", 0, 2**31)
    if not OLDEST_VERSION <= version <= VERSION:
        raise SyncRefusal(
            "api_version_incompatible", oldest=OLDEST_VERSION, newest=VERSION, theirs=version
        )


def _exchange(session: Session, server: Server, peer: Peer, request: Request, token: str) -> Answer:
    if request.mode is Mode.BEGIN:
        # Only a satellite that gets this answer can go on from it. The checkpoint is kept until one
        # does: the same request, repeated late, must not replace it.
        peer.checkpoint_begun = peer.checkpoint_begun or secrets.token_urlsafe(CHECKPOINT_BYTES)
        to_pull = _count(session, server, request)
        return Answer(
            begun=peer.checkpoint_begun, more=Stream.RESTORE, to_pull=to_pull, token=token
        )
    _check_checkpoint(session, server, peer, request)
    outcome = _push(session, server, request)
    records, cursors, more = _pull(session, server, request)
    moved = bool(request.records) or cursors != _cursors(request)
    rolled = bool(request.next_checkpoint) and (moved or request.mode is not Mode.NORMAL)
    if rolled:
        peer.checkpoint_before, peer.checkpoint = request.checkpoint, request.next_checkpoint
        if request.checkpoint == peer.checkpoint_begun:
            peer.checkpoint_begun = ""
    return Answer(
        rolled=rolled,
        cursors=cursors if moved else {},
        records={
            stream: [item_of(record) for record in found] for stream, found in records.items()
        },
        more=more,
        to_pull=_to_pull(session, server, request, records, more) if request.start else 0,
        refused=[Refused(item.position, p.reason, p.values) for item, p in outcome.refused],
        token=token,
        count=present_seq(session) if request.records else 0,
    )


def _check_checkpoint(session: Session, server: Server, peer: Peer, request: Request) -> None:
    """Raise SyncRefusal if the two sides' checkpoints disagree (PROTOCOL.md, *Checkpoints*)."""
    is_last = request.checkpoint == peer.checkpoint
    is_begun = request.checkpoint == peer.checkpoint_begun
    is_lost_answer = (
        request.checkpoint == peer.checkpoint_before and request.next_checkpoint == peer.checkpoint
    )
    # Both sides have none before the first initialise, and after another protocol was spoken.
    is_known = bool(request.checkpoint) and (is_last or is_begun or is_lost_answer)
    count = session.get_one(ChangeSequence, 1)
    cursors = _cursors(request)
    knows_more = max(cursors.values()) > count.seq
    followed = min(cursors[Stream.CENTRAL], cursors[Stream.ADDRESSED])
    missed = request.mode is Mode.NORMAL and followed < count.purged_seq
    if not is_known or knows_more or missed:
        refusal = SyncRefusal("initialise_needed")
        refusal.server_id = server.id
        raise refusal


def _push(session: Session, server: Server, request: Request) -> Outcome:
    rule = pushed_by(server.sync_id)
    if request.start:
        retry_quarantined(session, server.sync_id, rule)
    if not request.records:
        return Outcome()
    return apply_or_quarantine(session, server.sync_id, request.records, rule)


def _cursors(request: Request) -> Cursors:
    return {stream: request.cursors.get(stream, 0) for stream in Stream}


def _streams(request: Request) -> list[Stream]:
    return list(Stream) if request.mode is not Mode.NORMAL else [Stream.CENTRAL, Stream.ADDRESSED]


def _pull(
    session: Session, server: Server, request: Request
) -> tuple[Records, Cursors, Stream | None]:
    """Return the records and the cursor of each stream, and the first stream that has more."""
    records: Records = {}
    cursors = _cursors(request)
    room, size = request.limit, 0
    for stream in _streams(request):
        if room < 1 or size > _ENOUGH_BYTES:
            return records, cursors, stream
        page = _page(session, server.sync_id, stream, cursors[stream], room)
        records[stream], cursors[stream] = list(page.records), page.cursor
        if page.more:
            return records, cursors, stream
        room -= len(page.records)
        size += sum(record.size for record in page.records)
    return records, cursors, None


def _page(
    session: Session, sync_id: int, stream: Stream, cursor: int, room: int
) -> change_feed.Page:
    match stream:
        case Stream.RESTORE:
            return change_feed.owned(session, sync_id, cursor, room)
        case Stream.CENTRAL:
            return change_feed.central(session, cursor, room)
        case Stream.ADDRESSED:
            return change_feed.addressed(session, sync_id, cursor, room)


def _to_pull(
    session: Session, server: Server, request: Request, records: Records, more: Stream | None
) -> int:
    """Return how many records there are to pull, with those of this answer."""
    # Most answers leave nothing, and need no counting.
    return _count(session, server, request) if more else sum(map(len, records.values()))


def _count(session: Session, server: Server, request: Request) -> int:
    conditions = {
        Stream.RESTORE: Record.owner == server.sync_id,
        Stream.CENTRAL: change_feed.central_records(),
        Stream.ADDRESSED: Record.to == server.sync_id,
    }
    return sum(
        change_feed.count(session, conditions[stream], _cursors(request)[stream])
        for stream in _streams(request)
    )


def _error(refusal: SyncRefusal) -> dict[str, Any]:
    return {"error": {"code": refusal.code, "data": refusal.values or None}}
