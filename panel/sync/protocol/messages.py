"""The two messages of an exchange, a satellite's request and a primary's answer (PROTOCOL.md)."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from panel.models.base import HIGHEST_SYNC_ID, NAME_LENGTH, STORE_LENGTH
from panel.models.records import GENERATION_LENGTH, Key
from panel.sync.protocol import batch_codec
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.column_codec import HIGHEST_NUMBER, HIGHEST_PUSHED_VERSION, HIGHEST_VERSION
from panel.sync.protocol.json_reader import BadMessage, JsonObject, is_plain, presentable, whole

VERSION = 1
OLDEST_VERSION = 1
HARDWARE_ID_LENGTH, APP_VERSION_LENGTH, CHECKPOINT_LENGTH, TOKEN_LENGTH = 64, 40, 12, 100
_DIGEST_BYTES = 12
# Seconds of which a clock may be wrong: it fits the column.
_LONGEST_CLOCK = 2**31 - 1
# Of a record that goes in parts, compressed, with its names.
LARGEST_PART_BYTES = 2 * 1024 * 1024
_PART_DIGEST = 32
# 64 random bits, which never repeat, in 11 characters of every exchange.
CHECKPOINT_BYTES = 8
# Records that wait: more than anybody has, and it fits the columns of runs, with what moved.
MOST_WAITING = 10**9
# Keys that one request may ask for.
MOST_DOUBTS = 1_000


class Mode(StrEnum):
    """The purpose of an exchange."""

    NORMAL = "normal"
    # Asks for the checkpoint that an initialise starts from; moves no records.
    BEGIN = "begin"
    INITIALISE = "initialise"
    # The connection test: neither side saves anything.
    TEST = "test"


class Stream(StrEnum):
    """The streams that a satellite pulls, in this order; RESTORE only in an initialise."""

    RESTORE = "restore"
    CENTRAL = "central"
    ADDRESSED = "addressed"


Cursors = dict[Stream, int]
Generations = tuple[str, str]


@dataclass(frozen=True)
class Identity:
    """Who a satellite is, and who it takes its primary to be (PROTOCOL.md, *Who calls*)."""

    sync_id: int
    name: str
    store: str
    hardware_id: str
    app_version: str
    primary_name: str
    primary_store: str

    def digest(self) -> str:
        """Return the 16 characters that are sent instead once the primary knows the identity."""
        text = json.dumps(list(vars(self).values()), separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]
        return base64.urlsafe_b64encode(digest).decode()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that is sent."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: Any) -> "Identity":
        """Return the identity that a JSON value is. Raise BadMessage."""
        fields = JsonObject(value)
        return cls(
            fields.whole("sync_id", 1, HIGHEST_SYNC_ID),
            fields.text("name", NAME_LENGTH),
            fields.text("store", STORE_LENGTH),
            fields.text("hardware_id", HARDWARE_ID_LENGTH),
            fields.text("app_version", APP_VERSION_LENGTH),
            fields.text("primary_name", NAME_LENGTH),
            fields.text("primary_store", STORE_LENGTH),
        )


@dataclass(frozen=True)
class LargeRecord:
    """The name of a record that goes in parts (PROTOCOL.md, *Parts*): its bytes' digest and size.

    From the primary also its position and stream.
    """

    digest: str
    size: int
    position: int = 0
    stream: Stream | None = None

    def to_json(self) -> list[Any]:
        """Return the JSON list that is sent."""
        where = [self.position, str(self.stream)] if self.stream else []
        return [self.digest, self.size, *where]

    @classmethod
    def from_json(cls, value: Any) -> "LargeRecord | None":
        """Return the name that a JSON value is, None for none. Raise BadMessage."""
        match value:
            case None:
                return None
            case [str(digest), size, *where] if len(digest) == _PART_DIGEST and digest.isalnum():
                whole(size, 1, LARGEST_PART_BYTES)
            case _:
                raise BadMessage("part: a digest and a size")
        match where:
            case []:
                return cls(digest, size)
            case [position, str(stream)] if stream in set(Stream):
                return cls(digest, size, whole(position, 1, HIGHEST_NUMBER), Stream(stream))
        raise BadMessage("part: a position and a stream")


@dataclass(frozen=True)
class Request:
    """What a satellite sends; ``cursors`` acknowledge every record up to them."""

    # The identity in full, or its digest.
    identity: Identity | str
    mode: Mode = Mode.NORMAL
    # The first exchange of a run: the primary counts the records to pull.
    start: bool = False
    checkpoint: str = ""
    next_checkpoint: str = ""
    cursors: Cursors = field(default_factory=dict)
    # How many records wait to be pushed after this batch.
    waiting: int = 0
    # The largest number of records that the answer may carry.
    limit: int = 0
    records: list[Item] = field(default_factory=list)
    # In an initialise: up to where both sides have the same, in which generation of the primary.
    common: Cursors = field(default_factory=dict)
    generation: str = ""
    # In an initialise: the satellite's own generation, and the one that it took the place of where
    # it cannot say whether that went on elsewhere.
    own: Generations | None = None
    # Keys of records that the primary may not have any more.
    doubts: list[Key] = field(default_factory=list)
    # Tell the generation: the satellite was never told.
    learn: bool = False
    # How many seconds the satellite's clock is ahead of the primary's, 0 once it is right again;
    # told once a day.
    clock_seconds: int | None = None
    # The most bytes of records that the answer may carry, where the line does not carry all; or 0.
    most_bytes: int = 0
    # The name of the one record, if it is not in this request but was sent in parts.
    large: LargeRecord | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that is sent, without empty members."""
        identity = self.identity if isinstance(self.identity, str) else self.identity.to_json()
        message = {
            "about": identity,
            "mode": "" if self.mode is Mode.NORMAL else str(self.mode),
            "start": self.start,
            "point": self.checkpoint,
            "next": self.next_checkpoint,
            "cursors": _pack_cursors(self.cursors),
            "waiting": self.waiting,
            "limit": self.limit,
            "records": batch_codec.pack(self.records) if self.records and not self.large else None,
            "common": _pack_cursors(self.common),
            "generation": self.generation,
            "own": list(self.own) if self.own else None,
            "doubts": _pack_keys(self.doubts),
            "learn": self.learn,
            "bytes": self.most_bytes,
            "part": self.large and self.large.to_json(),
        }
        clock = {} if self.clock_seconds is None else {"clock": self.clock_seconds}
        present = {name: value for name, value in message.items() if value}
        return {"version": VERSION, **present, **clock}

    @classmethod
    def from_json(cls, value: Any) -> "Request":
        """Return the message that a JSON value is. Raise BadMessage."""
        fields = JsonObject(value)
        identity = fields.get("about")
        mode = fields.text("mode", 20, "") or Mode.NORMAL
        if mode not in set(Mode):
            raise BadMessage("mode: not one of those specified")
        return cls(
            identity if isinstance(identity, str) else Identity.from_json(identity),
            Mode(mode),
            fields.flag("start"),
            fields.text("point", CHECKPOINT_LENGTH, ""),
            fields.text("next", CHECKPOINT_LENGTH, ""),
            _unpack_cursors(fields.list("cursors")),
            fields.whole("waiting", 0, MOST_WAITING, 0),
            fields.whole("limit", 0, batch_codec.MOST_RECORDS, 0),
            _unpack_batch(fields.get("records"), HIGHEST_PUSHED_VERSION),
            _unpack_cursors(fields.list("common")),
            fields.text("generation", GENERATION_LENGTH, ""),
            _unpack_generations(fields.list("own")),
            _unpack_keys(fields.list("doubts")),
            fields.flag("learn"),
            clock_seconds=_clock(fields.get("clock")),
            most_bytes=fields.whole("bytes", 0, HIGHEST_NUMBER, 0),
            large=LargeRecord.from_json(fields.get("part")),
        )


