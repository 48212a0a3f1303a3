"""The primary's side of an exchange, from bytes to bytes, without a web server."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from panel import clock
from panel.activity.log import Actor
from panel.db import Database
from panel.models.records import ChangeSequence, Key, Quarantined, Record
from panel.models.runs import Peer
from panel.models.settings import Server
from panel.sync.primary import admission, joining, parts
from panel.sync.primary.admission import check_room, claim
from panel.sync.primary.authentication import Authenticator, read_authorization
from panel.sync.primary.idle import is_first_of_day, is_idle
from panel.sync.primary.parts import Part, PartCall, Records
from panel.sync.primary.run_log import Contacts, Exchanged, note_exchange, refusals_noted
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
    Disagreement,
    Mode,
    Refused,
    Request,
    Stream,
)
from panel.sync.store import change_feed
from panel.sync.store.apply import Outcome, pushed_by
from panel.sync.store.quarantine import apply_or_quarantine, retry_quarantined
from panel.sync.store.records import keys_in, server_lookup
from panel.sync.store.sequence import last_common_seq, last_numbers, present_seq

ReadContent = Callable[[], bytes]
# Of the history, what an answer has room for.
_MOST_GENERATIONS = 64
# So few that their records are no more than an answer may carry.
_KEYS_AT_ONCE = 4

# An answer with records of so many bytes has no further stream.
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
    # How many satellites may initialise from the beginning at once.
    initialises: int = 8
    contacts: Contacts = field(init=False)

    def __post_init__(self) -> None:
        self.contacts = Contacts(self.database)

    def exchange(
        self, read_content: ReadContent, headers: Mapping[str, str], address: str
    ) -> Reply:
        """Return the response to a ``POST /sync/exchange`` from ``address``; errors are responses.

        ``read_content`` is called once the caller is authenticated. ``headers`` are looked up as
        ``Authorization``, ``Content-Encoding``, ``Content-Length`` and ``Accept-Encoding``.
        """
        try:
            with refusals_noted(self.database, address), Turn() as turn:
                return _reply(200, self._answer(read_content, headers, address, turn))
        except SyncRefusal as refusal:
            return _refuse(refusal, headers)

    def join(self, read_content: ReadContent, headers: Mapping[str, str], address: str) -> Reply:
        """Return the response to a ``POST /sync/join``, as :meth:`exchange` does."""
        try:
            with refusals_noted(self.database, address):
                authorization = headers.get("Authorization", "")
                answer = joining.join(self.database, authorization, read_content, address)
                return _reply(200, write_body(answer, headers.get("Accept-Encoding", "")))
        except SyncRefusal as refusal:
            return _refuse(refusal, headers)

    def give_piece(self, call: PartCall, headers: Mapping[str, str], address: str) -> Reply:
        """Return the response to a ``GET /sync/part/DIGEST``, as :meth:`exchange` does."""
        service = Part(self.database, self.authenticator, headers, address)
        try:
            with refusals_noted(self.database, address):
                return Reply(200, {}, service.send(call))
        except SyncRefusal as refusal:
            return _refuse(refusal, headers)

    def take_piece(
        self, call: PartCall, read_content: ReadContent, headers: Mapping[str, str], address: str
    ) -> Reply:
        """Return the response to a ``PUT /sync/part/DIGEST``, as :meth:`exchange` does."""
        service = Part(self.database, self.authenticator, headers, address)
        try:
            with refusals_noted(self.database, address):
                return Reply(200, {}, service.receive(call, read_content))
        except SyncRefusal as refusal:
            return _refuse(refusal, headers)

    def _answer(
        self, read_content: ReadContent, headers: Mapping[str, str], address: str, turn: Turn
    ) -> Body:
        credentials = read_authorization(headers.get("Authorization", ""))
        accepted = headers.get("Accept-Encoding", "")
        # Before the body is read: a stranger's could fill the memory.
        proof = admission.prove(self.database, self.authenticator, credentials, address)
        turn.take_for(announced_bytes(headers.get("Content-Length", "")))
        sent = Body(read_content(), headers.get("Content-Encoding", ""))
        request = _read_request(sent, turn)
        with _trials_marked(request):
            caller = admission.identify(self.database, proof, request.identity, address)
        if proof.device is not None and is_idle(proof.device, request, clock.now()):
            self.contacts.note(proof.device.id)
            return write_body(Answer().to_json(), accepted)
        if request.mode is Mode.TEST:
            with _trials_marked(request), self.database.reading() as session:
                admission.check_admissible(session, caller)
                return write_body(Answer().to_json(), accepted)
        with _trials_marked(request), self.database.writing() as session:
            server, peer, token = admission.admit(session, caller, Actor("", address, "sync"))
            answer = _exchange(session, server, peer, request, self.initialises)
            answer = replace(answer, token=token)
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


def _exchange(
    session: Session, server: Server, peer: Peer, request: Request, initialises: int
) -> Answer:
    if request.mode is Mode.BEGIN:
        return _begin(session, server, peer, request, initialises)
    _check_checkpoint(session, peer, request)
    request, have = parts.complete(session, server, request)
    if have is not None:
        return Answer(wanted=True, have=have)
    if request.mode is Mode.INITIALISE:
        _note_initialise(session, server, peer, request, initialises)
    outcome = _push(session, server, peer, request)
    records, cursors, more, large = parts.pull_fitting(partial(_pull, session, server), request)
    if _is_without_news(server, request, records, more):
        cursors = _cursors(request)
    moved = cursors != _cursors(request)
    # Proposed by a satellite that sends something, or that heard no answer when it did.
    rolled = bool(request.next_checkpoint)
    if rolled:
        _roll(session, peer, request)
    _note_offered(peer, parts.with_large(cursors, large))
    find = partial(_find_doubted, session, server.sync_id)
    answered, found, large_doubt = parts.find_fitting(find, request, more, server.sync_id)
    return Answer(
        rolled=rolled,
        cursors=cursors if moved else {},
        records={
            stream: [item_of(record) for record in found] for stream, found in records.items()
        },
        more=more,
        to_pull=_to_pull(session, server, request, records, more) if request.start else 0,
        refused=[Refused(item.position, p.reason, p.values) for item, p in outcome.refused],
        count=present_seq(session) if request.records else 0,
        generation=peer.generation if request.learn else "",
        answered=answered,
        found=[item_of(record) for record in found],
        large=large or large_doubt,
    )


def _is_without_news(
    server: Server, request: Request, records: Records, more: Stream | None
) -> bool:
    """Say whether the cursors stay: nothing moves, and they have followed today already.

    A cursor that moved would have to be stored at every exchange, here and there.
    """
    is_quiet = request.mode is Mode.NORMAL and not request.records and more is None
    if not is_quiet or any(records.values()):
        return False
    return not is_first_of_day(server.id, server.last_success_at, clock.now())


def _begin(
    session: Session, server: Server, peer: Peer, request: Request, initialises: int
) -> Answer:
    """Answer the request that an initialise or a recovery starts from. Nothing is moved."""
    sequence = session.get_one(ChangeSequence, 1, populate_existing=True)
    common = [request.common.get(stream, 0) for stream in (Stream.CENTRAL, Stream.ADDRESSED)]
    if any(common):
        last = last_common_seq(session, request.generation, sequence)
        if min(common) < sequence.purged_seq or not _was_offered(peer, common, last):
            raise _differs(session, peer, knows_checkpoint=True)
    else:
        check_room(session, peer, initialises)
    # Only a satellite that gets this answer can go on from it. The checkpoint is kept until one
    # does: the same request, repeated late, must not replace it.
    peer.checkpoint_begun = peer.checkpoint_begun or secrets.token_urlsafe(CHECKPOINT_BYTES)
    start = replace(request, cursors={**request.common, Stream.RESTORE: min(common)})
    return Answer(
        begun=peer.checkpoint_begun,
        more=Stream.RESTORE,
        to_pull=_count(session, server, start),
        generation=sequence.generation,
        highest=_highest_version(session, server.sync_id),
    )


def _was_offered(peer: Peer, cursors: list[int], last: int) -> bool:
    offered = peer.central_offered, peer.addressed_offered
    return all(cursor <= min(last, most) for cursor, most in zip(cursors, offered, strict=True))


def _highest_version(session: Session, sync_id: int) -> int:
    """Return the highest version that came from a satellite, quarantined or not."""
    taken = select(func.max(Record.version)).where(Record.owner == sync_id)
    aside = select(func.max(Quarantined.version)).where(Quarantined.source == sync_id)
    return max(session.scalar(taken) or 0, session.scalar(aside) or 0)


def _check_checkpoint(session: Session, peer: Peer, request: Request) -> None:
    """Raise SyncRefusal if the two sides' memories disagree (PROTOCOL.md, *Checkpoints*)."""
    is_last = request.checkpoint == peer.checkpoint
    is_begun = request.checkpoint == peer.checkpoint_begun
    is_lost_answer = (
        request.checkpoint == peer.checkpoint_before and request.next_checkpoint == peer.checkpoint
    )
    # Both sides have none before the first initialise, and after another protocol was spoken.
    is_known = bool(request.checkpoint) and (is_last or is_begun or is_lost_answer)
    sequence = session.get_one(ChangeSequence, 1, populate_existing=True)
    cursors = _cursors(request)
    followed = [cursors[Stream.CENTRAL], cursors[Stream.ADDRESSED]]
    # The answer to its BEGIN named the generation that it starts in.
    generation = request.generation if is_begun else peer.generation
    is_same = generation == sequence.generation and _was_offered(peer, followed, sequence.seq)
    # What begins from nothing is told of everything there is, and needs no tombstone.
    needs_tombstones = request.mode is Mode.NORMAL or any(request.common.values())
    missed = needs_tombstones and min(followed) < sequence.purged_seq
    if not is_known or not is_same or missed:
        raise _differs(session, peer, is_known)


