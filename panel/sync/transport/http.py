"""The HTTP connection to a primary: one a run, with time-outs for slow lines and named faults."""

import io
import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import BadStatusLine, LineTooLong
from typing import Any, Protocol
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager, Timeout
from urllib3 import exceptions as faults
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse
from urllib3.util import SKIP_HEADER, Url, parse_url

from panel.sync.protocol.body_codec import LARGEST_BODY_BYTES
from panel.sync.protocol.error_codes import STOPPED_BY_HAND
from panel.sync.transport.batch_size import Meter

CONNECT_SECONDS = 20.0
# Without a single byte: a line that moves, however slowly, is no fault.
SILENCE_SECONDS = 60.0
# A body is sent in pieces, since the time-out of a socket counts for a whole piece.
_PIECE_BYTES = 4 * 1024
# The system's buffer (Linux doubles it). A larger one would hide whether the line still moves:
# 64 KiB take 21 s at 25 kbit/s.
_SEND_BUFFER_BYTES = 32 * 1024
_READ_BYTES = 16 * 1024
_PROBE_SECONDS = 5.0
# What OpenSSL calls an answer that is no TLS, by its version.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")


class LinkFault(Exception):
    """The primary could not be reached or understood: a code of ``error_codes``, and its values.

    ``bytes_up`` are those of the request's body, and ``bytes_down`` those of the answer's if it
    had begun to arrive: what the line did not carry.
    """

    def __init__(self, code: str, **values: Any) -> None:
        super().__init__(code)
        self.code = code
        self.values = values
        self.bytes_up = self.bytes_down = 0
        # It was a piece of a record, and no exchange.
        self.is_piece = False


@dataclass(frozen=True)
class Target:
    """The URL of the primary, what to trust besides the public authorities, and the way there.

    ``private_ca`` is PEM text, ``fingerprint`` the SHA-256 of the certificate in hex. ``proxy`` is
    a URL with the user name and password for it; if empty, the environment names the proxy.
    """

    url: str
    private_ca: str = ""
    fingerprint: str = ""
    proxy: str = field(default="", repr=False)


@dataclass(frozen=True)
class Response:
    """An HTTP response of any status.

    ``seconds`` are from the first byte sent to the last one received, without connecting.
    ``bytes_up`` are those of the request's body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    seconds: float
    bytes_up: int = 0

    def clock_ahead_seconds(self, now: datetime) -> int | None:
        """Return how far a clock that says ``now`` is ahead of the server's ``Date`` (RFC 9110).

        0 where the way of the answer explains the difference; None without a ``Date``.
        """
        try:
            sent_at = parsedate_to_datetime(self.headers.get("Date", ""))
            ahead = (now - sent_at).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
        # It was sent within the exchange, which took that long.
        return int(min(ahead, 0.0) + max(ahead - self.seconds, 0.0))


class Transport(Protocol):
    """A connection to a primary, as a run uses it."""

    meter: Meter

    def send(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Response:
        """Send one request and return its answer. Raise :class:`LinkFault`."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...

    def abort(self) -> None:
        """End for good what is being sent or received in another thread: a LinkFault there."""
        ...


