"""The attacks: each goes on until a moment that it is told, and says how often it struck."""

import contextlib
import gzip
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

import brotli

from panel.preferences.shared_password import wire_password
from panel.sync.protocol.batch_codec import MOST_RECORDS, Item
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import Pair
from panel.sync.transport.exchange_client import basic
from panel.sync.transport.http import LinkFault
from tests.bench.stock import stock_records
from tests.security.attacked import BODIES
from tests.storm.fleet import LeanLine
from tests.support.lean_satellite import LeanSatellite
from tests.support.real_site import PAIR, Place

LONGEST_TURN_SECONDS = 15.0
AT_ONCE = 8
IDLE_CONNECTIONS, HALF_SENT_BODIES = 905, 300
STRANGERS_BODY_BYTES = 30 * 2**20
HALF_SENT_BYTES = 500 * 1024
# The attackers' own addresses of this machine.
ADDRESS, MANY_ADDRESSES = "127.0.2.1", "127.0.3.{}"
BYTE_SECONDS = 5.0
PAUSE_SECONDS = 0.05
TIMEOUT_SECONDS = 60.0
_PIECE_BYTES = 64 * 1024
_TOO_BUSY = b"HTTP/1.1 503"
# Of one satellite alone, as v5 knows it by.
OWN_PAIR = ("kadavu", "frigate bird 7")


@dataclass(frozen=True)
class Aim:
    """The servers under attack, and what the attackers know."""

    # The primary, and a satellite whose saved URL leads to a server that dribbles.
    port: int
    satellite_port: int
    # Cookies and form token of somebody who is signed in at each.
    cookies: str
    satellite_cookies: str
    satellite_token: str
    api_token: str
    # Satellites of the primary that push as much as one can.
    pushers: tuple[Place, ...]


Attack = Callable[["Attacker", float], int]
Turn = tuple[str, float, float, int]
"""An attack: its name, its first and its last moment, and how often it struck."""