def _differs(session: Session, peer: Peer, knows_checkpoint: bool) -> SyncRefusal:
    """Return the refusal that tells a satellite what it needs to find the common past."""
    sequence = session.get_one(ChangeSequence, 1)
    disagreement = Disagreement(
        sequence.generation,
        last_numbers(session, _MOST_GENERATIONS),
        {Stream.CENTRAL: peer.central_offered, Stream.ADDRESSED: peer.addressed_offered},
        sequence.purged_seq,
        knows_checkpoint,
    )
    return SyncRefusal("history_differs", **disagreement.to_json())


def _roll(session: Session, peer: Peer, request: Request) -> None:
    peer.checkpoint_before, peer.checkpoint = request.checkpoint, request.next_checkpoint
    if request.checkpoint == peer.checkpoint_begun:
        peer.checkpoint_begun = ""
        peer.generation = session.get_one(ChangeSequence, 1).generation


def _note_offered(peer: Peer, cursors: Cursors) -> None:
    peer.central_offered = max(peer.central_offered, cursors[Stream.CENTRAL])
    peer.addressed_offered = max(peer.addressed_offered, cursors[Stream.ADDRESSED])


def _note_initialise(
    session: Session, server: Server, peer: Peer, request: Request, initialises: int
) -> None:
    """Note whose initialise goes on, and that it does."""
    begins = request.checkpoint == peer.checkpoint_begun
    if begins and not any(_cursors(request).values()):
        check_room(session, peer, initialises)
        peer.initialising_at = clock.now()
    elif peer.initialising_at is not None:
        peer.initialising_at = clock.now()
    if request.own is not None:
        claim(server, peer, *request.own)


