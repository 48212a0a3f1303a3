"""How many records go into a batch where the preferences leave it to us."""

from panel.models import LARGEST_REQUEST, SMALLEST_REQUEST

# A batch should take so long on the line: short enough to stop after, long enough to use it well.
BATCH_SECONDS = 5.0
_FIRST = 100
# From fewer, what every exchange costs would be taken for what a record costs.
_FEWEST_MEASURED = 10
# How much of the average the latest batch is: less, and a line is well used only after many.
_LATEST = 0.75


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
    """Return the seconds per record after a batch, most of it that of the batch itself.

    The way there and back is not counted: a batch twice as large does not take it twice.
    """
    if records < _FEWEST_MEASURED:
        return before
    latest = max(seconds - round_trip_seconds, 0.0) / records
    return latest if before is None else before + _LATEST * (latest - before)


def measure_broken(before: float | None) -> float:
    """Return the seconds per record after a batch that the line did not carry to its end.

    Twice as many, so that the next batch is half as large: sooner or later one gets through.
    """
    slowest = BATCH_SECONDS / SMALLEST_REQUEST
    if before is None:
        before = BATCH_SECONDS / _FIRST
    return max(before, min(2 * before, slowest))