@dataclass
class HttpTransport:
    """One connection to the primary, over HTTP or HTTPS, and over a proxy if there is one.

    Raise :class:`LinkFault` for a private authority or a proxy's URL that cannot be used.
    """

    target: Target
    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target.url)
        self._host, self._netloc = parts.hostname or "", parts.netloc
        self._sockets = _Sockets()
        self._proxy = _parse_proxy(self.target.proxy or _environments_proxy(parts))
        # A proxy is told all of the address, unless a tunnel leads through it.
        is_forwarded = self._proxy is not None and parts.scheme == "http"
        self._before_path = f"http://{parts.netloc}" if is_forwarded else ""
        self._may_want_tls = self._proxy is None and parts.scheme == "http"
        self._pool = _pool(self.target, self._proxy, self.meter, self._sockets)
        self._arriving_bytes = 0

    def send(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Response:
        """Send one request and return its answer. Raise :class:`LinkFault`."""
        self._arriving_bytes = 0
        self.meter.moved_at = time.monotonic()
        try:
            response = self._send(method, path, headers, content)
            self._check_answered(response)
            return response
        except LinkFault as fault:
            if self._sockets.is_aborted:
                # Whatever it broke with.
                raise LinkFault(STOPPED_BY_HAND) from fault
            fault.bytes_up, fault.bytes_down = len(content), self._arriving_bytes
            if fault.code in ("cut_off", "not_a_sync_server") and not self._arriving_bytes:
                self._check_tls()
            raise
        finally:
            self.meter.moved_at = None

    def close(self) -> None:
        """Give the connection back."""
        self._pool.close()

    def _send(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> Response:
        target = self._before_path + urlsplit(self.target.url).path.rstrip("/") + path
        headers = {"User-Agent": SKIP_HEADER, **headers}
        # A file is sent in pieces; bytes would have to be sent within one time-out.
        body = _Upload(content, self.meter)
        if content:
            headers["Content-Length"] = str(len(content))
        began = time.monotonic()
        try:
            with _named_faults(self._host, self._proxy):
                response = self._pool.urlopen(
                    method,
                    target,
                    body=body if content else None,
                    headers=headers,
                    retries=False,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                )
                self.meter.moved_at = answered_at = time.monotonic()
                received = self._received(response)
        finally:
            # The bytes sent count even if the transfer fails.
            self.meter.bytes_up += body.tell()
        if response.status == HTTPStatus.OK and not received and _has_no_length(response):
            # http.client returns this if the line broke in the headers of the answer.
            raise LinkFault("cut_off", host=self._host)
        self.meter.bytes_up += _size(f"{method} {target}", {"Host": self._netloc, **headers})
        self.meter.bytes_down += _size("200 OK", response.headers)
        began = max(began, self.meter.connected_at)
        self.meter.note_answer(len(content), answered_at - began)
        seconds = time.monotonic() - began
        if began > self.meter.connected_at:
            # Not the first of a connection: a proxy may have connected to the primary only for it.
            self.meter.note_push(len(content), len(received), seconds)
        headers_down = response.headers
        if location := headers_down.get("Location"):
            headers_down["Location"] = _address_of(self.target.url + path, location)
        return Response(response.status, headers_down, received, seconds, len(content))

    def _check_answered(self, response: Response) -> None:
        """Raise :class:`LinkFault` for an answer of a proxy, or of a port of https."""
        if response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and self._proxy:
            raise LinkFault("proxy_refuses", host=self._proxy.host, status=response.status)
        is_of_program = "json" in response.headers.get("Content-Type", "")
        if response.status == HTTPStatus.BAD_REQUEST and not is_of_program:
            self._check_tls()
        self._may_want_tls = False

    def _check_tls(self) -> None:
        """Raise :class:`LinkFault` if TLS is spoken where no plain request was answered."""
        if not self._may_want_tls or self._sockets.is_aborted:
            return
        self._may_want_tls = False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Nothing is sent over it.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        address = self._host, urlsplit(self.target.url).port or 80
        with (
            suppress(OSError),
            socket.create_connection(address, _PROBE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=self._host),
        ):
            raise LinkFault("tls_wanted", host=self._host)

    def abort(self) -> None:
        """End for good what is being sent or received in another thread: a LinkFault there."""
        self._sockets.abort()

    def _received(self, response: BaseHTTPResponse) -> bytes:
        try:
            return self._read(response)
        except ValueError as error:
            # A length or a chunk's size that is none.
            response.close()
            raise LinkFault("not_a_sync_server") from error

    def _read(self, response: BaseHTTPResponse) -> bytes:
        received = bytearray()
        self._arriving_bytes = _announced_bytes(response)
        for piece in response.stream(_READ_BYTES, decode_content=False):
            received += piece
            self.meter.moved_at = time.monotonic()
            self.meter.bytes_down += len(piece)
            self._arriving_bytes = max(self._arriving_bytes, len(received))
            if len(received) > LARGEST_BODY_BYTES:
                response.close()
                raise LinkFault("not_a_sync_server")
        response.release_conn()
        return bytes(received)


class _Upload(io.BytesIO):
    """A body that notes in ``meter`` when the line takes the next piece of it."""

    def __init__(self, content: bytes, meter: Meter) -> None:
        super().__init__(content)
        self._meter = meter

    def read(self, size: int | None = -1) -> bytes:
        """Return the next piece."""
        self._meter.moved_at = time.monotonic()
        return super().read(size)


class _Sockets:
    """The present socket of a connection, which another thread may shut."""

    def __init__(self) -> None:
        self.is_aborted = False
        self._present: socket.socket | None = None
        self._made = queue.SimpleQueue[socket.socket | Exception]()

    def connect(self, make: Callable[[], socket.socket]) -> socket.socket:
        """Return the socket that ``make`` connects. Raise what it raises.

        In a thread of its own, since nothing can end a look-up of a name.
        """
        self._made = made = queue.SimpleQueue[socket.socket | Exception]()
        if self.is_aborted:
            raise ConnectionAbortedError
        given_up = threading.Event()

        def run() -> None:
            try:
                connected = make()
            except Exception as error:
                made.put(error)
                return
            made.put(connected)
            if given_up.is_set():
                connected.close()

        threading.Thread(target=run, daemon=True).start()
        found: socket.socket | Exception
        try:
            found = made.get(timeout=SILENCE_SECONDS)
        except queue.Empty:
            found = TimeoutError()
        if isinstance(found, Exception):
            given_up.set()
            raise found
        self.keep(found)
        return found

    def keep(self, present: socket.socket) -> None:
        """Make ``present`` the one that :meth:`abort` shuts."""
        self._present = present
        if self.is_aborted:
            self.abort()

    def abort(self) -> None:
        """Shut the socket, and every later one."""
        self.is_aborted = True
        self._made.put(ConnectionAbortedError())
        if self._present is not None:
            # It may be closed already.
            with suppress(OSError):
                self._present.shutdown(socket.SHUT_RDWR)


def _announced_bytes(response: BaseHTTPResponse) -> int:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else 1


def _address_of(url: str, location: str) -> str:
    """Return the address that a ``Location`` in the answer of ``url`` is; "" if it is none."""
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _has_no_length(response: BaseHTTPResponse) -> bool:
    headers = response.headers
    return "Content-Length" not in headers and "Transfer-Encoding" not in headers


def proxy_url(url: str, user_name: str, password: str) -> str:
    """Return ``url``, that of a proxy or empty, with the user name and password for it."""
    if not url or not user_name:
        return url
    scheme, _, netloc = url.partition("://")
    return f"{scheme}://{quote(user_name, safe='')}:{quote(password, safe='')}@{netloc}"


def _environments_proxy(parts: SplitResult) -> str:
    """Return the proxy of the environment for a URL; this machine is reached without one."""
    host = parts.hostname or ""
    if host == "localhost" or _is_loopback(host) or proxy_bypass(parts.netloc):
        return ""
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all") or ""


def _parse_proxy(found: str) -> Url | None:
    if not found:
        return None
    try:
        return parse_url(found if "://" in found else f"http://{found}")
    except faults.LocationParseError as error:
        raise LinkFault("proxy_unreachable", host=found.rpartition("@")[2]) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _proxy_pool(target: Target, proxy: Url, options: dict[str, Any]) -> HTTPConnectionPool:
    if proxy.scheme not in ("http", "https"):
        raise LinkFault("proxy_unreachable", host=proxy.host)
    headers = {"proxy-authorization": _basic(unquote(proxy.auth))} if proxy.auth else None
    # The proxy's own certificate is always checked: a pinned fingerprint is that of the primary,
    # and urllib3 would check none of the proxy's beside it.
    context = _authorities(target) if proxy.scheme == "https" else None
    if target.url.startswith("https"):
        options |= _trust(target)
    manager = ProxyManager(str(proxy), proxy_headers=headers, proxy_ssl_context=context, **options)
    return manager.connection_from_url(target.url)


def _basic(user_and_password: str) -> str:
    return f"Basic {b64encode(user_and_password.encode()).decode()}"


def _pool(target: Target, proxy: Url | None, meter: Meter, sockets: _Sockets) -> HTTPConnectionPool:
    parts = urlsplit(target.url)
    options: dict[str, Any] = {
        "maxsize": 1,
        "block": True,
        "timeout": Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS),
        "blocksize": _PIECE_BYTES,
        "socket_options": [
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES),
        ],
    }
    if proxy is not None:
        through = _proxy_pool(target, proxy, options)
        through.ConnectionCls = _patient(through.ConnectionCls, meter, sockets)
        return through
    if parts.scheme == "http":
        plain = HTTPConnectionPool(parts.hostname or "", parts.port, **options)
        plain.ConnectionCls = _patient(HTTPConnection, meter, sockets)
        return plain
    secure = HTTPSConnectionPool(parts.hostname or "", parts.port, **options, **_trust(target))
    secure.ConnectionCls = _patient(HTTPSConnection, meter, sockets)
    return secure


