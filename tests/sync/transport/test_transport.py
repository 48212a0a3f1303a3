"""The line: whom it believes, what it calls a fault, and how patient it is."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256

import pytest
import trustme

from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.transport import http
from panel.sync.transport.exchange_client import read_error
from panel.sync.transport.http import HttpTransport, LinkFault, Response, Target, proxy_url

WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[[socket.socket], None]


def _read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := connection.recv(65_536)):
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def _answer(*answers: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        for answer in answers:
            _read_request(connection)
            connection.sendall(answer)

    return talk


@contextmanager
def _server(
    *talks: Talk, context: ssl.SSLContext | None = None, receive_buffer: int = 0
) -> Iterator[int]:
    """Answer one connection after the other as ``talks`` do, and yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

    def serve() -> None:
        for talk in talks:
            answer(talk)

    def answer(talk: Talk) -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                with connection:
                    talk(connection)
        except OSError:
            # The other side hung up, which is what some of these tests are about.
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # Wakes an accept that nobody came to.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _send(target: Target, content: bytes = b"{}") -> Response:
    line = HttpTransport(target)
    try:
        return line.send("POST", "/sync/exchange", {"Accept-Encoding": "br"}, content)
    finally:
        line.close()


def _fault(target: Target) -> LinkFault:
    with pytest.raises(LinkFault) as caught:
        _send(target)
    return caught.value


def test_one_connection_serves_a_whole_run_and_its_bytes_are_counted() -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        for _ in range(2):
            seen.append(_read_request(connection))
            connection.sendall(WELL)

    with _server(talk) as port:
        line = HttpTransport(Target(f"http://127.0.0.1:{port}/central"))
        for _ in range(2):
            assert line.send("POST", "/x", {"Accept-Encoding": "br"}, b"{}").content == b"{}"
        line.close()
    assert seen[0].startswith(b"POST /central/x HTTP/1.1\r\n")
    # Nothing that the line would have to carry and nobody reads.
    assert b"user-agent" not in seen[0].lower()
    assert line.meter.take_bytes() == (sum(map(len, seen)), 2 * len(WELL))
    assert line.meter.take_bytes() == (0, 0)
    assert line.meter.round_trip_seconds > 0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


@pytest.fixture
def secure(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _fingerprint(certificate: trustme.LeafCert) -> str:
    pem = certificate.cert_chain_pems[0].bytes().decode()
    return sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_a_certificate_is_believed_by_a_private_authority_or_its_fingerprint(
    authority: trustme.CA, certificate: trustme.LeafCert, secure: ssl.SSLContext
) -> None:
    private_ca = authority.cert_pem.bytes().decode()
    for trust in ({"private_ca": private_ca}, {"fingerprint": _fingerprint(certificate)}):
        with _server(_answer(WELL), context=secure) as port:
            assert _send(Target(f"https://127.0.0.1:{port}", **trust)).status == 200


def test_any_other_certificate_is_not(secure: ssl.SSLContext) -> None:
    for fingerprint in ("", "ab" * 32):
        with _server(_answer(WELL), context=secure) as port:
            fault = _fault(Target(f"https://127.0.0.1:{port}", fingerprint=fingerprint))
            assert fault.code == "certificate"
            assert fault.values["why"]


def test_a_certificate_of_another_name_is_not_believed(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example.org").configure_cert(context)
    private_ca = authority.cert_pem.bytes().decode()
    with _server(_answer(WELL), context=context) as port:
        fault = _fault(Target(f"https://127.0.0.1:{port}", private_ca=private_ca))
        assert fault.code == "certificate"


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert _fault(Target(f"http://127.0.0.1:{port}")).code == "connection_refused"


def test_a_name_that_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _no_such_name)
    fault = _fault(Target("http://central.example.org"))
    assert (fault.code, fault.values) == ("name_not_found", {"host": "central.example.org"})


def test_a_silence_is_a_time_out_but_a_slow_answer_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "SILENCE_SECONDS", 0.5)
    finished = threading.Event()

    def drip(connection: socket.socket) -> None:
        _read_request(connection)
        for byte in WELL:
            connection.sendall(bytes([byte]))
            finished.wait(0.03)

    def be_silent(connection: socket.socket) -> None:
        _read_request(connection)
        connection.sendall(WELL[:10])
        finished.wait(20)

    with _server(drip) as port:
        assert _send(Target(f"http://127.0.0.1:{port}")).seconds > 0.5
    with _server(be_silent) as port:
        assert _fault(Target(f"http://127.0.0.1:{port}")).code == "timed_out"
        finished.set()


def _read_slowly(connection: socket.socket, seconds: float, most_bytes: int) -> None:
    """Read what is sent with a pause of so many seconds after every 16 KiB."""
    pause, read = threading.Event(), 0
    while read < most_bytes and (piece := connection.recv(16_384)):
        read += len(piece)
        pause.wait(seconds)


