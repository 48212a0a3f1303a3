"""How many records go into a batch where the preferences leave it to us."""

from panel.models import LARGEST_REQUEST, SMALLEST_REQUEST

# A batch should take so long on the line: short enough to stop after, long enough to use it well.
BATCH_SECONDS = 5.0
_FIRST = 100
# From fewer, what every exchange costs would be taken for what a record costs.
_FEWEST_MEASURED = 10


def batch_size(wanted: int | None, seconds_per_record: float | None) -> int:
    """Return how many records the next batch has; ``wanted`` is the preference, None automatic."""
    if wanted is not None:
        return wanted
    if seconds_per_record is None:
        return _FIRST
    fitting = int(BATCH_SECONDS / max(seconds_per_record, 1e-6))
    return min(max(fitting, SMALLEST_REQUEST), LARGEST_REQUEST)


def measure(
    before: float | None, records: int, seconds: float, round_trip_seconds: float
) -> float | None:
    """Return the seconds per record after a batch; half of it is what was known before.

    The way there and back is not counted: a batch twice as large does not take it twice. It is an
    estimate, so it never explains more than half of what a batch took.
    """
    if records < _FEWEST_MEASURED:
        return before
    latest = max(seconds - round_trip_seconds, seconds / 2) / records
    return latest if before is None else (before + latest) / 2


def measure_broken(before: float | None) -> float:
    """Return the seconds per record after a batch that the line did not carry to its end.

    Twice as many, so that the next batch is half as large: sooner or later one gets through.
    """
    slowest = BATCH_SECONDS / SMALLEST_REQUEST
    if before is None:
        before = BATCH_SECONDS / _FIRST
    return max(before, min(2 * before, slowest))
