"""The current time, in one place so that tests can set it."""

from datetime import UTC, datetime

# A clock that shows an earlier time is wrong: this release did not exist yet. Every release moves
# it forward.
RELEASED_AT = datetime(2026, 11, 1, tzinfo=UTC)


def now() -> datetime:
    """Return the current time as an aware datetime in UTC."""
    return datetime.now(UTC)