def test_a_slow_upload_is_no_fault_but_one_that_stops_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SILENCE_SECONDS", 1.0)
    finished, upload = threading.Event(), bytes(1_000_000)

    def drip(connection: socket.socket) -> None:
        _read_slowly(connection, 0.03, len(upload))
        connection.sendall(WELL)

    def stop(connection: socket.socket) -> None:
        _read_slowly(connection, 0.0, 200_000)
        finished.wait(20)

    with _server(drip, receive_buffer=32_768) as port:
        assert _send(Target(f"http://127.0.0.1:{port}"), upload).seconds > 1.0
    with _server(stop, receive_buffer=32_768) as port:
        line = HttpTransport(Target(f"http://127.0.0.1:{port}"))
        with pytest.raises(LinkFault, match="timed_out"):
            line.send("POST", "/x", {}, upload)
        line.close()
        finished.set()
    # What left was sent in vain, and costs as much.
    up, down = line.meter.take_bytes()
    assert 200_000 <= up < len(upload)
    assert down == 0


@contextmanager
def _sending(line: HttpTransport) -> Iterator[Future[Response]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(line.send, "POST", "/x", {}, b"{}")


def _assert_stopped(line: HttpTransport, sent: Future[Response]) -> None:
    line.abort()
    with pytest.raises(LinkFault, match="stopped_by_hand"):
        sent.result()
    # Nor does it begin again.
    with pytest.raises(LinkFault, match="stopped_by_hand"):
        line.send("POST", "/x", {}, b"{}")
    line.close()


def test_what_waits_for_an_answer_can_be_ended() -> None:
    asked, finished = threading.Event(), threading.Event()

    def be_silent(connection: socket.socket) -> None:
        _read_request(connection)
        asked.set()
        finished.wait(20)

    with _server(be_silent) as port:
        line = HttpTransport(Target(f"http://127.0.0.1:{port}"))
        assert line.meter.silent_seconds() == 0
        with _sending(line) as sent:
            asked.wait()
            assert line.meter.silent_seconds() > 0
            _assert_stopped(line, sent)
        finished.set()
    assert line.meter.silent_seconds() == 0


def test_what_waits_for_a_name_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, finished = threading.Event(), threading.Event()

    def wait(*_arguments: object, **_options: object) -> None:
        asked.set()
        finished.wait(20)
        _no_such_name()

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    line = HttpTransport(Target("http://central.example.org"))
    with _sending(line) as sent:
        asked.wait()
        _assert_stopped(line, sent)
    finished.set()


def test_what_came_of_an_answer_that_broke_is_counted() -> None:
    with _server(_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + bytes(500))) as port:
        line = HttpTransport(Target(f"http://127.0.0.1:{port}"))
        with pytest.raises(LinkFault, match="cut_off"):
            line.send("POST", "/x", {}, bytes(300))
        line.close()
    assert line.meter.take_bytes() == (300, 500)


def test_a_broken_line_is_cut_off() -> None:
    for answer in (b"", WELL[:-1], b"HTTP/1.1 200 OK\r\nContent-Le"):
        # Where nothing came, it is asked whether it speaks TLS.
        with _server(_answer(answer), lambda _: None) as port:
            assert _fault(Target(f"http://127.0.0.1:{port}")).code == "cut_off"


def test_an_answer_without_end_is_no_sync_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_BODY_BYTES", 100_000)
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 200_000
    with _server(_answer(endless)) as port:
        assert _fault(Target(f"http://127.0.0.1:{port}")).code == "not_a_sync_server"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://a.example.org/", "https://a.example.org/"),
        # The address that the satellite asked for is no URL to enter.
        ("https://a.example.org/sync/exchange", "https://a.example.org"),
        ("https://a.example.org/panel/sync/exchange?x=1", "https://a.example.org/panel"),
        ("/panel/sync/exchange", "http://127.0.0.1:{port}/panel"),
        ("/sign-in?back=/sync/exchange", "http://127.0.0.1:{port}/sign-in?back=/sync/exchange"),
    ],
)
def test_redirects_are_told_and_not_followed(location: str, told: str) -> None:
    moved = f"HTTP/1.1 301 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    with _server(_answer(moved.encode())) as port:
        fault = read_error(_send(Target(f"http://127.0.0.1:{port}")))
    assert isinstance(fault, LinkFault)
    assert (fault.code, fault.values) == ("redirected", {"location": told.format(port=port)})


