"""What went over a line: its bytes, and how much of an exchange is the way and not what it carried.

The time to connect says how far away the primary is, unless something in between answers for it (a
proxy, a satellite modem). So does the time to the first byte of an answer, where little was asked;
and what pushes of different sizes took, since nobody sees when the last byte of one has arrived.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, linear_regression, pstdev

# A request that only pulls has less; one that pushes ten records, and so is measured, has more.
_LITTLE_ASKED_BYTES = 256
# The answer to a push has less unless it brings records.
_ACKNOWLEDGED_BYTES = 1_024
_REMEMBERED = 8
# Of their mean; pushes whose sizes differ by less say little about what a byte takes.
_LEAST_SPREAD = 0.1
# Of the last push: what is reckoned from others never explains more of it.
_LARGEST_SHARE = 0.5


@dataclass(frozen=True)
class _Push:
    size_bytes: int
    seconds: float


@dataclass
class Meter:
    """What went over the line: bytes with headers but without TLS, and how far away it is."""

    bytes_up: int = 0
    bytes_down: int = 0
    # What an exchange takes that carries nothing.
    round_trip_seconds: float = 0.0
    # By the monotonic clock: when the present connection, and its TLS, stood.
    connected_at: float = 0.0
    # Until the other side, or what stands before it, answered for the first time.
    connect_seconds: float = 0.0
    _soonest_answer_seconds: float | None = None
    _pushes: deque[_Push] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def take_bytes(self) -> tuple[int, int]:
        """Return the bytes up and down since the last time this was asked."""
        taken = self.bytes_up, self.bytes_down
        self.bytes_up = self.bytes_down = 0
        return taken

    def note_connected(self, seconds: float) -> None:
        """Note how long it took until the other side answered for the first time."""
        self.connect_seconds = seconds
        self.round_trip_seconds = max(seconds, self._soonest_answer_seconds or 0.0)

    def note_answer(self, bytes_up: int, seconds: float) -> None:
        """Note how long the first byte of an answer took, after a request of ``bytes_up``."""
        if bytes_up > _LITTLE_ASKED_BYTES:
            return
        if self._soonest_answer_seconds is None or seconds < self._soonest_answer_seconds:
            self._soonest_answer_seconds = seconds
            self.round_trip_seconds = max(seconds, self.connect_seconds)

    def note_push(self, bytes_up: int, bytes_down: int, seconds: float) -> None:
        """Learn from what a whole exchange took, over a connection that had been used before."""
        if self._soonest_answer_seconds is not None or bytes_down > _ACKNOWLEDGED_BYTES:
            return
        self._pushes.append(_Push(bytes_up, seconds))
        sizes = [push.size_bytes for push in self._pushes]
        if pstdev(sizes) > _LEAST_SPREAD * fmean(sizes):
            line = linear_regression(sizes, [push.seconds for push in self._pushes])
            reckoned = min(line.intercept, seconds * _LARGEST_SHARE)
            self.round_trip_seconds = max(reckoned, self.connect_seconds)
