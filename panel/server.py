"""The web server: waitress with its listening socket, keep-alive connections and malloc settings.

waitress runs on Windows too. It closes a connection after an answer without Content-Length, which
a 304 lacks and does not need (RFC 9110, 8.6 and 15.4.5). On a slow line the next request would pay
for a new connection, so the panel keeps it open.
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

# Longer than people read a page: on a slow line a new connection costs as much as 5 kB.
KEEP_ALIVE_SECONDS = 180
# One for each satellite; below the 1024 open files that Linux allows a process by default.
MOST_CONNECTIONS = 900
# More than any body that the panel accepts; waitress's default of 1 GiB would go to the disk.
LARGEST_BODY_BYTES = 32 * 1024 * 1024
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, not listened on
# glibc's malloc.h: blocks of at least so many bytes are mapped apart, and unmapped when freed.
_M_MMAP_THRESHOLD, _BLOCK_BYTES = -3, 1 << 20
# glibc's default is eight arenas a core, and each keeps the memory that its threads freed.
_M_ARENA_MAX, _ARENAS = -8, 2


class CannotListen(Refusal):
    """The address or the port to listen on is not available."""

    code = "cannot_listen"


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host`` and ``port`` (0: any free port).

    Raise :class:`CannotListen` if the port is taken or the address is not this machine's.
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
                # Python appends the address, which the sentence names already.
                reason=(error.strerror or str(error)).partition(" (while")[0],
            )
        ) from error


def url_of(host: str, port: int, path_prefix: str) -> str:
    """Return the panel's URL for a browser on this machine, with a slash at its end."""
    host = LOOPBACK_OF.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path_prefix}/"


class KeepAliveTask(WSGITask):  # type: ignore[misc]
    """One request; closes the connection only after a body, for HTTP/1.0 or if asked to."""

    def set_close_on_finish(self) -> None:
        """Close the connection after this answer, unless it can stay open."""
        asked_to_close = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or asked_to_close or self.version != "1.1":
            super().set_close_on_finish()


class KeepAliveChannel(HTTPChannel):  # type: ignore[misc]
    """One client's connection, which runs :class:`KeepAliveTask`."""

    task_class = KeepAliveTask


def serve(app: "WSGIApplication", listener: socket.socket, threads: int) -> None:
    """Answer requests to ``app`` on ``listener`` until SIGTERM or Ctrl-C; then finish open ones.

    ``threads`` is how many requests are answered at the same time.
    """
    # waitress would log every request that waits a moment for a thread.
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
        # The application checks proxies itself (panel.web.base.proxy), behind any WSGI server.
        clear_untrusted_proxy_headers=False,
    )
    server.channel_class = KeepAliveChannel
    exit_on_sigterm()
    server.run()


def exit_on_sigterm() -> None:
    """Raise SystemExit in the main thread on SIGTERM: open requests and runs are then finished."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def tune_malloc() -> None:
    """Make glibc return each freed block of a megabyte or more to the system at once.

    Checking a password takes 19 MiB for a moment. After the first such block is freed, glibc raises
    its threshold and keeps as much for every thread. Without glibc this does nothing.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
    except (AttributeError, OSError, TypeError):
        # Another C library, or Windows, where CDLL needs a name.
        return