def test_a_redirect_to_no_address_is_told_without_one() -> None:
    moved = b"HTTP/1.1 301 Moved\r\nLocation: http://[bad\r\nContent-Length: 0\r\n\r\n"
    with _server(_answer(moved)) as port:
        fault = read_error(_send(Target(f"http://127.0.0.1:{port}")))
    assert isinstance(fault, LinkFault)
    assert (fault.code, fault.values) == ("redirected", {"location": ""})


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}",
    ],
)
def test_a_length_that_is_none_is_of_no_sync_server(head: bytes) -> None:
    with _server(_answer(b"HTTP/1.1 200 OK\r\n" + head)) as port:
        assert _fault(Target(f"http://127.0.0.1:{port}")).code == "not_a_sync_server"


@pytest.mark.parametrize("date", [f"{9 * 10**30} 00:00:00 GMT", f"2026 00:00:00 +{10**30}"])
def test_a_date_that_no_clock_shows_says_nothing(date: str) -> None:
    response = Response(200, {"Date": f"Mon, 01 Jan {date}"}, b"", 0.0)
    assert response.clock_ahead_seconds(datetime.now(UTC)) is None


# --- plain where TLS is spoken, and the other way -------------------------------------------------

PLAIN_400 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_https_at_a_port_of_http_is_named_by_what_it_answers() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(4_096)
        connection.sendall(PLAIN_400)

    with _server(refuse) as port:
        fault = _fault(Target(f"https://127.0.0.1:{port}"))
    assert (fault.code, fault.values) == ("no_tls", {"host": "127.0.0.1"})


@pytest.mark.parametrize("before", [b"", PLAIN_400, b"\x15\x03\x01\x00\x02\x02\x46"])
def test_http_at_a_port_of_https_is_named(secure: ssl.SSLContext, before: bytes) -> None:
    """Some hang up, some answer in HTTP all the same, and some with an alert of TLS."""

    def refuse(connection: socket.socket) -> None:
        _read_request(connection)
        connection.sendall(before)

    def shake_hands(connection: socket.socket) -> None:
        with secure.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(1)

    with _server(refuse, shake_hands) as port:
        fault = _fault(Target(f"http://127.0.0.1:{port}"))
    assert (fault.code, fault.values) == ("tls_wanted", {"host": "127.0.0.1"})


# --- the proxy of the parameters, and that of the environment -------------------------------------


@pytest.mark.parametrize("host", ["central.example.org", "localhost"])
def test_the_proxy_that_was_set_is_used_for_every_address(
    host: str, through: Callable[[int], None]
) -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        seen.append(_read_request(connection))
        connection.sendall(WELL)

    # That of the environment is not asked.
    through(9)
    with _server(talk) as port:
        proxy = proxy_url(f"http://127.0.0.1:{port}", "clinic", "réef: ŵ@/palm")
        assert _send(Target(f"http://{host}", proxy=proxy)).status == 200
    assert seen[0].startswith(f"POST http://{host}/sync/exchange HTTP/1.1\r\n".encode())
    credentials = b64encode("clinic:réef: ŵ@/palm".encode())
    assert b"\r\nproxy-authorization: Basic " + credentials + b"\r\n" in seen[0]
    assert "palm" not in repr(Target("http://central.example.org", proxy=proxy))


