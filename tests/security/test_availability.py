"""No request keeps the panel from answering others: connections, bodies, threads, trials."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from panel.activity.log import Actor
from panel.config import MOST_WAITING_ANSWERS, STILL_WANTED
from panel.db import Database
from panel.operations import connection_test
from panel.operations.connection_test import try_connection
from panel.server import UNPROVEN_BYTES, _Lanes, make_server, may_wait
from panel.sync.transport.http import HttpTransport, LinkFault, Target
from tests.security.attacked import basic, dribbling_server, make_primary, open_files
from tests.support.installations import installation_on
from tests.support.processes import ForkedPanel
from tests.support.web_sites import make_satellite

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ASHA = Actor("asha")
MOST_CONNECTIONS = 30
WAIT_SECONDS = 30
HEALTH = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedPanel]:
    """A primary with few connections and short deadlines."""
    panel = ForkedPanel(
        tmp_path_factory.mktemp("primary"),
        constants={
            "panel.server.MOST_CONNECTIONS": MOST_CONNECTIONS,
            "panel.server.HEADER_SECONDS": 1,
            "panel.server.BODY_SECONDS": 1,
            "panel.server.SILENT_SECONDS": 0,
            "panel.server._MAINTENANCE_SECONDS": 1,
        },
    )
    make_primary(panel)
    panel.start()
    yield panel
    panel.stop()


def connect(panel: ForkedPanel, text: str = "") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", panel.port), timeout=WAIT_SECONDS)
    try:
        connection.sendall(text.encode())
    except OSError:
        connection.close()
        raise
    return connection


def is_well(panel: ForkedPanel) -> bool:
    connection = HTTPConnection("127.0.0.1", panel.port, timeout=WAIT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def headers(authorization: str, length: int, more: str = "") -> str:
    return (
        f"POST /sync/exchange HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n"
        f"Content-Length: {length}\r\n{more}\r\n"
    )


@pytest.mark.parametrize("text", ["", "GET / HT", headers("Bearer 7.nobody", 500_000) + "{"])
def test_connections_that_ask_for_nothing_keep_nobody_out(primary: ForkedPanel, text: str) -> None:
    held = []
    for _ in range(3 * MOST_CONNECTIONS):
        # One may make room before it has sent anything.
        with contextlib.suppress(ConnectionError):
            held.append(connect(primary, text))
    try:
        assert is_well(primary)
    finally:
        for connection in held:
            connection.close()


def test_connections_of_many_addresses_close_none_that_was_used(primary: ForkedPanel) -> None:
    kept = []
    for _ in range(4):
        kept.append(connect(primary, HEALTH))
        assert answer_of(kept[-1]).startswith(b"HTTP/1.1 200")
    target = ("127.0.0.1", primary.port)
    held = [
        socket.create_connection(target, WAIT_SECONDS, source_address=(f"127.0.3.{number}", 0))
        for number in range(1, 3 * MOST_CONNECTIONS)
    ]
    try:
        for connection in kept:
            connection.sendall(HEALTH.encode())
            assert answer_of(connection).startswith(b"HTTP/1.1 200")
    finally:
        for connection in (*held, *kept):
            connection.close()


@pytest.mark.parametrize("text", ["", "GET / HT", headers(basic("shared"), 50_000) + "{"])
def test_what_is_never_sent_whole_is_given_up(primary: ForkedPanel, text: str) -> None:
    connection = connect(primary, text)
    # It would raise a time-out if the panel went on waiting.
    assert connection.recv(1_000) == b""
    connection.close()


def test_who_begins_with_tls_is_told_at_once(primary: ForkedPanel) -> None:
    line = HttpTransport(Target(f"https://127.0.0.1:{primary.port}"))
    with pytest.raises(LinkFault, match="no_tls"):
        line.send("POST", "/sync/exchange", {}, b"{}")
    line.close()


def answer_of(connection: socket.socket) -> bytes:
    """Return an answer with its body, on a connection that stays open."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        assert piece, "the panel hung up"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += connection.recv(65_536)
    return head + body


