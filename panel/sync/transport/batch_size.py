"""The automatic size of batches, from the measured seconds per record (PROTOCOL.md, *When*)."""

from panel.models.base import LARGEST_REQUEST, SMALLEST_REQUEST

# The aim for one batch: short enough to stop after it, long enough to use the line well.
BATCH_SECONDS = 5.0
_FIRST = 100
# In smaller batches the cost of an exchange would be taken for the cost of its records.
_FEWEST_MEASURED = 10
# However quick a batch was, the next one is at most this many times as large.
_MOST_GROWTH = 8
_QUICKEST, _SLOWEST = BATCH_SECONDS / LARGEST_REQUEST, BATCH_SECONDS / SMALLEST_REQUEST
# The weight of the latest batch in the average: with less, batches grow too slowly.
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
    """Return the average seconds per record, with a batch of ``records`` taken into it.

    ``before`` is the average so far. ``allowed`` is how many records the batch could have had, and
    ``carrying_seconds`` the time it took without the round trip. A batch with less than half of
    what it could have had counts only if it was slow all the same.
    """
    is_slow = carrying_seconds >= BATCH_SECONDS
    if records < _FEWEST_MEASURED or (2 * records < allowed and not is_slow):
        return before
    latest = max(carrying_seconds, BATCH_SECONDS / _MOST_GROWTH) / records
    known = latest if before is None else before + _LATEST * (latest - before)
    return min(max(known, _QUICKEST), _SLOWEST)


def measure_broken(before: float | None) -> float:
    """Return twice the seconds per record, after a batch that was cut off or timed out.

    The next batch is half as large, until one gets through.
    """
    if before is None:
        before = BATCH_SECONDS / _FIRST
    return min(2 * max(before, _QUICKEST), _SLOWEST)
