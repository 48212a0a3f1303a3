"""How sync can stand, and from when on a server is late."""

from datetime import datetime, timedelta
from typing import Literal

LATE, VERY_LATE = timedelta(days=1), timedelta(days=3)

Kind = Literal[
    "standalone", "paused", "disabled", "syncing", "well", "late", "very_late",
    "unreachable", "refused", "never", "open",
]  # fmt: skip
Severity = Literal["well", "late", "very_late", "off", "working"]
ServerSeverity = Literal["well", "late", "very_late", "not_seen"]


def server_severity(last_success_at: datetime | None, now: datetime) -> ServerSeverity:
    """Say how late a server is: late after one day without success, very late after three."""
    if last_success_at is None:
        return "not_seen"
    age = now - last_success_at
    return "very_late" if age >= VERY_LATE else "late" if age >= LATE else "well"
