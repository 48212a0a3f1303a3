"""Answers requests with waitress, which runs on Windows too, until it is told to stop.

waitress closes a connection after an answer without a body. An answer "nothing changed" (304) has
no length to state (RFC 9110, 8.6), and needs none: it ends with its headers. On a slow line the
next request would pay for a new connection, so it is kept open here.
"""

import logging
import select
import signal
import socket
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from waitress import create_server
from waitress.channel import HTTPChannel
from waitress.task import WSGITask

from panel.server.malloc import give_back_large_blocks

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# A new connection costs a slow link as much as 5 kB: keep it longer than people take to read.
KEEP_ALIVE_SECONDS = 180
# Every satellite may keep one; below the 1024 open files that Linux allows a process by default.
MOST_CONNECTIONS = 900
# More than any body that the panel accepts; waitress would keep up to 1 GiB on the disk.
LARGEST_BODY_BYTES = 32 * 1024 * 1024


class KeptTask(WSGITask):  # type: ignore[misc]
    """Answers one request; ends the connection only where somebody needs it ended."""

    def set_close_on_finish(self) -> None:
        asked_to_close = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or asked_to_close or self.version != "1.1":
            super().set_close_on_finish()


class KeptChannel(HTTPChannel):  # type: ignore[misc]
    """One client's connection."""

    task_class = KeptTask


def answer(app: "WSGIApplication", listener: socket.socket, threads: int) -> None:
    """Answer requests on ``listener`` until SIGTERM or Ctrl-C, then finish those in hand."""
    # Imported late: the command line that only asks for a URL does not need it.

    pass

    # It would tell of every request that waits a moment for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    give_back_large_blocks()
    server = create_server(
        app,
        sockets=[listener],
        threads=threads,
        ident=None,
        channel_timeout=KEEP_ALIVE_SECONDS,
        connection_limit=MOST_CONNECTIONS,
        max_request_body_size=LARGEST_BODY_BYTES,
        asyncore_use_poll=hasattr(select, "poll"),
        # The app itself believes the proxies of SYNC_PANEL_TRUSTED_PROXIES, behind any server.
        clear_untrusted_proxy_headers=False,
    )
    server.channel_class = KeptChannel
    signal.signal(signal.SIGTERM, _stop)
    server.run()


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    # waitress ends its loop on this, and waits for the requests in hand.
    raise SystemExit(0)
