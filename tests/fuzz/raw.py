"""Requests spoilt in their bytes, to a real server: what the application never sees."""

import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.judge import MOST_SECONDS
from tests.fuzz.spoil import FORM, JSON
from tests.security.attacked import basic, make_primary
from tests.support.processes import ForkedPanel

_ODD = (b"\r\n", b"\n", b"\0", b" ", b":", b"\xff", b"\r\n\r\n", b"chunked", b"0\r\n\r\n", b"-1")
_HEAD = "{} HTTP/1.1\r\nHost: panel\r\nAccept-Encoding: gzip\r\n{}Content-Length: {}\r\n\r\n"
_REQUESTS = (
    ("GET /", "", ""),
    ("GET /healthz", "Connection: close\r\n", ""),
    ("POST /sign-in", f"Content-Type: {FORM}\r\n", "name=asha&password=palm&_c=x"),
    ("POST /sync/exchange", f"Authorization: {basic('shared')}\r\n", '{"version":1,"about":""}'),
    ("GET /sync/v5/site", f"Authorization: {basic('kadavu')}\r\nversion: 14\r\n", ""),
    ("PUT /api/v1/records/a/b", f"Content-Type: {JSON}\r\n", '{"data":{}}'),
    ("POST /sync/exchange", "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
)


def send_raw(folder: Path, chance: random.Random, count: int) -> Iterator[str]:
    """Send ``count`` spoilt requests; yield a sentence for each that was not answered well."""
    panel = ForkedPanel(folder)
    make_primary(panel)
    panel.start()
    try:
        for _ in range(count):
            sent = _spoil(chance)
            began = time.monotonic()
            answer = _ask(panel.port, sent)
            if answer.startswith(b"HTTP/1.1 5") or time.monotonic() - began > MOST_SECONDS:
                yield f"{sent!r}\n{answer[:500]!r}, after {time.monotonic() - began:.1f} s"
    finally:
        panel.stop()
    log = (folder / "log").read_text(encoding="utf-8")
    if "Traceback" in log:
        yield log[log.index("Traceback") :][:3_000]


def _spoil(chance: random.Random) -> bytes:
    first, more, body = chance.choice(_REQUESTS)
    length = chance.choice((len(body), len(body), 0, len(body) + 1, 2**31))
    sent = bytearray(_HEAD.format(first, more, length).encode() + body.encode())
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(sent))
        match chance.randrange(4):
            case 0:
                sent[at] = chance.randrange(256)
            case 1:
                sent[at:at] = chance.choice(_ODD)
            case 2:
                del sent[at : at + chance.randrange(1, 8)]
            case _:
                sent[at:at] = sent[: chance.randrange(200)]
    return bytes(sent)


def _ask(port: int, sent: bytes) -> bytes:
    """Send, say that nothing more comes, and return all that comes back."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=2 * MOST_SECONDS) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                received += piece
        except OSError:
            return received
    return received
