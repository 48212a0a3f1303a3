"""The web server: waitress, with bounds that keep one client from holding up the others.

waitress runs on Windows too. It reads and writes every connection in one thread, so a slow client
takes none of those that answer. What it leaves open is here: deadlines, room for new connections,
the sender of a large body proven before it is taken in, and threads that no satellite takes.

waitress closes a connection after an answer without Content-Length, which a 304 lacks and does not
need (RFC 9110, 8.6 and 15.4.5). On a slow line the next request would pay for a new connection, so
the panel keeps it open.
"""

import contextlib
import ctypes
import logging
import select
import signal
import socket
import sys
import time
from collections import Counter
from heapq import nsmallest
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qs

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import BadRequest

from panel.config import MOST_WAITING_ANSWERS, STILL_WANTED
from panel.errors import Refusal
from panel.i18n import say

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

# Longer than people read a page: on a slow line a new connection costs as much as 5 kB.
KEEP_ALIVE_SECONDS = 180
# One for each satellite and more. A new one beyond them takes the place of an idle one.
MOST_CONNECTIONS = 900
# Each may have a temporary file for what it sends and one for what it gets.
_OPEN_FILES = 4 * MOST_CONNECTIONS
# A connection that has asked for nothing by then is the first to make room.
SILENT_SECONDS = 2.0
# How a client begins that takes this for a port of https (RFC 8446, 5.1).
_TLS_HELLO, _NO_REQUEST = b"\x16\x03", b"\x16\r\n\r\n"
# From the first byte of a request, and from the connection to its first request.
HEADER_SECONDS = 20
# A body may take so long, and a second more for each so many bytes of it: a fortieth of 25 kbit/s.
BODY_SECONDS, LEAST_BYTES_A_SECOND = 60, 80
# The same for who fetches an answer. 16 MiB take an hour and a half at 25 kbit/s.
ANSWER_SECONDS, LONGEST_ANSWER_SECONDS = 60, 2 * 3600
# As much as any body that the panel accepts, and its last byte.
LARGEST_BODY_BYTES = 16 * 1024 * 1024 + 1
# Of a body, before the application has said that it knows the sender and wants the body.
UNPROVEN_BYTES = 64 * 1024
# Cookies, tokens and addresses are shorter; waitress's default is 256 KiB a connection.
_LARGEST_HEADER_BYTES = 32 * 1024
# What is larger waits in a temporary file.
_BUFFERED_BYTES = 64 * 1024
# The line with the size of a chunk, and the fields after the last chunk; nobody needs either.
_LARGEST_CHUNK_HEAD_BYTES = 4 * 1024
# Of one answer, in a temporary file: with less, a slow reader would hold a thread.
_LARGEST_ANSWER_BYTES = 1 << 30
_MAINTENANCE_SECONDS = 5
# Each round of waitress's loop asks every connection whether it has something to do.
_ACCEPTED_AT_ONCE = 100
# Of the connections, one of so many makes room where they are too many.
_ROOM_SHARE = 30
# The one request whose answer may wait for something to happen, and the parameter that says so.
_WAITING_PATH, _WAITING_PARAMETER = "/api/v1/changes", "wait"
_LANE_OF_PROGRAMS = ("/sync/exchange", "/sync/join", "/sync/part/", "/sync/v5/", "/api/")
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

    def get_environment(self) -> "WSGIEnvironment":
        """Return the environment, which says whether an answer is still wanted."""
        environ: WSGIEnvironment = super().get_environment()
        return {**environ, STILL_WANTED: self.channel.is_answer_wanted}

    def set_close_on_finish(self) -> None:
        """Close the connection after this answer, unless it can stay open."""
        asked_to_close = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or asked_to_close or self.version != "1.1":
            super().set_close_on_finish()