def test_a_proxy_without_a_user_name_gets_no_password() -> None:
    assert proxy_url("http://proxy:3128", "", "letters") == "http://proxy:3128"
    assert proxy_url("", "clinic", "letters") == ""


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the environment name a proxy."""
    for name in ("no_proxy", "all_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def name_it(port: int) -> None:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://clinic:reef%20and%20palm@127.0.0.1:{port}")

    return name_it


def test_a_plain_request_goes_through_the_proxy(through: Callable[[int], None]) -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        seen.append(_read_request(connection))
        connection.sendall(WELL)

    with _server(talk) as port:
        through(port)
        assert _send(Target("http://central.example.org/panel")).status == 200
    assert seen[0].startswith(b"POST http://central.example.org/panel/sync/exchange HTTP/1.1\r\n")
    assert b"\r\nHost: central.example.org\r\n" in seen[0]
    credentials = b64encode(b"clinic:reef and palm")
    assert b"\r\nproxy-authorization: Basic " + credentials + b"\r\n" in seen[0]


def test_tls_goes_through_a_tunnel_of_the_proxy(
    authority: trustme.CA, through: Callable[[int], None]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("central.example.org").configure_cert(context)
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        seen.append(_read_request(connection))
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as inner:
            seen.append(_read_request(inner))
            inner.sendall(WELL)

    with _server(talk) as port:
        through(port)
        target = Target("https://central.example.org", authority.cert_pem.bytes().decode())
        assert _send(target).status == 200
    assert seen[0].startswith(b"CONNECT central.example.org:443 HTTP/1.")
    assert seen[1].startswith(b"POST /sync/exchange HTTP/1.1\r\n")
    assert b"proxy-authorization" not in seen[1].lower()


@pytest.mark.parametrize("url", ["https://central.example.org", "http://central.example.org"])
@pytest.mark.parametrize("is_pinned", [True, False])
def test_a_proxy_with_a_certificate_of_its_own_has_to_prove_who_it_is(
    authority: trustme.CA, secure: ssl.SSLContext, url: str, is_pinned: bool
) -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        seen.append(_read_request(connection))
        connection.sendall(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        )

    def code(private_ca: str) -> str:
        with _server(talk, context=secure) as port:
            proxy = proxy_url(f"https://127.0.0.1:{port}", "clinic", "reef and palm")
            # That of the primary says nothing about the proxy.
            return _fault(Target(url, private_ca, "ab" * 32 if is_pinned else "", proxy)).code

    assert code("") == "proxy_unreachable"
    assert not seen
    assert code(authority.cert_pem.bytes().decode()) == "proxy_refuses"
    assert b"proxy-authorization" in seen[0].lower()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_named(scheme: str, through: Callable[[int], None]) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with _server(_answer(refusal)) as port:
        through(port)
        fault = _fault(Target(f"{scheme}://central.example.org"))
    assert (fault.code, fault.values) == ("proxy_refuses", {"host": "127.0.0.1", "status": 407})


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_away_is_named(scheme: str, through: Callable[[int], None]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        through(taken.getsockname()[1])
        fault = _fault(Target(f"{scheme}://central.example.org"))
    assert (fault.code, fault.values) == ("proxy_unreachable", {"host": "127.0.0.1"})


@pytest.mark.parametrize("url", ["socks5://eve:secret@proxy.test:1080", "http://e:secret@proxy:x"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    url: str, through: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    through(9)
    monkeypatch.setenv("https_proxy", url)
    fault = _fault(Target("https://central.example.org"))
    assert fault.code == "proxy_unreachable"
    assert "secret" not in str(fault.values)


def test_no_proxy_leads_to_this_machine_nor_to_what_is_excepted(
    through: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    through(9)
    with _server(_answer(WELL)) as port:
        assert _send(Target(f"http://127.0.0.1:{port}")).status == 200
    monkeypatch.setenv("no_proxy", "example.org")
    # The tests let nobody out: it was not the proxy that was asked for.
    monkeypatch.setattr(socket, "getaddrinfo", _no_such_name)
    assert _fault(Target("http://central.example.org")).code == "name_not_found"


def _no_such_name(*_arguments: object, **_options: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (500, b"<h1>oops</h1>", LinkFault, "server_error"),
        (502, b"", LinkFault, "server_error"),
        (500, b'{"error": {"code": "internal_error"}}', LinkFault, "server_error"),
        (503, b'{"error": {"code": "maintenance"}}', LinkFault, "server_error"),
        (404, b"<h1>not found</h1>", LinkFault, "not_a_sync_server"),
        (404, b'{"error": {"code": "not_found"}}', LinkFault, "not_a_sync_server"),
        (405, b'{"error": {"code": "method_not_allowed"}}', LinkFault, "not_a_sync_server"),
        (403, b'{"error": "no"}', LinkFault, "not_a_sync_server"),
        (429, b"<h1>slow down</h1>", LinkFault, "too_many_requests"),
        (429, b'{"error": {"code": "too_many_tries"}}', SyncRefusal, "too_many_tries"),
        (511, b"<h1>sign in</h1>", LinkFault, "line_sign_in"),
        (503, b'{"error": {"code": "sync_paused"}}', SyncRefusal, "sync_paused"),
        (409, b'{"error": {"code": "new", "data": {"a": 1}}}', SyncRefusal, "new"),
        (409, b'{"error": {"code": "\\u0000"}}', LinkFault, "not_a_sync_server"),
        # What only this server says of itself.
        (409, b'{"error": {"code": "password_unreadable"}}', LinkFault, "not_a_sync_server"),
        (409, b'{"error": {"code": "removal_needs_consent"}}', LinkFault, "not_a_sync_server"),
    ],
)
def test_answers_that_are_no_success(
    status: int, body: bytes, kind: type[LinkFault | SyncRefusal], code: str
) -> None:
    told = read_error(Response(status, {}, body, 0.0))
    assert isinstance(told, kind)
    assert told.code == code


@pytest.mark.parametrize("values", ['{"why": "\\ud800"}', f'{{"why": "{"x" * 4_000}"}}', "[1]"])
def test_values_that_no_page_could_show_are_left_out(values: str) -> None:
    body = f'{{"error": {{"code": "bad_request", "data": {values}}}}}'.encode()
    told = read_error(Response(409, {}, body, 0.0))
    assert isinstance(told, SyncRefusal)
    assert told.values == {}
