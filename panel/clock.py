"""What time it is, in one place, so that a test can move it."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present moment, in UTC and aware of it."""
    return datetime.now(UTC)
