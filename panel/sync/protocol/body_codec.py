"""The encoding of bodies: JSON, compressed where that makes it shorter."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import brotli

from panel.sync.protocol.json_reader import BadMessage

LARGEST_BODY_BYTES = 16 * 1024 * 1024
# Both sides of our own protocol decode these, and bodies that are not compressed.
ACCEPTED = "br, gzip"
# On batches of stock records 6 to 9 take up to three times as long and save one percent.
_BROTLI_QUALITY = 5
# Of "Content-Encoding: br" and its line end.
_HEADER_BYTES = 22


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
    understood = {part.split(";")[0].strip().lower() for part in accepted.split(",")}
    if "br" in understood:
        packed = Body(_compress(plain), "br")
    elif "gzip" in understood:
        packed = Body(zlib.compress(plain, 6, wbits=zlib.MAX_WBITS | 16), "gzip")
    else:
        return Body(plain)
    return packed if len(packed.content) + _HEADER_BYTES < len(plain) else Body(plain)


def write_brotli(message: dict[str, Any]) -> bytes:
    """Return ``message`` compressed with brotli."""
    return _compress(_encode(message))


def read_body(body: Body, limit: int = LARGEST_BODY_BYTES) -> Any:
    """Return the JSON value of a body of at most ``limit`` bytes once it is decompressed.

    Raise :class:`BadMessage`.
    """
    try:
        text = unpack(body.content, body.encoding, limit).decode()
        return json.loads(text, parse_constant=_refuse_constant)
    except TooLarge as error:
        raise BadMessage(f"larger than {limit} bytes") from error
    except UnknownEncoding as error:
        raise BadMessage(f"in an unknown encoding, {error}") from error
    except (Garbled, ValueError, RecursionError) as error:
        raise BadMessage(f"not JSON: {error}") from error


class TooLarge(Exception):
    """A body is larger than the limit once it is decompressed."""


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


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Return ``body`` decompressed from ``gzip``, ``br``, ``identity`` or ``""``.

    Raise :class:`TooLarge` if that is more than ``limit`` bytes, :class:`Garbled` or
    :class:`UnknownEncoding`.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        _check(len(body), limit)
        return body
    if encoding not in _DECODERS:
        raise UnknownEncoding(encoding)
    decoder = _DECODERS[encoding]()
    try:
        return _unpack(decoder, body, limit)
    except (zlib.error, brotli.error) as error:
        raise Garbled(str(error)) from error


def _encode(message: dict[str, Any]) -> bytes:
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def _compress(plain: bytes) -> bytes:
    packed: bytes = brotli.compress(plain, quality=_BROTLI_QUALITY)
    return packed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _unpack(decoder: _Decoder, body: bytes, limit: int) -> bytes:
    output = bytearray()
    piece = body
    # A step stops at the room it is given; the next one then needs no input.
    while more := decoder.step(piece, limit + 1 - len(output)):
        output += more
        _check(len(output), limit)
        piece = b""
    if not decoder.is_whole():
        raise Garbled("it ends too early or goes on after its end")
    return bytes(output)


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(limit)