@dataclass(frozen=True)
class Refused:
    """A pushed record that the primary quarantined: its position, a code and the code's values."""

    position: int
    reason: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a primary sends back."""

    # Something moved: the proposed checkpoint is the present one now.
    rolled: bool = False
    # Empty where nothing moved.
    cursors: Cursors = field(default_factory=dict)
    records: dict[Stream, list[Item]] = field(default_factory=dict)
    # The first stream that has more; those before it are complete, and all are if it is None.
    more: Stream | None = None
    # In the first exchange of a run: how many records there are to pull.
    to_pull: int = 0
    refused: list[Refused] = field(default_factory=list)
    # A new device token, after a password.
    token: str = ""
    # The answer to BEGIN: the checkpoint that the initialise starts from.
    begun: str = ""
    # To a push: a number of the primary by which it has all that was pushed.
    count: int = 0
    # To BEGIN, and to one who was never told: the primary's generation.
    generation: str = ""
    # To BEGIN: the highest version that the primary has of the satellite's records.
    highest: int = 0
    # To doubts: how many of the keys, from the first, are answered, and what there is of them.
    answered: int = 0
    found: list[Item] = field(default_factory=list)
    # The next record of stream ``more`` is too large for the line: it is to be got in parts.
    large: LargeRecord | None = None
    # The record that the request names did not arrive in full: ``have`` bytes of it did.
    wanted: bool = False
    have: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that is sent, without empty members."""
        message = {
            "rolled": self.rolled,
            "cursors": _pack_cursors(self.cursors),
            **{
                str(stream): batch_codec.pack(items)
                for stream, items in self.records.items()
                if items
            },
            "more": self.more,
            "to_pull": self.to_pull,
            "refused": [[r.position, r.reason, dict(r.values)] for r in self.refused],
            "token": self.token,
            "begun": self.begun,
            "count": self.count,
            "generation": self.generation,
            "highest": self.highest,
            "answered": self.answered,
            "found": batch_codec.pack(self.found) if self.found else None,
            "part": self.large and self.large.to_json(),
            "wanted": self.wanted,
            "have": self.have,
        }
        return {"version": VERSION, **{name: value for name, value in message.items() if value}}

    @classmethod
    def from_json(cls, value: Any) -> "Answer":
        """Return the message that a JSON value is. Raise BadMessage."""
        fields = JsonObject(value)
        whole(fields.get("version"), OLDEST_VERSION, VERSION)
        more = fields.text("more", 20, "")
        if more and more not in set(Stream):
            raise BadMessage("more: not a stream")
        return cls(
            fields.flag("rolled"),
            _unpack_cursors(fields.list("cursors")),
            {stream: _unpack_batch(fields.get(stream)) for stream in Stream if fields.get(stream)},
            Stream(more) if more else None,
            fields.whole("to_pull", 0, MOST_WAITING, 0),
            [_refused(value) for value in fields.list("refused")],
            check_token(fields.text("token", TOKEN_LENGTH, "")),
            fields.text("begun", CHECKPOINT_LENGTH, ""),
            fields.whole("count", 0, HIGHEST_NUMBER, 0),
            fields.text("generation", GENERATION_LENGTH, ""),
            fields.whole("highest", 0, HIGHEST_NUMBER, 0),
            fields.whole("answered", 0, MOST_DOUBTS, 0),
            _unpack_batch(fields.get("found")),
            large=LargeRecord.from_json(fields.get("part")),
            wanted=fields.flag("wanted"),
            have=fields.whole("have", 0, LARGEST_PART_BYTES, 0),
        )


