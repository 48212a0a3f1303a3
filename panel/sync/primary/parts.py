"""The primary's side of records that go in parts (PROTOCOL.md, *Parts*)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.activity.log import Actor
from panel.db import Database
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Key, Record
from panel.models.settings import Server
from panel.sync.primary import admission
from panel.sync.primary.authentication import Authenticator, read_authorization
from panel.sync.primary.idle import Device
from panel.sync.protocol.batch_codec import Item, item_of
from panel.sync.protocol.column_codec import HIGHEST_NUMBER, HIGHEST_PUSHED_VERSION
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import (
    LARGEST_PART_BYTES,
    VERSION,
    Cursors,
    LargeRecord,
    Request,
    Stream,
)
from panel.sync.store import inbox, parts

Records = dict[Stream, list[Record]]


@dataclass(frozen=True)
class PartCall:
    """A call for a part: its digest and the query of the URL."""

    digest: str
    query: Mapping[str, str]

    def number(self, name: str, highest: int) -> int:
        """Return a number of the query. Raise SyncRefusal."""
        text = self.query.get(name, "")
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(HIGHEST_NUMBER))
        if not is_number or int(text) > highest:
            raise SyncRefusal("bad_request", what=name)
        return int(text)


@dataclass(frozen=True)
class Part:
    """The service of parts: who calls is checked before anything of a body is read."""

    database: Database
    authenticator: Authenticator
    headers: Mapping[str, str]
    address: str

    def send(self, call: PartCall) -> bytes:
        """Return a piece of a record for the caller. Raise SyncRefusal."""
        position = call.number("position", HIGHEST_NUMBER)
        at, length = (
            call.number("at", LARGEST_PART_BYTES),
            call.number("length", LARGEST_PART_BYTES),
        )
        device = self._prove()
        with self.database.reading() as session:
            admission.check_open(session)
            record = session.scalar(select(Record).where(Record.seq == position))
            if record is None or not _is_for(device, record):
                raise SyncRefusal("part_ended")
            item = item_of(record)
        content = parts.pack([item])
        if parts.name_of(content, item).digest != call.digest:
            raise SyncRefusal("part_ended")
        return content[at : at + length]

    def receive(self, call: PartCall, read_content: Callable[[], bytes]) -> bytes:
        """Keep a piece of a record of the caller, and return the answer. Raise SyncRefusal."""
        at = call.number("at", LARGEST_PART_BYTES)
        device = self._prove()
        caller = admission.Caller(device.id, None, device.token_hash)
        piece = read_content()
        with self.database.writing() as session:
            server, _, _ = admission.admit(session, caller, Actor("", self.address, "sync"))
            have = parts.append(session, server.sync_id, call.digest, at, piece)
        if have is None:
            raise SyncRefusal("part_ended")
        return json.dumps({"version": VERSION, "have": have}, separators=(",", ":")).encode()

    def _prove(self) -> Device:
        credentials = read_authorization(self.headers.get("Authorization", ""))
        proof = admission.prove(self.database, self.authenticator, credentials, self.address)
        if proof.device is None:
            # An exchange with the password brings a token.
            raise SyncRefusal("device_token_ended")
        return proof.device


def complete(session: Session, server: Server, request: Request) -> tuple[Request, int | None]:
    """Return ``request`` with the record that it names as a part.

    If the part is not whole, return how many bytes of it are here as well. Raise SyncRefusal.
    """
    large = request.large
    if large is None:
        if request.records:
            parts.drop(session, server.sync_id)
        return request, None
    have = parts.open_part(session, server.sync_id, large)
    if have < large.size:
        return request, have
    try:
        items = parts.take(session, server.sync_id, large, HIGHEST_PUSHED_VERSION)
    except BadMessage as error:
        raise SyncRefusal("bad_request", what=str(error)) from error
    if items is None:
        return request, parts.open_part(session, server.sync_id, large)
    return replace(request, records=items), None


Pull = Callable[[Request], tuple[Records, Cursors, Stream | None]]


def pull_fitting(
    pull: Pull, request: Request
) -> tuple[Records, Cursors, Stream | None, LargeRecord | None]:
    """Return what ``pull`` does, cut to what the reader takes and the line of ``request`` carries.

    A record that has more than the line carries by itself is left out, and its name returned.
    """
    while True:
        records, cursors, more = pull(request)
        items = [item_of(record) for some in records.values() for record in some]
        count = parts.fitting(items, request.most_bytes)
        if count < len(items):
            request = replace(request, limit=count)
            continue
        content = _too_large(items, request.most_bytes)
        if not content:
            return records, cursors, more, None
        stream = next(stream for stream, some in records.items() if some)
        cursors[stream] = request.cursors.get(stream, 0)
        return {}, cursors, stream, replace(parts.name_of(content, items[0]), stream=stream)


def with_large(cursors: Cursors, large: LargeRecord | None) -> Cursors:
    """Return how far a satellite is that got the answer and the record that it names."""
    if large is None or large.stream is None:
        return cursors
    return {**cursors, large.stream: large.position}


Find = Callable[[Sequence[Key]], tuple[int, Sequence[Record]]]


def find_fitting(
    find: Find, request: Request, more: Stream | None, sync_id: int
) -> tuple[int, Sequence[Record], LargeRecord | None]:
    """Return what ``find`` says of the keys in doubt, cut to the bytes that the line carries.

    A record that has more by itself is left out, and its name returned. Where streams have ``more``
    the keys wait.
    """
    if request.most_bytes and more is not None:
        return 0, [], None
    keys = request.doubts
    while True:
        answered, found = find(keys)
        items = [item_of(record) for record in found]
        if parts.fitting(items, request.most_bytes) < len(items):
            # Halved, since the records are not in the order of the keys.
            keys = keys[: max(1, answered // 2)]
            continue
        content = _too_large(items, request.most_bytes)
        if not content:
            return answered, found, None
        if answered == 1:
            stream = inbox.stream_of(items[0], sync_id)
            return 0, [], replace(parts.name_of(content, items[0]), stream=stream)
        keys = keys[: answered // 2]


def _too_large(items: Sequence[Item], most_bytes: int) -> bytes:
    """Return the bytes of a single record if they are too many for the line."""
    content = parts.pack(items) if most_bytes and len(items) == 1 else b""
    return content if len(content) > most_bytes else b""


def _is_for(device: Device, record: Record) -> bool:
    is_central = record.owner == PRIMARY_SYNC_ID and record.to is None
    return is_central or device.sync_id in (record.to, record.owner)
