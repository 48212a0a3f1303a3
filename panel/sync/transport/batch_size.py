"""How many records go into a batch where the preferences leave it to us."""

from panel.models.base import LARGEST_REQUEST, SMALLEST_REQUEST

# A batch should take so long on the line: short enough to stop after, long enough to use it well.
BATCH_SECONDS = 5.0
_FIRST = 100
# From fewer, what every exchange costs would be taken for what a record costs.
_FEWEST_MEASURED = 10
# However quickly a batch came, it says nothing about one that is so many times as large.
_MOST_GROWTH = 8
_QUICKEST, _SLOWEST = BATCH_SECONDS / LARGEST_REQUEST, BATCH_SECONDS / SMALLEST_REQUEST
# How much of the average the latest batch is: less, and a line is well used only after many.
_LATEST = 0.75


def batch_size(wanted: int | None, seconds_per_record: float | None) -> int:
    """Return how many records the next batch has; ``wanted`` is the preference, None automatic."""
    if wanted is not None:
        return wanted
    if seconds_per_record is None:
        return _FIRST
    fitting = int(BATCH_SECONDS / max(seconds_per_record, _QUICKEST))
    return min(max(fitting, SMALLEST_REQUEST), LARGEST_REQUEST)


def measure(
    before: float | None, allowed: int, records: int, carrying_seconds: float
) -> float | None:
    """Return the seconds per record after a batch of ``records``, most of it that of the batch.

    ``allowed`` is how many there might have been, ``carrying_seconds`` what the batch took without
    the way there and back: one twice as large does not take it twice. A batch that had fewer
    because there were no more says something only if it was slow all the same.
    """
    is_slow = carrying_seconds >= BATCH_SECONDS
    if records < _FEWEST_MEASURED or (2 * records < allowed and not is_slow):
        return before
    latest = max(carrying_seconds, BATCH_SECONDS / _MOST_GROWTH) / records
    known = latest if before is None else before + _LATEST * (latest - before)
    return min(max(known, _QUICKEST), _SLOWEST)


def measure_broken(before: float | None) -> float:
    """Return the seconds per record after a batch that the line did not carry to its end.

    Twice as many, so that the next batch is half as large: sooner or later one gets through.
    """
    if before is None:
        before = BATCH_SECONDS / _FIRST
    return min(2 * max(before, _QUICKEST), _SLOWEST)
