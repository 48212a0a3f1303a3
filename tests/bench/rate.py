"""How many requests a second one server answers, and how much memory it has.

The clients speak HTTP by themselves, in few instructions, but run on the cores of the server that
they ask. :attr:`Rate.client_share` says what part of the time they were busy and did not wait. What
a busy machine changes least is :attr:`Rate.server_ms`, the time that the server's own process took.
"""

import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Rate:
    """Answers a second, the server's CPU time for one, and the part of it a client was busy."""

    per_second: float
    server_ms: float
    client_share: float


@dataclass(frozen=True)
class Subject:
    """A server to ask: its process, its port, and the cookies of somebody signed in."""

    pid: int
    port: int
    cookies: str

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server's processes took so far."""
        times = [process.cpu_times() for process in _family(self.pid)]
        return float(sum(time.user + time.system for time in times))


# Makes the path of a client's n-th request.
PathOf = Callable[[int, int], str]


def drawn_per_second(server: Subject, path_of: PathOf) -> Rate:
    """Ask for pages that were never asked for before, so that each has to be drawn."""
    return _measure(server, path_of, {})


def unchanged_per_second(server: Subject, path: str) -> Rate:
    """Ask whether the page at ``path`` changed since it was last sent: 304 each time."""
    headers = {"Cookie": server.cookies, "Accept-Encoding": ACCEPTED}
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    known = {"If-None-Match": answer.headers["ETag"]}
    return _measure(server, Always(path), known, b"304")


@dataclass(frozen=True)
class Always:
    """The same path each time: for peers, which keep no page, and for 304s."""

    path: str

    def __call__(self, client: int, n: int) -> str:
        """Return the path of the ``n``-th request of ``client``."""
        return self.path


@dataclass(frozen=True)
class AnotherEachTime:
    """All rows of the list in another order, and an address that nobody asked for yet."""

    path: str

    def __call__(self, client: int, n: int) -> str:
        """Return the path of the ``n``-th request of ``client``."""
        order, direction = ORDERS[n % len(ORDERS)], ("", "down")[n // len(ORDERS) % 2]
        return f"{self.path}?sort={order}&dir={direction}&n={client}.{n}"


ORDERS = ("sync_id", "name", "store", "hardware_id", "last_success_at")


def _measure(
    server: Subject, path_of: PathOf, headers: Mapping[str, str], status: bytes = b"200"
) -> Rate:
    sent = {"Host": "127.0.0.1", "Cookie": server.cookies, "Accept-Encoding": ACCEPTED, **headers}
    begun = server.cpu_seconds()
    with get_context("spawn").Pool(CLIENTS) as pool:
        arguments = [(server.port, client, path_of, sent, status) for client in range(CLIENTS)]
        answered = pool.starmap(_ask, arguments)
    count = sum(count for count, _ in answered)
    busy = sum(busy for _, busy in answered) / (CLIENTS * SECONDS)
    return Rate(count / SECONDS, (server.cpu_seconds() - begun) / count * 1000, busy)


def _ask(
    port: int, client: int, path_of: PathOf, headers: Mapping[str, str], status: bytes
) -> tuple[int, float]:
    """Return how many answers came over one kept connection, and the client's own CPU seconds."""
    # No client of the library: it would take as much of the two cores as the server that it asks.
    rest = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    answered, begun = 0, time.process_time()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            path = path_of(client, answered)
            connection.sendall(f"GET {path} HTTP/1.1\r\n{rest}\r\n".encode())
            _read_answer(connection, status)
            answered += 1
    return answered, time.process_time() - begun


def _read_answer(connection: socket.socket, status: bytes) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        assert piece, "the server hung up"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status), head
    length = re.search(rb"(?i)content-length: (\d+)", head)
    left = (int(length[1]) if length else 0) - len(body)
    while left > 0:
        left -= len(connection.recv(65_536))


def resident_mebibytes(pid: int) -> float:
    """Return the resident memory of a process, its children included."""
    return float(sum(member.memory_info().rss for member in _family(pid))) / MEBIBYTE


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


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
