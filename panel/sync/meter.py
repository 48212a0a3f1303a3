"""What went over a line: its bytes, and how much of an exchange is the way and not what it carried.

The time to connect says how far away the primary is, where nothing in between answers for it (a
proxy does, and so may a satellite modem). What exchanges of different sizes took says it as well.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, linear_regression, pstdev

# Less in one direction is no more than heads and an acknowledgement.
_NOTHING_BYTES = 1_024
_REMEMBERED = 8
# Of their mean; sizes that differ by less say little about what a byte takes.
_LEAST_SPREAD = 0.05


@dataclass(frozen=True)
class _Carried:
    size_bytes: int
    seconds: float


def _remembered() -> deque[_Carried]:
    return deque(maxlen=_REMEMBERED)


@dataclass
class Meter:
    """What went over the line: bytes with headers but without TLS, and how far away it is."""

    bytes_up: int = 0
    bytes_down: int = 0
    # What an exchange takes that carries nothing.
    round_trip_seconds: float = 0.0
    # By the monotonic clock: when the present connection, and its TLS, stood.
    connected_at: float = 0.0
    _connect_seconds: float = 0.0
    _up: deque[_Carried] = field(default_factory=_remembered)
    _down: deque[_Carried] = field(default_factory=_remembered)

    def take_bytes(self) -> tuple[int, int]:
        """Return the bytes up and down since the last time this was asked."""
        taken = self.bytes_up, self.bytes_down
        self.bytes_up = self.bytes_down = 0
        return taken

    def note_connected(self, seconds: float) -> None:
        """Note how long it took until the other side answered for the first time."""
        self.round_trip_seconds = self._connect_seconds = seconds

    def note_exchange(self, bytes_up: int, bytes_down: int, seconds: float) -> None:
        """Learn from what an exchange carried, over a connection that had been used before."""
        for one_way, other_way, carried in (
            (bytes_up, bytes_down, self._up),
            (bytes_down, bytes_up, self._down),
        ):
            if other_way <= _NOTHING_BYTES:
                carried.append(_Carried(one_way, seconds))
                self._learn(carried)

    def _learn(self, carried: deque[_Carried]) -> None:
        sizes = [one.size_bytes for one in carried]
        if pstdev(sizes) > _LEAST_SPREAD * fmean(sizes):
            line = linear_regression(sizes, [one.seconds for one in carried])
            self.round_trip_seconds = max(line.intercept, self._connect_seconds)
