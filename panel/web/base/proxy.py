"""Forwarded headers of trusted reverse proxies.

Werkzeug's ProxyFix trusts every peer. The panel trusts only ``SYNC_PANEL_TRUSTED_PROXIES``, so it
needs its own middleware.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map

from panel.config import Network
from panel.web.base.assets import PATH as STATIC_PATH

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# The key in the WSGI environment: whether the peer of the connection is a trusted proxy.
TRUSTED_PEER = "panel.trusted_peer"


class TrustedProxies:
    """WSGI middleware that sets the browser's address, the scheme and the path prefix.

    It reads ``X-Forwarded-For``, ``X-Forwarded-Proto`` and ``X-Forwarded-Prefix`` of trusted
    proxies. ``path_prefix`` goes before that header. The proxy may strip the prefix or not:
    ``routes`` say which of the two paths, with it or without, is one of the panel. So a site of
    mSupply is answered too, which drops the path of its URL and calls ``/sync/v5/``.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        routes: Map,
        trusted: tuple[Network, ...],
        path_prefix: str,
    ) -> None:
        self._app = app
        self._routes = routes.bind("")
        self._trusted = trusted
        self._path_prefix = path_prefix

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer the request (PEP 3333) with the environment set."""
        prefix = self._path_prefix
        environ[TRUSTED_PEER] = self._is_trusted(environ.get("REMOTE_ADDR", ""))
        if environ[TRUSTED_PEER]:
            environ["REMOTE_ADDR"] = self._browser_address(environ)
            scheme = _words(environ.get("HTTP_X_FORWARDED_PROTO", ""))[-1:]
            if scheme in (["http"], ["https"]):
                environ["wsgi.url_scheme"] = scheme[0]
            prefix = prefix or environ.get("HTTP_X_FORWARDED_PREFIX", "").rstrip("/")
        if re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", prefix):
            environ["SCRIPT_NAME"] = prefix
            environ["PATH_INFO"] = self._path_below(prefix, environ.get("PATH_INFO", ""))
        return self._app(environ, start_response)

    def _browser_address(self, environ: "WSGIEnvironment") -> str:
        # Each proxy appends its peer, so the last address that is not a trusted proxy is the
        # browser; addresses before it may be forged.
        peers = [*_words(environ.get("HTTP_X_FORWARDED_FOR", "")), environ["REMOTE_ADDR"]]
        others = [address for address in peers if not self._is_trusted(address)]
        nearest = others[-1] if others else peers[0]
        return nearest if _address(nearest) else str(environ["REMOTE_ADDR"])

    def _path_below(self, prefix: str, received: str) -> str:
        """Return the path within the panel, whether the proxy stripped ``prefix`` or not."""
        # `location /sync { proxy_pass http://127.0.0.1:8000/; }` leaves two slashes.
        path = f"/{received.lstrip('/')}"
        if path == prefix:
            # It may be stripped already: /people is what is left of /people/people.
            return path if self._is_known(path) else "/"
        below = path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
        return path if not self._is_known(below) and self._is_known(path) else below

    def _is_known(self, path: str) -> bool:
        if path.startswith(STATIC_PATH):
            return True
        try:
            self._routes.match(path)
        except NotFound:
            return False
        except HTTPException:
            # A route, for another method.
            return True
        return True

    def _is_trusted(self, text: str) -> bool:
        address = _address(text) if self._trusted else None
        return address is not None and any(address in network for network in self._trusted)


def _words(header: str) -> list[str]:
    return [word for word in (part.strip() for part in header.split(",")) if word]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
