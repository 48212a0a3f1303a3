"""The satellites: they synchronise on time, and remember what the primary acknowledged."""

import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any

from panel.sync.protocol.error_codes import PASSING, SyncRefusal
from panel.sync.transport.batch_size import Meter
from panel.sync.transport.http import SILENCE_SECONDS, LinkFault, Response
from tests.support.lean_satellite import LeanSatellite
from tests.support.real_site import Place

WORKERS = 40
# As many clinics as stand behind one address of a provider.
BEHIND_ONE_ADDRESS = 40
# As often as the panel lets a satellite.
INTERVAL_SECONDS = 60.0
RECORDS_EACH = 3
AGAIN_SECONDS = 1.0
# A sync that is not through by then, however often it was repeated, is lost.
PATIENCE_SECONDS = 300.0
TEXT = '{"item_id":"amoxicillin-250","batch":"K10432","packs":120,"expiry_date":"2028-04-30"}'


class LeanLine:
    """One kept connection from ``address`` of this machine to the primary."""

    def __init__(self, port: int, address: str, path_prefix: str = "") -> None:
        self.meter = Meter()
        self._path_prefix = path_prefix
        self._connection = HTTPConnection(
            "127.0.0.1", port, timeout=SILENCE_SECONDS, source_address=(address, 0)
        )

    def send(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Response:
        """Send one request and return its answer. Raise :class:`LinkFault`."""
        try:
            self._connection.request(method, self._path_prefix + path, content, dict(headers))
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            code = "timed_out" if isinstance(error, TimeoutError) else "cut_off"
            raise LinkFault(code) from error
        return Response(answer.status, dict(answer.headers), body, 0.0)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    abort = close


@dataclass
class Tally:
    """What became of the syncs; moments are of the monotonic clock."""

    # When each began, and how many seconds it took, repeats and rests between them included.
    syncs: list[tuple[float, float]] = field(default_factory=list)
    # Why one was repeated.
    repeats: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    # How many records of each satellite were acknowledged.
    written: dict[int, int] = field(default_factory=dict)


class Fleet:
    """The satellites in ``places``; :meth:`join` first, then :meth:`sail`."""

    def __init__(self, port: int, places: Sequence[Place]) -> None:
        self.tally = Tally()
        self._lock = threading.Lock()
        self._crews = [
            [
                (LeanSatellite(place), LeanLine(port, address_of(place.sync_id)))
                for place in places[worker::WORKERS]
            ]
            for worker in range(WORKERS)
        ]

    def join(self) -> None:
        """Let every satellite begin with the primary."""
        self._all(self._join_crew)

    def sail(self, is_over: Event) -> Tally:
        """Synchronise until ``is_over``, and return what became of it."""
        self._all(partial(self._sail_crew, is_over))
        for satellite, line in (one for crew in self._crews for one in crew):
            line.close()
            self.tally.written[satellite.place.sync_id] = satellite.written
        return self.tally

    def _all(self, work: "Callable[[Crew], None]") -> None:
        threads = [threading.Thread(target=work, args=(crew,)) for crew in self._crews]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _join_crew(self, crew: "Crew") -> None:
        for satellite, line in crew:
            self._patiently(satellite, partial(satellite.join, line), time.monotonic())

    def _sail_crew(self, is_over: Event, crew: "Crew") -> None:
        chance = random.Random(crew[0][0].place.sync_id if crew else 0)  # noqa: S311 - no secret
        now = time.monotonic()
        due = queue.PriorityQueue[tuple[float, int]]()
        for number in range(len(crew)):
            due.put((now + chance.uniform(0, INTERVAL_SECONDS), number))
        while crew:
            at, number = due.get()
            if is_over.wait(max(0.0, at - time.monotonic())):
                return
            self._sync(*crew[number])
            due.put((max(at + INTERVAL_SECONDS, time.monotonic()), number))

    def _sync(self, satellite: LeanSatellite, line: LeanLine) -> None:
        items = satellite.write([TEXT] * RECORDS_EACH)
        began = time.monotonic()
        if self._patiently(satellite, partial(satellite.call, line, items), began):
            with self._lock:
                self.tally.syncs.append((began, time.monotonic() - began))

    def _patiently(self, satellite: LeanSatellite, call: Callable[[], None], began: float) -> bool:
        """Call until it is done; say whether that was in time."""
        while True:
            try:
                call()
            except (LinkFault, SyncRefusal) as error:
                passes = isinstance(error, LinkFault) or error.code in PASSING
                in_time = time.monotonic() < began + PATIENCE_SECONDS
                with self._lock:
                    self.tally.repeats[error.code] += 1
                    if not passes or not in_time:
                        self.tally.lost.append(f"{satellite.place.name}: {error.code}")
                        return False
                time.sleep(AGAIN_SECONDS)
            else:
                return True


Crew = list[tuple[LeanSatellite, LeanLine]]


def address_of(number: int) -> str:
    """Return the address of this machine that satellite ``number`` calls from."""
    return f"127.0.1.{1 + number // BEHIND_ONE_ADDRESS}"


def sail(
    port: int, places: Sequence[Place], has_joined: Event, is_over: Event, told: "Queue[Any]"
) -> None:
    """Let the satellites join and then synchronise until ``is_over``; put the Tally in ``told``."""
    fleet = Fleet(port, places)
    fleet.join()
    has_joined.set()
    told.put(fleet.sail(is_over))
