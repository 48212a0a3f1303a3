"""The encoding of bodies: JSON, compressed where that makes it shorter."""

import re
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import brotli

from panel.errors import Refusal
from panel.sync.protocol.json_reader import BadMessage, dump_json, load_json

LARGEST_BODY_BYTES = 16 * 1024 * 1024
# Python keeps a text with one character beyond U+FFFF in four bytes a character.
LARGEST_TEXT_BYTES = 32 * 1024 * 1024
# With such a character in it, and an eighth to spare.
_LARGEST_ANYWAY_BYTES = LARGEST_TEXT_BYTES // 4 * 7 // 8
# Values of a JSON text: each takes up to 160 bytes once it is parsed. The largest honest message,
# 5 000 records of 60 fields, has 300 000.
MOST_ELEMENTS = 400_000
# Above it one body is decoded at a time.
LARGE_BYTES = 256 * 1024
# Both sides of our own protocol decode these, and bodies that are not compressed.
ACCEPTED = "br, gzip"
# On batches of stock records 6 to 9 take up to three times as long and save one percent.
_BROTLI_QUALITY = 5
# Of "Content-Encoding: br" and its line end.
_HEADER_BYTES = 22
# A text is searched in pieces, which bounds the memory that the search takes.
_PIECE = 64 * 1024
_MOST_DIGITS = 20
_FIRST_BYTE_OF_FOUR = re.compile(rb"[\xf0-\xff]")


@dataclass(frozen=True)
class Body:
    """The bytes of a body, and its ``Content-Encoding`` ("" for none)."""

    content: bytes
    encoding: str = ""


def write_body(message: dict[str, Any], accepted: str = ACCEPTED) -> Body:
    """Return ``message`` as a body, compressed with the best encoding of ``accepted``.

    ``accepted`` is the reader's ``Accept-Encoding``. The body is plain where that is not longer.
    """
    plain = _encode(message)
    if len(plain) <= _HEADER_BYTES:
        return Body(plain)
    understood = {part.split(";")[0].strip().lower() for part in accepted.split(",")}
    if "br" in understood:
        packed = Body(_compress(plain), "br")
    elif "gzip" in understood:
        packed = Body(zlib.compress(plain, 6, wbits=zlib.MAX_WBITS | 16), "gzip")
    else:
        return Body(plain)
    return packed if len(packed.content) + _HEADER_BYTES < len(plain) else Body(plain)


class Turn:
    """The right to decode a large body, which one thread of this process has at a time.

    ``with Turn() as turn`` gives it back at the end, where it was taken.
    """

    _lock = threading.Lock()

    def __init__(self) -> None:
        self._is_taken = False

    def take(self) -> None:
        """Wait until no other thread has it."""
        if not self._is_taken:
            self._lock.acquire()
            self._is_taken = True

    def take_for(self, size_bytes: int) -> None:
        """Take it if that many bytes are a large body."""
        if size_bytes > LARGE_BYTES:
            self.take()

    def give_back(self) -> None:
        """Let the next one have it."""
        if self._is_taken:
            self._is_taken = False
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()


def announced_bytes(content_length: str) -> int:
    """Return the number in a ``Content-Length`` header, 0 where there is none."""
    is_number = content_length.isascii() and content_length.isdigit()
    return int(content_length) if is_number and len(content_length) < _MOST_DIGITS else 0


def write_brotli(message: dict[str, Any]) -> bytes:
    """Return ``message`` compressed with brotli."""
    return _compress(_encode(message))


