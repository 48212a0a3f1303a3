"""How many requests a second one server answers, and how much memory it has."""

import re
import socket
import time
from http.client import HTTPConnection
from multiprocessing import get_context

import psutil

CLIENTS = 2
SECONDS = 4.0
MEBIBYTE = 1024 * 1024
START_SECONDS = 60
POLL_SECONDS = 0.1


# As Chromium says it to this machine.
ACCEPTED = "gzip, deflate, br"


def requests_per_second(port: int, path: str, cookies: str) -> float:
    """Ask for ``path`` over kept connections for a few seconds, from processes of their own."""
    headers = {"Cookie": cookies, "Accept-Encoding": ACCEPTED}
    with get_context("spawn").Pool(CLIENTS) as pool:
        answered = pool.starmap(_ask, [(port, path, headers)] * CLIENTS)
    return sum(answered) / SECONDS


def _ask(port: int, path: str, headers: dict[str, str]) -> int:
    # No client of the library: it would take as much of the two cores as the server that it asks.
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{k}: {v}" for k, v in headers.items())]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    answered = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            connection.sendall(request)
            _read_answer(connection)
            answered += 1
    return answered


def _read_answer(connection: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        assert piece, "the server hung up"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")), head
    length = re.search(rb"(?i)content-length: (\d+)", head)
    left = (int(length[1]) if length else 0) - len(body)
    while left > 0:
        left -= len(connection.recv(65_536))


def resident_mebibytes(pid: int) -> float:
    """Return the resident memory of a process, its children included."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return float(sum(member.memory_info().rss for member in family)) / MEBIBYTE


def wait_for(port: int) -> None:
    """Return once somebody listens on ``port``; give up after a minute."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            HTTPConnection("127.0.0.1", port, timeout=1).connect()
        except OSError:
            assert time.monotonic() < end, f"nobody listens on {port}"
            time.sleep(POLL_SECONDS)
        else:
            return
