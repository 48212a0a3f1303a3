"""Compressed bodies: whole ones come out, everything else is refused before it fills the memory."""

import gzip
from collections.abc import Callable

import brotli
import pytest

from panel.sync.protocol.body_codec import Garbled, TooLarge, Turn, UnknownEncoding
from panel.sync.protocol.body_codec import unpack as unpack_in_turn

BODY = b'{"name": "Amoxicillin 250 mg"}' * 10_000


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    with Turn() as turn:
        return unpack_in_turn(body, encoding, limit, turn)


encodings = pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("br", brotli.compress), ("", bytes)]
)
compressed = pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("br", brotli.compress)]
)


@encodings
def test_a_body_comes_out_as_it_went_in(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    assert unpack(pack(BODY), encoding, len(BODY)) == BODY
    assert unpack(pack(b""), encoding, 10) == b""


@encodings
def test_a_body_over_the_limit_is_refused(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TooLarge):
        unpack(pack(BODY), encoding, len(BODY) - 1)


@compressed
def test_a_broken_body_is_refused(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    whole = pack(BODY)
    for broken in (whole[:-3], whole + b"more", b"", b"not compressed at all"):
        with pytest.raises(Garbled):
            unpack(broken, encoding, len(BODY))


def test_an_encoding_that_nobody_agreed_on_is_refused() -> None:
    with pytest.raises(UnknownEncoding):
        unpack(b"", "compress", 10)