@dataclass(frozen=True)
class Pair:
    """A user name, and the lower-case hex SHA-256 of the password, which the wire carries."""

    user_name: str
    wire_password: str


def _clock(value: Any) -> int | None:
    return None if value is None else whole(value, -_LONGEST_CLOCK, _LONGEST_CLOCK)


def _pack_cursors(cursors: Cursors) -> list[int]:
    # RESTORE is last, and left out outside an initialise.
    names = (Stream.CENTRAL, Stream.ADDRESSED, Stream.RESTORE)
    numbers = [cursors.get(name, 0) for name in names]
    return numbers if numbers[2] else numbers[:2] if any(numbers) else []


def _unpack_cursors(numbers: list[Any]) -> Cursors:
    names = (Stream.CENTRAL, Stream.ADDRESSED, Stream.RESTORE)
    if len(numbers) > len(names):
        raise BadMessage("cursors: too many")
    return {
        name: whole(number, 0, HIGHEST_NUMBER) for name, number in zip(names, numbers, strict=False)
    }


def _pack_keys(keys: list[Key]) -> list[Any]:
    tables: dict[str, list[str]] = {}
    for table, record_id in keys:
        tables.setdefault(table, []).append(record_id)
    return [[table, ids] for table, ids in tables.items()]


def _unpack_keys(groups: list[Any]) -> list[Key]:
    keys: list[Key] = []
    for group in groups:
        match group:
            case [str(table), [*ids]] if all(isinstance(one, str) for one in ids):
                keys += [(table, one) for one in ids]
            case _:
                raise BadMessage("doubts: a table and ids")
        if len(keys) > MOST_DOUBTS:
            raise BadMessage(f"doubts: more than {MOST_DOUBTS} keys")
    if not all(batch_codec.is_key(*key) for key in keys):
        raise BadMessage("doubts: not a key")
    return keys


