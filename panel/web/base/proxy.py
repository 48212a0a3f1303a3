"""Believes what a reverse proxy says of the browser, if the proxy is one that may be believed.

Werkzeug's ProxyFix believes whoever connects; the panel believes ``SYNC_PANEL_TRUSTED_PROXIES``
only, so it needs its own.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from panel.config import Network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# True where the connection itself, and not a header, comes from a trusted proxy.
TRUSTED_PEER = "panel.believed_proxy"


class TrustedProxies:
    """WSGI middleware: the browser's address and scheme, and the path below which we are served.

    Reads ``X-Forwarded-For``, ``X-Forwarded-Proto`` and ``X-Forwarded-Prefix`` of trusted proxies.
    The prefix may come from ``path_prefix`` as well, and the proxy may leave it on the path or not.
    """

    def __init__(
        self, app: "WSGIApplication", trusted: tuple[Network, ...], path_prefix: str
    ) -> None:
        self._app = app
        self._trusted = trusted
        self._path_prefix = path_prefix

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        prefix = self._path_prefix
        environ[TRUSTED_PEER] = self._is_trusted(environ.get("REMOTE_ADDR", ""))
        if environ[TRUSTED_PEER]:
            environ["REMOTE_ADDR"] = self._browser_address(environ)
            scheme = _words(environ.get("HTTP_X_FORWARDED_PROTO", ""))[-1:]
            if scheme in (["http"], ["https"]):
                environ["wsgi.url_scheme"] = scheme[0]
            prefix = prefix or environ.get("HTTP_X_FORWARDED_PREFIX", "").rstrip("/")
        if re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", prefix):
            _serve_below(prefix, environ)
        return self._app(environ, start_response)

    def _browser_address(self, environ: "WSGIEnvironment") -> str:
        # Each proxy appends whom it heard, so the last address that is no proxy of ours is the
        # nearest one that nobody we trust has vouched against.
        heard = [*_words(environ.get("HTTP_X_FORWARDED_FOR", "")), environ["REMOTE_ADDR"]]
        others = [address for address in heard if not self._is_trusted(address)]
        nearest = others[-1] if others else heard[0]
        return nearest if _address(nearest) else str(environ["REMOTE_ADDR"])

    def _is_trusted(self, text: str) -> bool:
        address = _address(text) if self._trusted else None
        return address is not None and any(address in network for network in self._trusted)


def _serve_below(prefix: str, environ: "WSGIEnvironment") -> None:
    path = environ.get("PATH_INFO", "")
    environ["SCRIPT_NAME"] = prefix
    if path == prefix or path.startswith(f"{prefix}/"):
        environ["PATH_INFO"] = path.removeprefix(prefix) or "/"


def _words(header: str) -> list[str]:
    return [word for word in (part.strip() for part in header.split(",")) if word]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
