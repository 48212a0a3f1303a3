"""The records that are too large for the way: as bytes, and what arrived of them so far."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from panel import clock
from panel.models.records import Part
from panel.sync.protocol import batch_codec
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.body_codec import Body, Turn, read_body, write_brotli
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import LARGEST_PART_BYTES, LargeRecord

_DIGEST_LENGTH = 32
# Once it is decompressed.
_LARGEST_PLAIN_BYTES = 2 * LARGEST_PART_BYTES
KEPT = timedelta(days=1)


def pack(items: Sequence[Item]) -> bytes:
    """Return ``items`` as they are sent: the same records are always the same bytes."""
    return write_brotli(batch_codec.pack(items))


def name_of(content: bytes, item: Item) -> LargeRecord:
    """Return the name of the ``content`` that ``item`` is packed in."""
    return LargeRecord(_digest_of(content), len(content), item.position)


def fit(items: list[Item], largest_bytes: int) -> tuple[list[Item], bytes]:
    """Return as many ``items`` as take ``largest_bytes``, at least one, and their bytes."""
    while True:
        content = pack(items)
        if len(content) <= largest_bytes or len(items) == 1:
            return items, content
        items = items[: fewer(len(items), len(content), largest_bytes)]


def fewer(count: int, size_bytes: int, largest_bytes: int) -> int:
    """Return how many of ``count`` records of ``size_bytes`` together may fit, at least one."""
    return max(1, min(count - 1, count * largest_bytes // size_bytes))


def open_part(session: Session, source: int, large: LargeRecord) -> int:
    """Return how many bytes of ``large`` are here; begin it if ``source`` sent another before."""
    part = session.get(Part, source, populate_existing=True)
    if part is None:
        part = Part(source=source)
        session.add(part)
    if (part.digest, part.size) != (large.digest, large.size):
        part.digest, part.size, part.content = large.digest, large.size, b""
        part.last_at = clock.now()
    return len(part.content)


def append(session: Session, source: int, digest: str, at: int, piece: bytes) -> int | None:
    """Add ``piece`` if it goes on where the part ends; return how many bytes are here then.

    What arrives again changes nothing. Return None if another part is open, or none.
    """
    part = session.get(Part, source, populate_existing=True)
    if part is None or part.digest != digest:
        return None
    if at == len(part.content) and at + len(piece) <= part.size:
        part.content, part.last_at = part.content + piece, clock.now()
    return len(part.content)


def take(session: Session, source: int, large: LargeRecord) -> list[Item] | None:
    """Return the records of a part that is whole, None if it is not; one that is damaged goes.

    It stays until another one begins, or :func:`drop`: its answer may be lost. Raise BadMessage.
    """
    part = session.get(Part, source, populate_existing=True)
    if part is None or part.digest != large.digest or len(part.content) != large.size:
        return None
    if _digest_of(part.content) != large.digest:
        session.delete(part)
        session.flush()
        return None
    return unpack(part.content)


def unpack(content: bytes) -> list[Item]:
    """Return the one record of a part's ``content``. Raise BadMessage."""
    with Turn() as turn:
        items = batch_codec.unpack(read_body(Body(content, "br"), turn, _LARGEST_PLAIN_BYTES))
    if len(items) != 1:
        raise BadMessage("a part has one record")
    return items


def drop(session: Session, source: int) -> None:
    """Delete what arrived of a record of ``source``."""
    session.execute(delete(Part).where(Part.source == source))


def drop_old(session: Session) -> None:
    """Delete the parts that nothing was added to for a day."""
    session.execute(delete(Part).where(Part.last_at < clock.now() - KEPT))


def _digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]