class _StrictParser(HTTPRequestParser):  # type: ignore[misc]
    """A request; one whose body has two lengths is refused, and its connection closed.

    A proxy before the panel may go by the other one, and take what follows for the next request
    (RFC 9112, 6.1 and 11.2).
    """

    def received(self, data: bytes) -> int:
        """Take in ``data``; return how many bytes of it belong to this request.

        waitress keeps the size of a chunk and what follows the last one in memory, however long,
        also of a body that is dropped.
        """
        taken: int = super().received(data)
        receiver = self.body_rcv
        kept = getattr(receiver, "control_line", b"") + getattr(receiver, "trailer", b"")
        if len(kept) > _LARGEST_CHUNK_HEAD_BYTES:
            self.error, self.completed = BadRequest("A chunk's size is too long"), True
        if self.error is not None:
            # Else a dropped body would be forgotten, and what follows be the next request.
            self.empty = False
        return taken

    def parse_header(self, header_plus: bytes) -> None:
        """Take in the head."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            # Python reads no whole number of more than 4300 digits.
            raise ParsingError("Content-Length is invalid") from error
        has_coding = self.chunked or "TRANSFER_ENCODING" in self.headers
        if has_coding and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding do not go together")


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    """The answer to a request that could not be parsed."""

    def build_response_header(self) -> bytes:
        """Return the head; a browser is to take the body for nothing but text."""
        self.response_headers.append(("X-Content-Type-Options", "nosniff"))
        return bytes(super().build_response_header())


class _BodyWanted(BaseException):
    """The application reads the body: it knows the sender.

    It is no Exception, so that the application does not answer it as a failure.
    """


class _Withheld:
    """The input of a request whose body has not been taken in."""

    def read(self, *_: object) -> bytes:
        raise _BodyWanted

    readline = readlines = readinto = __iter__ = read


class _HeadersTask(KeepAliveTask):
    """A request without its body: answered, unless the application wants to read the body."""

    def get_environment(self) -> "WSGIEnvironment":
        """Return the environment, with an input that cannot be read yet."""
        environ: WSGIEnvironment = super().get_environment()
        return {**environ, "wsgi.input": _Withheld()}


class _Nothing:
    """The buffer of a body that nobody wants."""

    def append(self, _piece: bytes) -> None:
        """Drop it."""

    def close(self) -> None:
        """Nothing is open."""

    def __len__(self) -> int:
        return 0


class GuardedChannel(HTTPChannel):  # type: ignore[misc]
    """One client's connection, with deadlines.

    Before more than :data:`UNPROVEN_BYTES` of a body are taken in, the application is asked with
    the headers alone. It reads no body of a stranger (ARCHITECTURE.md, *What must stay so*), so an
    answer without reading is the refusal, and what follows of the body is dropped.
    """

    task_class, error_task_class, parser_class = KeepAliveTask, _ErrorTask, _StrictParser
    # When the first byte of the request that is being received arrived.
    _began_at: float | None = None
    _has_asked = False
    _is_asking = False
    # It has asked for something before.
    is_known_client = False
    # Since when an answer waits for the client, and how many bytes of it have gone since.
    _waits_since: float | None = None
    _fetched = 0
    # The next request waits for the client to fetch the answers before it.
    _is_put_off = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # What is read for each try to send, of which a slow reader takes little.
        self.sendbuf_len: int = min(self.sendbuf_len, _BUFFERED_BYTES)

    def received(self, data: bytes) -> bool:
        """Take in ``data``; ask the application where a body gets large."""
        if self._began_at is None and data.startswith(_TLS_HELLO):
            # Refused at once: else each side would wait for the other one.
            data = _NO_REQUEST
        taken: bool = super().received(data)
        if self.request is None:
            self._began_at, self._has_asked = None, False
            return taken
        self._began_at = self._began_at or time.time()
        if self._is_large_body() and not self._has_asked and not self.requests:
            self._has_asked = self._is_asking = True
            self.server.add_task(self)
        return taken

    def _is_large_body(self) -> bool:
        sizes = self.request.content_length, self.request.body_bytes_received
        return bool(self.request.headers_finished) and max(sizes) > UNPROVEN_BYTES

    def readable(self) -> bool:
        """Say whether to read on: not while the application is asked."""
        return not self._is_asking and bool(super().readable())

    def writable(self) -> bool:
        """Say whether to write: while the application is asked, its thread writes alone."""
        return not self._is_asking and bool(super().writable())

    @property
    def lane_path(self) -> str:
        """The path of the request that waits for a thread."""
        request = self.requests[0] if self.requests else self.request
        # One that could not be parsed has none.
        return str(getattr(request, "path", ""))

    @property
    def waits(self) -> bool:
        """Say whether the answer to the request may wait for something to happen."""
        query = str(getattr(self.requests[0], "query", "")) if self.requests else ""
        return may_wait(self.lane_path, query)

    def is_answer_wanted(self) -> bool:
        """Say whether the client is there and the server goes on."""
        return not (self.server.task_dispatcher.is_stopping or self._has_gone())

    @property
    def has_large_body(self) -> bool:
        """Say whether a body waits for a thread that was let in: not while that is asked."""
        return bool(self.requests) and self.requests[0].body_bytes_received > UNPROVEN_BYTES

    def service(self) -> None:
        """Answer the next request, or find out whether the application wants a body."""
        if self._has_gone():
            # It repeats its request if it wants an answer; this one would only be in its way.
            self.cancel()
            self.server.pull_trigger()
            return
        self.is_known_client = True
        if not self._is_asking:
            if not self._puts_off():
                super().service()
            return
        try:
            self._ask()
        finally:
            self._is_asking = False
            self.server.pull_trigger()

    def _puts_off(self) -> bool:
        """Say whether the next request waits, since an answer does.

        A client may send hundreds of requests at once. Each answer that it does not fetch would
        keep a file open.
        """
        with self.outbuf_lock:
            self._is_put_off = bool(self.total_outbufs_len)
        return self._is_put_off

    def handle_write(self) -> None:
        """Send what the client takes; then answer its next request, if that was put off."""
        super().handle_write()
        if self._is_put_off and not self.total_outbufs_len:
            self._is_put_off = False
            self.server.add_task(self)

    def _has_gone(self) -> bool:
        """Say whether the client hung up while its request waited for a thread."""
        if self.socket is None:
            return True
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _ask(self) -> None:
        task = _HeadersTask(self, self.request)
        try:
            task.service()
        except _BodyWanted:
            return
        except Exception:
            logging.getLogger(__name__).exception("Exception before a body was read")
            self.will_close = True
            return
        # Dropped, not cut off: a client reads the answer once it has sent its body.
        self.request.body_rcv.buf.close()
        self.request.body_rcv.buf = _Nothing()
        # waitress forgets an empty request when it is complete.
        self.request.empty = True
        if task.close_on_finish:
            self.close_when_flushed = True

    def cancel(self) -> None:
        """Give up a request that waits for a thread, since the server stops."""
        self._is_asking = False
        super().cancel()

    def give_up(self) -> None:
        """Close the connection, though the client may not fetch what it was sent."""
        self.will_close = True
        if self.total_outbufs_len:
            # Nothing says otherwise that there is room to write, upon which waitress closes.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is being answered."""
        return self._is_put_off or (not self.requests and not self._is_asking)

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send what the client takes of ``data``; return how many bytes that is."""
        sent: int = super().send(data, do_close)
        self._fetched += sent
        return sent

    def _is_slow_reader(self, now: float) -> bool:
        """Say whether the client fetches its answer too slowly; asked every few seconds."""
        if not self.total_outbufs_len:
            self._waits_since = None
            return False
        if self._waits_since is None:
            self._waits_since, self._fetched = now, 0
        allowed = ANSWER_SECONDS + self._fetched / LEAST_BYTES_A_SECOND
        return now - self._waits_since > min(allowed, LONGEST_ANSWER_SECONDS)

    def is_overdue(self, now: float) -> bool:
        """Say whether the client has kept this connection for longer than it may."""
        if not self.is_idle:
            return False
        if self._is_slow_reader(now):
            return True
        if self._began_at is not None and self.request is not None:
            received = self.request.body_bytes_received
            more = BODY_SECONDS + received / LEAST_BYTES_A_SECOND
            allowed = more if self.request.headers_finished else HEADER_SECONDS
            return now - self._began_at > allowed
        is_new = not self.is_known_client and not self.total_outbufs_len
        return bool(now - self.last_activity > (HEADER_SECONDS if is_new else KEEP_ALIVE_SECONDS))


def may_wait(path: str, query: str) -> bool:
    """Say whether the answer to a request may wait for something to happen."""
    # Parsed as the application does it: a name may be written with percent signs.
    parameters = parse_qs(query, keep_blank_values=True)
    return path.endswith(_WAITING_PATH) and _WAITING_PARAMETER in parameters


class _Lanes:
    """The threads that answer: half for pages and supervisors, the others for programs.

    However many satellites push at once, a page finds a thread. One thread is for large bodies,
    which are answered one after another anyway: no small one waits behind all of them. Answers that
    wait for something to happen have threads that nobody else needs.
    """

    is_stopping = False

    def __init__(self, threads: int) -> None:
        self._pages, self._programs = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        self._large, self._waiting = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        self._pages.set_thread_count(max(threads - threads // 2, 1))
        self._programs.set_thread_count(max(threads // 2 - 1, 1))
        self._large.set_thread_count(1)
        # One more, for those that are too many.
        self._waiting.set_thread_count(MOST_WAITING_ANSWERS + 1)

    def add_task(self, channel: GuardedChannel) -> None:
        """Let a thread of the right lane run ``channel.service``."""
        if not any(part in channel.lane_path for part in _LANE_OF_PROGRAMS):
            self._pages.add_task(channel)
        elif channel.waits:
            self._waiting.add_task(channel)
        else:
            (self._large if channel.has_large_body else self._programs).add_task(channel)

    def shutdown(self) -> None:
        """Finish what is being answered; nobody waits any longer for something to happen."""
        self.is_stopping = True
        for lane in (self._waiting, self._large, self._programs, self._pages):
            lane.shutdown()


class GuardedServer(TcpWSGIServer):  # type: ignore[misc]
    """The listening socket and its connections."""

    channel_class = GuardedChannel

    def handle_accept(self) -> None:
        """Accept the connections that wait, in the place of idle ones if there are too many."""
        for _ in range(_ACCEPTED_AT_ONCE):
            before = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) == before:
                return
            if before >= MOST_CONNECTIONS:
                self._make_room()

    def _make_room(self) -> None:
        *others, _newest = self.active_channels.values()
        idle = [channel for channel in others if channel.is_idle]
        # An attacker has many from one address; 40 satellites behind one have 40. But they ask for
        # something at once, and who does not goes first, from however many addresses.
        counts = Counter(channel.addr[0] for channel in idle)
        silent_since = time.time() - SILENT_SECONDS

        def place(channel: GuardedChannel) -> tuple[bool, bool, int, float]:
            at = channel.last_activity
            is_silent = not channel.is_known_client and at < silent_since
            # An answer may be on its way still.
            is_sending = channel.total_outbufs_len > 0
            return is_sending, not is_silent, -counts[channel.addr[0]], at

        # Several at once: to look at all of them takes a millisecond, and an attacker comes again.
        for number, channel in enumerate(
            nsmallest(max(1, len(others) // _ROOM_SHARE), idle, key=place)
        ):
            if number == 0 or not channel.total_outbufs_len:
                channel.handle_close()

    def maintenance(self, now: float) -> None:
        """Close the connections that are kept for longer than they may."""
        for channel in self.active_channels.values():
            if channel.is_overdue(now):
                channel.give_up()


def serve(app: "WSGIApplication", listener: socket.socket, threads: int) -> None:
    """Answer requests to ``app`` on ``listener`` until SIGTERM or Ctrl-C; then finish open ones.

    ``threads`` is how many requests are answered at the same time.
    """
    # waitress would log every request that waits a moment for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    tune_malloc()
    _allow_open_files()
    server = make_server(app, listener, threads)
    exit_on_sigterm()
    server.run()


def make_server(app: "WSGIApplication", listener: socket.socket, threads: int) -> GuardedServer:
    """Return a server that does not run yet; takes what :func:`serve` takes."""
    settings: dict[str, Any] = {
        "sockets": [listener],
        "ident": None,
        "cleanup_interval": _MAINTENANCE_SECONDS,
        # The listener, the trigger, and what cannot make room since it is being answered.
        "connection_limit": MOST_CONNECTIONS + 50,
        "max_request_body_size": LARGEST_BODY_BYTES,
        "max_request_header_size": _LARGEST_HEADER_BYTES,
        "inbuf_overflow": _BUFFERED_BYTES,
        "outbuf_overflow": _BUFFERED_BYTES,
        "outbuf_high_watermark": _LARGEST_ANSWER_BYTES,
        "asyncore_use_poll": hasattr(select, "poll"),
        # The application checks proxies itself (panel.web.base.proxy), behind any WSGI server.
        "clear_untrusted_proxy_headers": False,
    }
    return GuardedServer(
        app,
        _sock=listener,
        dispatcher=_Lanes(threads),
        adj=Adjustments(**settings),
        sockinfo=(listener.family, listener.type, None, None),
        bind_socket=False,
    )


def _allow_open_files() -> None:
    """Raise this process's limit of open files, as far as the system lets it (not on Windows)."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
