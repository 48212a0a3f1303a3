"""The panel's clock in a test's hand: one that stands still, and one that runs on from now."""

from datetime import UTC, datetime, timedelta


class Clock:
    """The time the panel sees: it stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **duration: float) -> datetime:
        """Let time pass and return the new time; takes what ``timedelta`` takes."""
        self.now += timedelta(**duration)
        return self.now


class RunningClock:
    """The real time, further on by as much as the test has let pass."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def pass_by(self, **duration: float) -> None:
        """Let time pass; takes what ``timedelta`` takes."""
        self._ahead += timedelta(**duration)
