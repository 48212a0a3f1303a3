"""Compressed bodies: undone only as far as a limit, so that a small one cannot fill the memory."""

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli


class TooLarge(Exception):
    """A body is larger than the limit once it is no longer compressed."""


class Garbled(Exception):
    """A body is not what its encoding says, or it ends too early."""


class UnknownEncoding(Exception):
    """A body is in an encoding that is not understood here."""


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
    """Return ``body`` without its ``Content-Encoding`` (``gzip``, ``br``, ``identity`` or empty).

    ``limit`` counts the bytes that come out. Raise :class:`TooLarge` beyond it, :class:`Garbled`
    or :class:`UnknownEncoding`.
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


def _unpack(decoder: _Decoder, body: bytes, limit: int) -> bytes:
    output = bytearray()
    piece = body
    # A step may stop before everything came out; the next one then needs no input.
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
