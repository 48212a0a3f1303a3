"""The meter of a link, and the automatic size of batches that follows from it.

The meter tells the round trip apart from the throughput (PROTOCOL.md, *When*).
"""

import time
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, linear_regression, pstdev

from panel.models.base import LARGEST_REQUEST
from panel.sync.protocol.body_codec import LARGEST_BODY_BYTES

# The aim for one batch: short enough to stop after it, long enough to use the line well.
BATCH_SECONDS = 5.0
# No message is cut to less, and no part of one is smaller: its headers are a tenth of this.
SMALLEST_BYTES = 4 * 1024
_FIRST = 100
# In smaller batches the cost of an exchange would be taken for the cost of its records.
_FEWEST_MEASURED = 10
_FIRST_BYTES = 64 * 1024
_TELLING_BYTES = 128 * 1024
# However quick a batch was, the next one is at most this many times as large.
_MOST_GROWTH = 8
_QUICKEST, _SLOWEST = BATCH_SECONDS / LARGEST_REQUEST, BATCH_SECONDS
_QUICKEST_BYTE, _SLOWEST_BYTE = BATCH_SECONDS / LARGEST_BODY_BYTES, BATCH_SECONDS / SMALLEST_BYTES
# The weight of the latest batch in the average: with less, batches grow too slowly.
_LATEST = 0.75


def batch_size(wanted: int | None, seconds_per_record: float | None) -> int:
    """Return how many records the next batch may have; ``wanted`` is the most, None automatic."""
    if seconds_per_record is None:
        return wanted or _FIRST
    fitting = int(BATCH_SECONDS / max(seconds_per_record, _QUICKEST))
    return min(max(fitting, 1), wanted or LARGEST_REQUEST)


def batch_bytes(seconds_per_byte: float | None, largest: int | None) -> int:
    """Return how many bytes the next batch may have on the wire, but for a single record.

    ``largest`` is what the line carries at once, as far as that is known.
    """
    fitting = LARGEST_BODY_BYTES
    if seconds_per_byte is not None:
        fitting = int(BATCH_SECONDS / max(seconds_per_byte, _QUICKEST_BYTE))
    return max(min(fitting, largest or LARGEST_BODY_BYTES), SMALLEST_BYTES)


def measure(
    before: float | None, allowed: int, records: int, carrying_seconds: float
) -> float | None:
    """Return the average seconds per record, with a batch of ``records`` taken into it.

    ``before`` is the average so far. ``allowed`` is how many records the batch could have had, and
    ``carrying_seconds`` the time it took without the round trip. A batch with less than half of
    what it could have had counts only if it was slow all the same.
    """
    is_slow = carrying_seconds >= BATCH_SECONDS
    fewest = min(_FEWEST_MEASURED, batch_size(None, before))
    if records < fewest or (2 * records < allowed and not is_slow):
        return before
    return _averaged(before, records, carrying_seconds, (_QUICKEST, _SLOWEST))


def measure_bytes(
    before: float | None, carried_bytes: int, carrying_seconds: float
) -> float | None:
    """Return the average seconds per byte, with a batch of ``carried_bytes`` taken into it.

    What is left out is as in :func:`measure`.
    """
    allowed = _FIRST_BYTES if before is None else batch_bytes(before, None)
    is_slow = carrying_seconds >= BATCH_SECONDS
    if carried_bytes < SMALLEST_BYTES or (2 * carried_bytes < allowed and not is_slow):
        return before
    return _averaged(before, carried_bytes, carrying_seconds, (_QUICKEST_BYTE, _SLOWEST_BYTE))


def measure_broken(before: float | None, records: int = 0) -> float:
    """Return twice the seconds per record, after a batch that was cut off, timed out or refused.

    The next batch is half as large, and has at most half of ``records``, which were in this one;
    0 if that is not known.
    """
    doubled = 2 * max(before or BATCH_SECONDS / _FIRST, _QUICKEST)
    if records:
        doubled = max(doubled, 2 * BATCH_SECONDS / records)
    return min(doubled, _SLOWEST)