def _trust(target: Target) -> dict[str, Any]:
    if target.fingerprint:
        # Only the pinned certificate is trusted, whoever signed it.
        return {"cert_reqs": "CERT_NONE", "assert_fingerprint": target.fingerprint}
    return {"ssl_context": _authorities(target)}


def _authorities(target: Target) -> ssl.SSLContext:
    """Return what checks certificates by the public authorities and the private one of ``target``.

    Raise :class:`LinkFault`.
    """
    context = ssl.create_default_context()
    if target.private_ca:
        try:
            context.load_verify_locations(cadata=target.private_ca)
        except (ssl.SSLError, TypeError, ValueError) as error:
            # Saved by a release that kept what stands around the certificates.
            host, why = urlsplit(target.url).hostname, "the private authority cannot be read"
            raise LinkFault("certificate", host=host, why=why) from error
    return context


def _patient(base: type[Any], meter: Meter, sockets: _Sockets) -> Any:
    """Return a connection class that measures connecting, and whose time-out is for each piece.

    Its present socket is the one in ``sockets``.
    """

    class Connection(base):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            began = time.monotonic()
            connected = sockets.connect(super()._new_conn)
            meter.moved_at = now = time.monotonic()
            meter.note_connected(now - began)
            return connected

        def connect(self) -> None:
            super().connect()
            meter.moved_at = meter.connected_at = time.monotonic()
            # Under TLS another one than was connected.
            sockets.keep(self.sock)
            # The time-out to connect is shorter, and would cut off a slow upload.
            self.sock.settimeout(SILENCE_SECONDS)

    return Connection


