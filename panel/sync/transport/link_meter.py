"""The meter of a link: bytes sent and received, and the round trip apart from the throughput.

Connecting takes a round trip, unless a proxy or a modem answers for the primary. So does the first
byte of an answer to a small request. For pushes, whose end is not seen, the round trip is the
intercept of a straight line through the bytes and seconds of the last few (PROTOCOL.md, *When*).
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, linear_regression, pstdev

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
    # What the TCP connection took, to the primary or to a proxy.
    connect_seconds: float = 0.0
    _soonest_answer_seconds: float | None = None
    _pushes: deque[_Push] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

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
