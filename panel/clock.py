"""The current time, in one place so that tests can set it."""

from datetime import UTC, datetime

# No clock is right that stands before this release was made. It is raised with each release.
RELEASED_AT = datetime(2026, 11, 1, tzinfo=UTC)


def now() -> datetime:
    """Return the current time as an aware datetime in UTC."""
    return datetime.now(UTC)
