"""The records that are too large for the line: as bytes, and what arrived of them so far."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from panel import clock
from panel.models.records import Part
from panel.sync.protocol import batch_codec
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.body_codec import (
    MOST_ELEMENTS,
    Body,
    Turn,
    count_marks,
    is_readable,
    read_body,
    write_brotli,
)
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import LARGEST_PART_BYTES, LargeRecord

_DIGEST_LENGTH = 32
# Once it is decompressed.
_LARGEST_PLAIN_BYTES = 2 * LARGEST_PART_BYTES
# Of one record in a batch, beside its fields.
_MOST_MARKS = 20
# Texts of so many bytes are within the bounds of a reader, whatever the batch has around them.
_FEW_BYTES = 4 * 1024 * 1024
KEPT = timedelta(days=1)


def pack(items: Sequence[Item]) -> bytes:
    """Return ``items`` as they are sent: the same records are always the same bytes."""
    return write_brotli(batch_codec.pack(items))


def name_of(content: bytes, item: Item) -> LargeRecord:
    """Return the name of the ``content`` that ``item`` is packed in."""
    return LargeRecord(_digest_of(content), len(content), item.position)


def fitting(items: Sequence[Item], most_bytes: int = 0) -> int:
    """Return how many of ``items`` to try in one message: all if they fit, at least one.

    They fit if a reader takes them and, unless ``most_bytes`` is 0, they pack to no more than that.
    """
    count = len(items)
    if count > 1 and not _are_readable(items):
        return count // 2
    return _packing_to(items, most_bytes) if count > 1 and most_bytes else count


def _packing_to(items: Sequence[Item], most_bytes: int) -> int:
    """Return how many of ``items`` pack to ``most_bytes``, nearly; at least one.

    It packs a few times whatever the items are: a large one before many small ones would else be
    packed again for each of those.
    """
    fits, too_many = 1, len(items) + 1
    trying = len(items)
    while too_many - fits > max(1, fits // 8):
        size_bytes = len(pack(items[:trying]))
        if size_bytes <= most_bytes:
            fits = trying
        else:
            too_many = trying
        guess = trying * most_bytes // size_bytes if trying == len(items) else 0
        trying = guess if fits < guess < too_many else (fits + too_many) // 2
    return fits


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


def take(
    session: Session, source: int, large: LargeRecord, highest_version: int
) -> list[Item] | None:
    """Return the records of a part that is whole, None if it is not; one that is damaged goes.

    It stays until another one begins, or :func:`drop`: its answer may be lost. Raise BadMessage,
    also for a version above ``highest_version``.
    """
    part = session.get(Part, source, populate_existing=True)
    if part is None or part.digest != large.digest or len(part.content) != large.size:
        return None
    if _digest_of(part.content) != large.digest:
        session.delete(part)
        session.flush()
        return None
    with Turn() as turn:
        batch = read_body(Body(part.content, "br"), turn, _LARGEST_PLAIN_BYTES)
        items = batch_codec.unpack(batch, highest_version)
    if len(items) != 1:
        raise BadMessage("a part has one record")
    return items


def drop(session: Session, source: int) -> None:
    """Delete what arrived of a record of ``source``."""
    session.execute(delete(Part).where(Part.source == source))


def drop_old(session: Session) -> None:
    """Delete the parts that nothing was added to for a day."""
    session.execute(delete(Part).where(Part.last_at < clock.now() - KEPT))


def _are_readable(items: Sequence[Item]) -> bool:
    texts = [item.data or "" for item in items]
    # In a batch a field has at most three marks where a record's text has one: of its name, of its
    # value, and of the column around it. This is quick, and enough for most batches.
    values = 3 * sum(map(count_marks, texts)) + _MOST_MARKS * len(texts)
    size_bytes = sum(map(_most_bytes, texts)) + sum(_most_bytes(item.record_id) for item in items)
    if values <= MOST_ELEMENTS * 7 // 8 and size_bytes <= _FEW_BYTES:
        return True
    return is_readable(batch_codec.pack(items))


def _most_bytes(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)


def _digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]
