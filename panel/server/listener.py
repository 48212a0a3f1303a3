"""The socket that the panel listens on, and the URL at which it is found."""

import socket

from panel.errors import Refusal
from panel.i18n import say

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - translated, not listened on


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
    host = ANY_ADDRESS.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path_prefix}/"
