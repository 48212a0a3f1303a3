"""Forwarded headers of trusted reverse proxies.

Werkzeug's ProxyFix trusts every peer. The panel trusts only ``SYNC_PANEL_TRUSTED_PROXIES``, so it
needs its own middleware.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from panel.config import Network
from panel.web.base.bodies import V5_PATH

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# The key in the WSGI environment: whether the peer of the connection is a trusted proxy.
TRUSTED_PEER = "panel.believed_proxy"


class TrustedProxies:
    """WSGI middleware that sets the browser's address, the scheme and the path prefix.

    It reads ``X-Forwarded-For``, ``X-Forwarded-Proto`` and ``X-Forwarded-Prefix`` of trusted
    proxies. ``path_prefix`` goes before that header. The proxy may strip the prefix or not.
    A site of mSupply drops the path of its URL, so nothing is stripped from ``/sync/v5/``.
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
            _serve_below(prefix, environ)
        return self._app(environ, start_response)

    def _browser_address(self, environ: "WSGIEnvironment") -> str:
        # Each proxy appends its peer, so the last address that is not a trusted proxy is the
        # browser; addresses before it may be forged.
        peers = [*_words(environ.get("HTTP_X_FORWARDED_FOR", "")), environ["REMOTE_ADDR"]]
        others = [address for address in peers if not self._is_trusted(address)]
        nearest = others[-1] if others else peers[0]
        return nearest if _address(nearest) else str(environ["REMOTE_ADDR"])

    def _is_trusted(self, text: str) -> bool:
        address = _address(text) if self._trusted else None
        return address is not None and any(address in network for network in self._trusted)


def _serve_below(prefix: str, environ: "WSGIEnvironment") -> None:
    path = environ.get("PATH_INFO", "")
    environ["SCRIPT_NAME"] = prefix
    if path.startswith(V5_PATH) and not f"{prefix}/".startswith(V5_PATH):
        return
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
