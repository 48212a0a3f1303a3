"""Keeps a connection open behind an answer without a body, which waitress would close.

An answer "nothing changed" (304) has no length to state (RFC 9110, 8.6), and needs none: it ends
with its headers. On a slow line the next act would pay for a new connection.
"""

from waitress.channel import HTTPChannel
from waitress.task import WSGITask


class KeptTask(WSGITask):  # type: ignore[misc]
    """Answers one request; ends the connection only where somebody needs it ended."""

    def set_close_on_finish(self) -> None:
        asked_to_close = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or asked_to_close or self.version != "1.1":
            super().set_close_on_finish()


class KeptChannel(HTTPChannel):  # type: ignore[misc]
    """One client's connection."""

    task_class = KeptTask