def _size(first_line: str, headers: Mapping[str, str]) -> int:
    lines = [f"{k}: {v}" for k, v in headers.items() if v != SKIP_HEADER]
    # The HTTP version ends the first line, and an empty line the headers.
    return len(first_line) + len(" HTTP/1.1\r\n\r\n") + sum(len(line) + 2 for line in lines)


@contextmanager
def _named_faults(host: str, proxy: Url | None) -> Iterator[None]:
    try:
        yield
    except faults.ProxyError as error:
        raise _proxy_fault(error, proxy.host if proxy else "") from error
    except faults.NameResolutionError as error:
        raise LinkFault("name_not_found", host=host) from error
    # Before the time-outs: urllib3 makes it a subclass of one.
    except faults.NewConnectionError as error:
        raise LinkFault("connection_refused", host=host) from error
    except (faults.ConnectTimeoutError, faults.ReadTimeoutError, TimeoutError) as error:
        raise LinkFault("timed_out", host=host) from error
    except (faults.SSLError, ssl.SSLError) as error:
        raise _tls_fault(error, host) from error
    except (faults.HTTPError, OSError) as error:
        raise LinkFault(_broken(error), host=host) from error


def _proxy_fault(error: faults.ProxyError, host: str | None) -> LinkFault:
    if refused := _TUNNEL_REFUSED.search(str(error.args)):
        return LinkFault("proxy_refuses", host=host, status=int(refused[1]))
    return LinkFault("proxy_unreachable", host=host)


def _broken(error: Exception) -> str:
    """Return the code of a transfer that was not completed."""
    cause = error.args[-1] if error.args else None
    # urllib3 wraps the time-out of a send in a protocol error.
    if isinstance(cause, TimeoutError):
        return "timed_out"
    # The answer is not HTTP. http.client also raises an OSError of this kind if the line breaks
    # before the answer.
    if isinstance(cause, BadStatusLine | LineTooLong) and not isinstance(cause, OSError):
        return "not_a_sync_server"
    return "cut_off"


def _tls_fault(error: Exception, host: str) -> LinkFault:
    """Return the fault of a connection that TLS was not established on."""
    cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return LinkFault("certificate", host=host, why=str(cause.verify_message))
    if isinstance(cause, ssl.SSLEOFError):
        return LinkFault("cut_off", host=host)
    if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
        return LinkFault("no_tls", host=host)
    # A fingerprint, which urllib3 compares, or a version or cipher that only one side has.
    why = cause.reason or "" if isinstance(cause, ssl.SSLError) else str(cause)
    return LinkFault("certificate", host=host, why=why[:200])