def halved(largest: int | None, tried_bytes: int, *, is_refused: bool = False) -> int | None:
    """Return the most bytes at once, after a message of ``tried_bytes`` did not get through.

    A line that broke may have done so for other reasons than what was on it: a small message is
    taken for one of :data:`_TELLING_BYTES`. ``is_refused``: it was too large for certain.
    """
    if tried_bytes <= SMALLEST_BYTES:
        return largest
    tried_bytes = tried_bytes if is_refused else max(tried_bytes, _TELLING_BYTES)
    return max(min(tried_bytes, largest or LARGEST_BODY_BYTES) // 2, SMALLEST_BYTES)


def grown(largest: int | None, carried_bytes: int) -> int | None:
    """Return the most bytes at once, after a message of ``carried_bytes`` got through.

    A quarter more if it had half of them; None once no message can have more.
    """
    if largest is None or 2 * carried_bytes < largest:
        return largest
    return _bounded(largest + largest // 4)


def doubled(largest: int | None) -> int | None:
    """Return the most bytes at once, after a run that met no fault."""
    return None if largest is None else _bounded(2 * largest)


def _bounded(largest: int) -> int | None:
    return largest if largest < LARGEST_BODY_BYTES else None


def _averaged(
    before: float | None, amount: int, carrying_seconds: float, bounds: tuple[float, float]
) -> float:
    latest = max(carrying_seconds, BATCH_SECONDS / _MOST_GROWTH) / amount
    known = latest if before is None else before + _LATEST * (latest - before)
    quickest, slowest = bounds
    return min(max(known, quickest), slowest)


# A request that only pulls is smaller; one that pushes ten records, and is measured, is larger.
_LITTLE_ASKED_BYTES = 256
# The answer to a push is smaller unless it brings records.
_ACKNOWLEDGED_BYTES = 1_024
_REMEMBERED = 8
# Of the mean: the line is not drawn through pushes whose sizes differ by less.
_LEAST_SPREAD = 0.1
# Of the last push: the round trip is at most this share of its seconds.
_LARGEST_SHARE = 0.5


@dataclass(frozen=True)
class _Push:
    size_bytes: int
    seconds: float


@dataclass
class Meter:
    """Bytes with headers but without TLS, and the round trip of a connection."""

    bytes_up: int = 0
    bytes_down: int = 0
    # What an empty exchange takes.
    round_trip_seconds: float = 0.0
    # When the present connection and its TLS were established, by the monotonic clock.
    connected_at: float = 0.0
    # When the line last moved, by the monotonic clock; None while nothing is waited for.
    moved_at: float | None = None
    # What the TCP connection took, to the primary or to a proxy.
    connect_seconds: float = 0.0
    _soonest_answer_seconds: float | None = None
    _pushes: deque[_Push] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def silent_seconds(self) -> float:
        """Return for how long nothing has moved; 0 while nothing is waited for."""
        return 0.0 if self.moved_at is None else time.monotonic() - self.moved_at

    def take_bytes(self) -> tuple[int, int]:
        """Return the bytes up and down since the last call."""
        taken = self.bytes_up, self.bytes_down
        self.bytes_up = self.bytes_down = 0
        return taken

    def note_connected(self, seconds: float) -> None:
        """Record how long the TCP connection took."""
        self.connect_seconds = seconds
        self.round_trip_seconds = max(seconds, self._soonest_answer_seconds or 0.0)

    def note_answer(self, bytes_up: int, seconds: float) -> None:
        """Record how long the first byte of the answer to a request of ``bytes_up`` took."""
        if bytes_up > _LITTLE_ASKED_BYTES:
            return
        if self._soonest_answer_seconds is None or seconds < self._soonest_answer_seconds:
            self._soonest_answer_seconds = seconds
            self.round_trip_seconds = max(seconds, self.connect_seconds)

    def note_push(self, bytes_up: int, bytes_down: int, seconds: float) -> None:
        """Record what an exchange took that was not the first of its connection."""
        if self._soonest_answer_seconds is not None or bytes_down > _ACKNOWLEDGED_BYTES:
            return
        self._pushes.append(_Push(bytes_up, seconds))
        sizes = [push.size_bytes for push in self._pushes]
        if pstdev(sizes) > _LEAST_SPREAD * fmean(sizes):
            line = linear_regression(sizes, [push.seconds for push in self._pushes])
            reckoned = min(line.intercept, seconds * _LARGEST_SHARE)
            self.round_trip_seconds = max(reckoned, self.connect_seconds)
