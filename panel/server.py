"""Serves the panel with waitress, which runs on Windows too: the socket, the requests, memory.

waitress closes a connection after an answer without a body. An answer "nothing changed" (304) has
no length to state (RFC 9110, 8.6), and needs none: it ends with its headers. On a slow line the
next request would pay for a new connection, so it is kept open here.
"""

import ctypes
import logging
import select
import signal
import socket
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from waitress import create_server
from waitress.channel import HTTPChannel
from waitress.task import WSGITask

from panel.errors import Refusal
from panel.i18n import say

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# A new connection costs a slow link as much as 5 kB: keep it longer than people take to read.
KEEP_ALIVE_SECONDS = 180
# Every satellite may keep one; below the 1024 open files that Linux allows a process by default.
MOST_CONNECTIONS = 900
# More than any body that the panel accepts; waitress would keep up to 1 GiB on the disk.
LARGEST_BODY_BYTES = 32 * 1024 * 1024
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - translated, not listened on
# Of glibc's malloc.h: from how many bytes on a block is mapped by itself, and so given back.
_M_MMAP_THRESHOLD, _BLOCK_BYTES = -3, 1 << 20
# Else threads keep what they freed apart, in eight times as many pools as there are cores.
_M_ARENA_MAX, _ARENAS = -8, 2


class CannotListen(Refusal):
    """The address or the port to listen on cannot be had."""

    code = "cannot_listen"


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host`` and ``port`` (0: any free one).

    Raise :class:`CannotListen` if another program does so already, or the address is not ours.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (socket.gaierror, UnicodeError) as error:
        raise CannotListen(
            say(
                "Cannot listen on %(host)s, which is no address. SYNC_PANEL_HOST sets another one.",
                host=host,
            )
        ) from error
    except OSError as error:
        raise CannotListen(
            say(
                "Cannot listen on %(host)s, port %(port)s: %(reason)s. "
                "Perhaps Sync Panel runs already; SYNC_PANEL_PORT sets another port.",
                host=host,
                port=port,
                # Python adds the address to it, which stands before it here.
                reason=(error.strerror or str(error)).partition(" (while")[0],
            )
        ) from error


def url_of(host: str, port: int, path_prefix: str) -> str:
    """Return the URL, a slash at its end, at which a browser on this machine finds the panel."""
    host = LOOPBACK_OF.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path_prefix}/"


class KeepAliveTask(WSGITask):  # type: ignore[misc]
    """Answers one request; ends the connection only where somebody needs it ended."""

    def set_close_on_finish(self) -> None:
        asked_to_close = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or asked_to_close or self.version != "1.1":
            super().set_close_on_finish()


class KeepAliveChannel(HTTPChannel):  # type: ignore[misc]
    """One client's connection."""

    task_class = KeepAliveTask


def serve(app: "WSGIApplication", listener: socket.socket, threads: int) -> None:
    """Answer requests on ``listener`` until SIGTERM or Ctrl-C, then finish those in hand."""
    # Imported late: the command line that only asks for a URL does not need it.

    pass

    # It would tell of every request that waits a moment for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    tune_malloc()
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
    server.channel_class = KeepAliveChannel
    signal.signal(signal.SIGTERM, _stop)
    server.run()


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    # waitress ends its loop on this, and waits for the requests in hand.
    raise SystemExit(0)


def tune_malloc() -> None:
    """Have each block of a megabyte or more given back to the system as soon as it is free.

    Checking a password takes 19 MiB for a moment. glibc takes the first one that is freed for a
    habit, and keeps as much for every thread from then on. Elsewhere nothing is done.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
    except (AttributeError, OSError, TypeError):
        # Another C library, or Windows, whose CDLL wants a name.
        return