def _push(session: Session, server: Server, peer: Peer, request: Request) -> Outcome:
    rule = pushed_by(server.sync_id, server_lookup(session))
    if request.start:
        retry_quarantined(session, server.sync_id, rule)
    if not request.records:
        return Outcome()
    outcome = apply_or_quarantine(session, server.sync_id, request.records, rule)
    if outcome.outdated:
        # It lost what it pushed before: it is to get that back, and not to be told that all is
        # well. A late repeat hears the same, and nobody listens.
        raise _differs(session, peer, knows_checkpoint=False)
    return outcome


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
        page = _page(session, server.sync_id, stream, cursors[stream], room, size)
        records[stream], cursors[stream] = list(page.records), page.cursor
        if page.more:
            return records, cursors, stream
        room -= len(page.records)
        size += page.size_bytes
    return records, cursors, None


def _page(
    session: Session, sync_id: int, stream: Stream, cursor: int, room: int, used_bytes: int
) -> change_feed.Page:
    left = room, change_feed.LARGEST_BATCH_BYTES - used_bytes
    match stream:
        case Stream.RESTORE:
            return change_feed.owned(session, sync_id, cursor, *left)
        case Stream.CENTRAL:
            return change_feed.central(session, cursor, *left)
        case Stream.ADDRESSED:
            return change_feed.addressed(session, sync_id, cursor, *left)


def _find_doubted(
    session: Session, sync_id: int, keys: Sequence[Key]
) -> tuple[int, Sequence[Record]]:
    """Return how many of ``keys``, from the first, are answered, and what there is of them.

    Only what satellite ``sync_id`` may have: central data, what is addressed to it, its own.
    """
    for_it = or_(change_feed.central_records(), Record.to == sync_id, Record.owner == sync_id)
    answered, size = 0, 0
    found: list[Record] = []
    while answered < len(keys) and size < _ENOUGH_BYTES:
        some = keys[answered : answered + _KEYS_AT_ONCE]
        query = select(Record).where(for_it, keys_in(session, some))
        records = session.scalars(query.order_by(Record.seq)).all()
        found += records
        answered += len(some)
        size += sum(record.size for record in records)
    return answered, sorted(found, key=lambda record: record.seq)


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


def _refuse(refusal: SyncRefusal, headers: Mapping[str, str]) -> Reply:
    error = {"error": {"code": refusal.code, "data": refusal.values or None}}
    return _reply(refusal.status, write_body(error, headers.get("Accept-Encoding", "")))


def _reply(status: int, body: Body) -> Reply:
    encoding = {"Content-Encoding": body.encoding} if body.encoding else {}
    return Reply(status, encoding, body.content)