def test_a_strangers_body_is_refused_from_its_headers(primary: ForkedPanel) -> None:
    length = 10 * 2**20
    connection = connect(primary, headers("Bearer 7.nobody", length))
    # Answered before a byte of the body.
    assert answer_of(connection).startswith(b"HTTP/1.1 401")
    temporary = [file for file in open_files(primary) if "(deleted)" in file]
    connection.sendall(b"x" * length)
    assert [file for file in open_files(primary) if "(deleted)" in file] == temporary
    # The connection goes on for who sends the body all the same.
    connection.sendall(HEALTH.encode())
    assert answer_of(connection).startswith(b"HTTP/1.1 200")
    connection.close()


@pytest.mark.parametrize("more", ["", "Expect: 100-continue\r\n"])
def test_a_large_body_of_a_satellite_is_read_whole(primary: ForkedPanel, more: str) -> None:
    body = b'{"version":1,"x":"%s"}' % (b"y" * 3 * UNPROVEN_BYTES)
    connection = connect(primary, headers(basic("shared"), len(body), more))
    if more:
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(body)
    answer = answer_of(connection)
    # Only who read it knows that there is no identity in it.
    assert b"bad_request" in answer
    connection.close()


class Request:
    """A request that waits for a thread, as the dispatcher sees it."""

    def __init__(
        self, path: str, work: Any, *, has_large_body: bool = False, waits: bool = False
    ) -> None:
        self.lane_path, self.service, self.has_large_body = path, work, has_large_body
        self.waits = waits

    def cancel(self) -> None:
        """The lanes close while it waits."""


def test_pages_find_a_thread_while_satellites_push() -> None:
    lanes: Any = _Lanes(4)
    may_end, answered = threading.Event(), threading.Event()
    for path in ("/below/sync/exchange", "/sync/part/0", "/sync/v5/site", "/api/v1/records") * 3:
        lanes.add_task(Request(path, may_end.wait))
    lanes.add_task(Request("/healthz", answered.set))
    assert answered.wait(WAIT_SECONDS)
    may_end.set()
    lanes.shutdown()


def test_small_messages_find_a_thread_while_large_ones_are_answered() -> None:
    lanes: Any = _Lanes(4)
    may_end, answered = threading.Event(), threading.Event()
    for path in ("/sync/exchange", "/sync/v5/site", "/api/v1/records") * 3:
        lanes.add_task(Request(path, may_end.wait, has_large_body=True))
    lanes.add_task(Request("/sync/exchange", answered.set))
    assert answered.wait(WAIT_SECONDS)
    may_end.set()
    lanes.shutdown()


def test_satellites_find_a_thread_while_applications_wait() -> None:
    lanes: Any = _Lanes(4)
    may_end, answered = threading.Event(), threading.Event()
    for _ in range(MOST_WAITING_ANSWERS + 5):
        lanes.add_task(Request("/api/v1/changes", may_end.wait, waits=True))
    lanes.add_task(Request("/sync/exchange", answered.set))
    assert answered.wait(WAIT_SECONDS)
    may_end.set()
    lanes.shutdown()


@pytest.mark.parametrize(
    ("path", "query", "may"),
    [
        ("/api/v1/changes", "since=7&wait=30", True),
        ("/sync/api/v1/changes", "wait=30", True),
        ("/api/v1/changes", "%77ait=30", True),
        ("/api/v1/changes", "since=wait", False),
        ("/api/v1/records/item", "wait=30", False),
    ],
)
def test_only_who_may_wait_gets_a_thread_for_that(path: str, query: str, may: bool) -> None:
    assert may_wait(path, query) is may