class Attacker:
    """Whoever attacks ``aim``, from one address or many."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        self._pushers = [LeanSatellite(place) for place in aim.pushers]

    def trials(self, until: float) -> int:
        """Press "Test connection" against a server that sends a byte every five seconds."""
        headers = {
            "Cookie": self._aim.satellite_cookies,
            "X-CSRF": self._aim.satellite_token,
            "HX-Request": "true",
        }
        return self._at_once(
            until, lambda: self._post(self._aim.satellite_port, "/sync/test", headers, b"")
        )

    def slow_readers(self, until: float) -> int:
        """Ask for all of Activity, and do not read it."""
        text = f"GET /activity.csv HTTP/1.1\r\nHost: a\r\nCookie: {self._aim.cookies}\r\n\r\n"
        return self._hold(until, AT_ONCE, text.encode())

    def idle(self, until: float) -> int:
        """Connect and say nothing, from one address and from many."""
        return self._hold(until, IDLE_CONNECTIONS, b"")

    def half_sent(self, until: float) -> int:
        """Send half of a body: strangers, and somebody who knows the shared pair."""
        return self._hold(
            until,
            HALF_SENT_BODIES,
            _head("/sync/exchange", HALF_SENT_BYTES, "Bearer 7.nobody") + b"{" * 60_000,
            _head("/sync/exchange", HALF_SENT_BYTES, _basic(PAIR)) + b"{" * 60_000,
            _head("/sign-in", 200_000, "") + b"n" * 60_000,
        )

    def strangers(self, until: float) -> int:
        """Send 30 MiB to wherever a body can be sent, without credentials."""
        paths = itertools.cycle(("/sync/exchange", "/sync/v5/queued_records", "/sign-in"))
        content = b"x" * STRANGERS_BODY_BYTES
        headers = {"Authorization": "Bearer 7.nobody"}
        return self._at_once(
            until, lambda: self._post(self._aim.port, next(paths), headers, content)
        )

    def batches(self, until: float) -> int:
        """Push the largest batches, as eight satellites at once."""
        lines = [LeanLine(self._aim.port, ADDRESS) for _ in self._pushers]
        waiting = list(zip(self._pushers, lines, strict=True))
        texts = self._texts

        def push() -> None:
            satellite, line = waiting.pop()
            try:
                if not satellite.checkpoint:
                    satellite.join(line)
                satellite.call(line, _newer(satellite, texts))
            except (LinkFault, SyncRefusal):
                # Begin anew, as one who does not know what arrived.
                satellite.checkpoint = ""
                time.sleep(PAUSE_SECONDS)
            finally:
                waiting.append((satellite, line))

        struck = self._at_once(until, push)
        for line in lines:
            line.close()
        return struck

    def bombs(self, until: float) -> int:
        """Send bodies that are small on the way, and large once they are decompressed."""
        doors = (
            ("/sync/exchange", _basic(PAIR)),
            ("/sync/v5/queued_records", _basic(OWN_PAIR)),
            ("/api/v1/records", f"Bearer {self._aim.api_token}"),
        )
        shots = itertools.cycle(itertools.product(doors, self._bombs))

        def throw() -> None:
            (path, authorization), (encoding, body) = next(shots)
            headers = {
                "Authorization": authorization,
                "Content-Encoding": encoding,
                "msupply-site-uuid": "machine",
                "version": "14",
                "app-name": "Open mSupply Desktop",
                "app-version": "2",
            }
            self._post(self._aim.port, path, headers, body)

        return self._at_once(until, throw)

    @cached_property
    def _bombs(self) -> list[tuple[str, bytes]]:
        packed = [("br", brotli.compress(body, quality=5)) for body in BODIES.values()]
        return packed + [("gzip", gzip.compress(body, 1)) for body in BODIES.values()]

    @cached_property
    def _texts(self) -> list[str]:
        """As much as one batch carries: 5 000 records of two and a half KiB."""
        records = stock_records("storm")[:MOST_RECORDS]
        return [json.dumps({**record["data"], "note": "n" * 2_000}) for record in records]

    def _post(self, port: int, path: str, headers: dict[str, str], body: bytes) -> None:
        connection = HTTPConnection(
            "127.0.0.1", port, timeout=TIMEOUT_SECONDS, source_address=(ADDRESS, 0)
        )
        try:
            connection.request("POST", path, body, headers)
            connection.getresponse().read()
        except (OSError, HTTPException):
            # Refused while it sent: what an attacker has to expect.
            time.sleep(PAUSE_SECONDS)
        finally:
            connection.close()

    def _at_once(self, until: float, strike: Callable[[], None]) -> int:
        """Strike again and again from as many threads as the server has; return how often."""
        struck = itertools.count()

        def go_on() -> None:
            while time.monotonic() < until:
                strike()
                next(struck)

        threads = [threading.Thread(target=go_on) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return next(struck)

    def _hold(self, until: float, count: int, *texts: bytes) -> int:
        """Keep ``count`` connections that have sent one of ``texts``; open those that end anew."""
        held: list[socket.socket] = []
        numbers, addresses = itertools.count(), _addresses()
        while time.monotonic() < until:
            held = [one for one in held if not _has_ended(one)]
            while len(held) < count and time.monotonic() < until:
                with contextlib.suppress(OSError):
                    text = texts[next(numbers) % len(texts)]
                    held.append(self._open(next(addresses), text))
            time.sleep(PAUSE_SECONDS)
        for one in held:
            one.close()
        return next(numbers)

    def _open(self, address: str, text: bytes) -> socket.socket:
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.bind((address, 0))
        opened.settimeout(TIMEOUT_SECONDS)
        opened.connect(("127.0.0.1", self._aim.port))
        opened.sendall(text)
        opened.setblocking(False)
        return opened


ROWS: dict[str, Attack] = {
    "8 connection tests, a byte every 5 s": Attacker.trials,
    "8 slow readers of activity.csv": Attacker.slow_readers,
    "905 idle connections": Attacker.idle,
    "300 half-sent bodies": Attacker.half_sent,
    "30 MiB bodies of strangers": Attacker.strangers,
    "8 satellites push 5,000 records each": Attacker.batches,
    "brotli and gzip bombs": Attacker.bombs,
}


def attack(aim: Aim, seconds: float, is_over: Event, told: "Queue[Turn]") -> None:
    """Attack in whole rounds for ``seconds`` or a little more; put each attack in ``told``."""
    attacker, end = Attacker(aim), time.monotonic() + seconds
    turn_seconds = min(LONGEST_TURN_SECONDS, seconds / len(ROWS))
    while time.monotonic() < end:
        for name, row in ROWS.items():
            began = time.monotonic()
            struck = row(attacker, began + turn_seconds)
            told.put((name, began, time.monotonic(), struck))
    is_over.set()


@contextlib.contextmanager
def dribbling_server() -> Iterator[str]:
    """Yield the URL of a server that sends the head of an answer, and then a byte now and then."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=AT_ONCE)
    is_over = threading.Event()

    def dribble(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(_PIECE_BYTES)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not is_over.wait(BYTE_SECONDS):
                connection.sendall(b" ")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=dribble, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    is_over.set()
    listener.close()


def _addresses() -> Iterator[str]:
    """Yield an address for each connection: half of all come from one, the others from many."""
    for number in itertools.count():
        yield ADDRESS if number % 2 else MANY_ADDRESSES.format(1 + number // 2 % 250)


def _basic(pair: tuple[str, str]) -> str:
    return basic(Pair(pair[0], wire_password(pair[1])))


def _newer(satellite: LeanSatellite, texts: list[str]) -> list[Item]:
    """Return the same records in their next version, so that the database keeps its size."""
    satellite.written += 1
    owner, version = satellite.place.sync_id, satellite.written
    first = 1 + (version - 1) * len(texts)
    return [
        Item(first + n, "stock_line", f"{owner}-{n}", owner, None, version, text)
        for n, text in enumerate(texts)
    ]


def _head(path: str, length: int, authorization: str) -> bytes:
    said = f"Authorization: {authorization}\r\n" if authorization else ""
    form = "Content-Type: application/x-www-form-urlencoded\r\n"
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\n{said}{form}Content-Length: {length}\r\n\r\n"
    ).encode()


def _has_ended(connection: socket.socket) -> bool:
    """Say whether the server hung up, or is too busy; nothing of an answer is read."""
    try:
        begun = connection.recv(len(_TOO_BUSY), socket.MSG_PEEK)
        return begun in (b"", _TOO_BUSY)
    except BlockingIOError:
        return False
    except OSError:
        return True