def _unpack_generations(texts: list[Any]) -> Generations | None:
    match texts:
        case []:
            return None
        case [str(present), str(before)] if _is_generation(present) and _is_generation(before):
            return present, before
    raise BadMessage("own: two generations")


def _is_generation(text: str) -> bool:
    return len(text) <= GENERATION_LENGTH and is_plain(text)


@dataclass(frozen=True)
class Disagreement:
    """Why a primary cannot go on from what a satellite remembers, as it tells it."""

    # The primary's present generation, and the last number of each that it knows.
    generation: str
    history: Mapping[str, int]
    # The highest cursors that it handed to this satellite, as far as it remembers.
    offered: Cursors
    # Tombstones up to here were purged.
    purged: int
    # Whether it knows the satellite's checkpoint, and has nothing newer of what it pushes.
    knows_checkpoint: bool

    def to_json(self) -> dict[str, Any]:
        """Return the values of the refusal."""
        return {
            "generation": self.generation,
            "history": [list(one) for one in self.history.items()],
            "offered": _pack_cursors(self.offered),
            "purged": self.purged,
            "knows_checkpoint": self.knows_checkpoint,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Disagreement":
        """Return the disagreement that the values of a refusal are. Raise BadMessage."""
        fields = JsonObject(value)
        history: dict[str, int] = {}
        for one in fields.list("history"):
            match one:
                case [str(generation), int(last)] if _is_generation(generation):
                    history[generation] = whole(last, 0, HIGHEST_NUMBER)
                case _:
                    raise BadMessage("history: a generation and its last number")
        return cls(
            fields.text("generation", GENERATION_LENGTH),
            history,
            _unpack_cursors(fields.list("offered")),
            fields.whole("purged", 0, HIGHEST_NUMBER, 0),
            fields.flag("knows_checkpoint"),
        )


def _unpack_batch(batch: Any, highest_version: int = HIGHEST_VERSION) -> list[Item]:
    return [] if batch is None else batch_codec.unpack(batch, highest_version)


def check_token(text: str) -> str:
    """Return the device token ``text``. Raise BadMessage if no header takes it."""
    # It goes into a header of every request.
    if not re.fullmatch(r"[!-~]*", text):
        raise BadMessage("token: has other characters than a header takes")
    return text


def _refused(value: Any) -> Refused:
    match value:
        case [int(position), str(reason), dict(values)] if is_plain(reason):
            return Refused(position, reason[:40], presentable(values))
    raise BadMessage("refused: a position, a code and its values")