def test_who_waits_is_let_go_when_the_server_stops() -> None:
    is_waiting, let_go = threading.Event(), threading.Event()

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        while environ[STILL_WANTED]():
            is_waiting.set()
        let_go.set()
        start_response("200 OK", [("Content-Length", "0")])
        return []

    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(app, listener, threads=1)
    running = threading.Thread(target=server.run, daemon=True)
    running.start()
    with socket.create_connection(listener.getsockname(), timeout=WAIT_SECONDS) as client:
        client.sendall(b"GET /api/v1/changes?wait=30 HTTP/1.1\r\nHost: panel\r\n\r\n")
        assert is_waiting.wait(WAIT_SECONDS)
        server.task_dispatcher.shutdown()
        assert let_go.wait(WAIT_SECONDS)
    server.close()


def test_a_request_whose_client_hung_up_is_not_answered() -> None:
    may_end, has_begun, asked = threading.Event(), threading.Event(), list[str]()

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        asked.append(environ["PATH_INFO"])
        has_begun.set()
        may_end.wait(WAIT_SECONDS)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(app, listener, threads=1)
    running = threading.Thread(target=server.run, daemon=True)
    running.start()

    def ask(path: str) -> socket.socket:
        client = socket.create_connection(listener.getsockname(), timeout=WAIT_SECONDS)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return client

    with ask("/first") as first:
        assert has_begun.wait(WAIT_SECONDS)
        ask("/gone").close()
        with ask("/last") as last:
            may_end.set()
            for client in (first, last):
                assert client.recv(100).startswith(b"HTTP/1.1 200")
    server.close()
    assert asked == ["/first", "/last"]


def test_requests_sent_at_once_are_answered_as_the_answers_are_fetched() -> None:
    """Each answer that waits keeps a file open, and some thousands of files are all there are."""
    # More than the buffers of a connection hold.
    count, size = 100, 2**17
    asked = list[str]()

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        asked.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Length", str(size))])
        return [b"x" * size]

    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(app, listener, threads=1)
    threading.Thread(target=server.run, daemon=True).start()
    with contextlib.closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.settimeout(WAIT_SECONDS)
        client.connect(listener.getsockname())
        client.sendall(b"GET /many HTTP/1.1\r\nHost: a\r\n\r\n" * count)
        for _ in range(count * 3 // 4):
            # Answered by the same thread, in turns with what it has to do for the first client.
            port = listener.getsockname()[1]
            other = HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
            with contextlib.closing(other):
                other.request("GET", "/other")
                assert len(other.getresponse().read()) == size
        before = asked.count("/many")
        assert before < count // 2
        here = client.getsockname()
        (channel,) = (one for one in server.active_channels.values() if one.addr == here)
        assert channel.is_overdue(time.time()) is False
        assert channel.is_overdue(time.time() + 3_600) is True
        left = count * size
        while left > 0:
            left -= len(client.recv(2**20))
        assert asked.count("/many") == count
    server.close()


@pytest.mark.parametrize("length", ["9" * 5_000, "9" * 30, "1_0", "+5"])
def test_a_length_that_is_none_is_refused(primary: ForkedPanel, length: str) -> None:
    head = f"POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
    with connect(primary, head) as connection:
        assert connection.recv(100).split(b" ")[1] in (b"400", b"413")


@pytest.fixture
def dribbling_url() -> Iterator[str]:
    """A server that sends the head of an answer, and then a byte now and then."""
    with dribbling_server(pause_seconds=0.05) as url:
        yield url


def test_a_trial_has_one_deadline_for_all_of_it(
    database: Database, dribbling_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_test, "TRIAL_SECONDS", 1.0)
    installation = installation_on(database, "machine-7")
    make_satellite(database, installation.config, dribbling_url)
    codes: list[str] = []
    threads = [
        threading.Thread(target=lambda: codes.append(try_connection(installation, ASHA).code))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert sorted(codes) == ["timed_out"] * 2 + ["trial_under_way"] * 3
    # Their places are free again once their connections have ended.
    deadline = time.monotonic() + WAIT_SECONDS
    while try_connection(installation, ASHA).code != "timed_out":
        assert time.monotonic() < deadline