def is_readable(message: dict[str, Any]) -> bool:
    """Say whether a reader takes ``message``, with an eighth of its bounds left for more."""
    plain = _encode(message)
    if len(plain) > _LARGEST_ANYWAY_BYTES:
        is_wide = _FIRST_BYTE_OF_FOUR.search(plain) is not None
        if is_wide or len(plain) > LARGEST_BODY_BYTES * 7 // 8:
            return False
    try:
        check_elements(plain.decode(), MOST_ELEMENTS * 7 // 8)
    except TooManyElements:
        return False
    return True


def read_body(body: Body, turn: Turn, limit: int = LARGEST_BODY_BYTES) -> Any:
    """Return the JSON value of a body of at most ``limit`` bytes once it is decompressed.

    For a large one ``turn`` is taken. Raise :class:`BadMessage`.
    """
    try:
        text = decode_json_text(unpack(body.content, body.encoding, limit, turn))
        return load_json(text, constants=False)
    except TooManyElements as error:
        raise BadMessage(f"more than {MOST_ELEMENTS} values") from error
    except TooLarge as error:
        raise BadMessage(f"larger than {limit} bytes") from error
    except UnknownEncoding as error:
        raise BadMessage(f"in an unknown encoding, {error}") from error
    except (Garbled, Refusal, ValueError, RecursionError) as error:
        raise BadMessage(f"not JSON: {error}") from error


class TooLarge(Exception):
    """A body is larger than the limit once it is decompressed."""


class TooManyElements(Exception):
    """A JSON text has more values than a message needs."""


class Garbled(Exception):
    """A body is damaged, or it ends too early."""


class UnknownEncoding(Exception):
    """A body is in an encoding that is not supported."""


class _Decoder(Protocol):
    def step(self, piece: bytes, room: int) -> bytes: ...

    def is_whole(self) -> bool: ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def step(self, piece: bytes, room: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + piece, room)

    def is_whole(self) -> bool:
        return self._stream.eof and not self._stream.unused_data


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def step(self, piece: bytes, room: int) -> bytes:
        output: bytes = self._stream.process(piece, output_buffer_limit=room)
        return output

    def is_whole(self) -> bool:
        whole: bool = self._stream.is_finished()
        return whole


_DECODERS: dict[str, Callable[[], _Decoder]] = {"gzip": _Gzip, "br": _Brotli}


def decode_json_text(content: bytes) -> str:
    """Return the JSON text that ``content`` is in UTF-8, checked before it is parsed.

    Raise :class:`TooLarge`, :class:`TooManyElements`, or ValueError if it is not UTF-8.
    """
    if 4 * len(content) > LARGEST_TEXT_BYTES and _FIRST_BYTE_OF_FOUR.search(content):
        raise TooLarge(LARGEST_TEXT_BYTES // 4)
    text = content.decode()
    check_elements(text)
    return text


def check_elements(text: str, most: int | None = None) -> None:
    """Raise :class:`TooManyElements` if a JSON text has more than ``most`` values.

    ``most`` is :data:`MOST_ELEMENTS` by default.

    Each value but the first follows a bracket or a comma. They are counted before the parser
    takes memory for them.
    """
    # What stands in strings is counted too, which is quick and enough for most texts.
    most = MOST_ELEMENTS if most is None else most
    if count_marks(text) <= most:
        return
    # No quote is left in a string then. Outside one a backslash ends the parsing.
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    count, is_inside = 0, False
    for start in range(0, len(text), _PIECE):
        parts = text[start : start + _PIECE].split('"')
        count += count_marks("".join(parts[is_inside::2]))
        if count > most:
            raise TooManyElements
        is_inside ^= len(parts) % 2 == 0


def count_marks(text: str) -> int:
    """Return how many values a JSON text has at most: its brackets and commas, in strings too."""
    return text.count("[") + text.count("{") + text.count(",")


def unpack(body: bytes, encoding: str, limit: int, turn: Turn) -> bytes:
    """Return ``body`` decompressed from ``gzip``, ``br``, ``identity`` or ``""``.

    ``turn`` is taken for a large one. Raise :class:`TooLarge` if that is more than ``limit`` bytes,
    :class:`Garbled` or :class:`UnknownEncoding`.
    """
    encoding = encoding.strip().lower()
    turn.take_for(len(body))
    if encoding in ("", "identity"):
        _check(len(body), limit)
        return body
    if encoding not in _DECODERS:
        raise UnknownEncoding(encoding)
    decoder = _DECODERS[encoding]()
    try:
        return _unpack(decoder, body, limit, turn)
    except (zlib.error, brotli.error) as error:
        raise Garbled(str(error)) from error


def _encode(message: dict[str, Any]) -> bytes:
    return dump_json(message).encode()


def _compress(plain: bytes) -> bytes:
    packed: bytes = brotli.compress(plain, quality=_BROTLI_QUALITY)
    return packed


def _unpack(decoder: _Decoder, body: bytes, limit: int, turn: Turn) -> bytes:
    output = bytearray()
    piece = body
    # A step stops at the room it is given; the next one then needs no input.
    while more := decoder.step(piece, min(limit - len(output), LARGE_BYTES) + 1):
        output += more
        _check(len(output), limit)
        turn.take_for(len(output))
        piece = b""
    if not decoder.is_whole():
        raise Garbled("it ends too early or goes on after its end")
    return bytes(output)


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(limit)
