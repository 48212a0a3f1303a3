"""How much a primary with a thousand satellites bears on loopback, on either database."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from panel.models.base import PRIMARY_SYNC_ID
from panel.preferences.shared_password import wire_password
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.messages import CHECKPOINT_BYTES, Answer, Identity, Mode, Pair, Request
from panel.sync.transport.exchange_client import exchange
from panel.sync.transport.http import HttpTransport, Target
from tests.bench.exchange import new_process
from tests.bench.rate import resident_mebibytes
from tests.bench.stock import stock_records
from tests.support.real_site import NATIONAL, PAIR, Place, Site

CLIENTS = 2
SATELLITES = 1_000
SECONDS = 6.0
BATCH = 200


@dataclass(frozen=True)
class Borne:
    """What a primary did in a second, and its resident memory after it."""

    exchanges_per_second: float
    records_per_second: float
    mebibytes: float


@dataclass
class _Caller:
    """One of the thousand: what it knows of its primary."""

    place: Place
    token: str = ""
    checkpoint: str = ""
    written: int = 0
    identity: Identity = field(init=False)

    def __post_init__(self) -> None:
        hardware_id = f"machine-{self.place.sync_id:08}"
        identity = (self.place.sync_id, self.place.name, self.place.store, hardware_id, "bench")
        self.identity = Identity(*identity, NATIONAL.name, NATIONAL.store)

    def join(self, transport: HttpTransport) -> None:
        """Begin with the primary, as every satellite does first."""
        self.checkpoint = self._ask(transport, mode=Mode.BEGIN).begun
        self._ask(transport, mode=Mode.INITIALISE)

    def call(self, transport: HttpTransport, items: list[Item]) -> None:
        """Take part in one exchange, with nothing to say or with records."""
        self._ask(transport, start=True, records=items)

    def _ask(self, transport: HttpTransport, **said: Any) -> Answer:
        proposed = secrets.token_urlsafe(CHECKPOINT_BYTES)
        asked = Request(
            self.identity, checkpoint=self.checkpoint, next_checkpoint=proposed, limit=100, **said
        )
        pair = Pair(PAIR[0], wire_password(PAIR[1]))
        answer, _response = exchange(transport, pair, self.token, self.identity, asked)
        self._learn(answer, proposed)
        return answer

    def _learn(self, answer: Answer, proposed: str) -> None:
        self.token = answer.token or self.token
        self.checkpoint = proposed if answer.rolled else self.checkpoint

    def write(self, texts: list[str]) -> list[Item]:
        """Return the next records of this satellite's own."""
        items = []
        for text in texts:
            self.written += 1
            record_id = f"{self.place.sync_id}-{self.written}"
            owner = self.place.sync_id
            items.append(
                Item(self.written, "stock_line", record_id, owner, None, self.written, text)
            )
        return items


def places() -> list[Place]:
    """Return the thousand, as the primary lists them."""
    first = PRIMARY_SYNC_ID + 1
    return [Place(n, f"Clinic {n}", f"C-{n}") for n in range(first, first + SATELLITES)]


def measure_crowd(folder: Path, database_url: str = "") -> Borne:
    """Return what a primary on ``database_url`` (SQLite if empty) bears."""
    with _primary(folder, database_url) as primary, get_context("spawn").Pool(CLIENTS) as pool:
        shares = [(primary.process.url, places()[n::CLIENTS]) for n in range(CLIENTS)]
        counted = pool.starmap(_crowd, shares)
        exchanges, records = (sum(column) for column in zip(*counted, strict=True))
        memory = resident_mebibytes(primary.process.pid)
    return Borne(exchanges / SECONDS, records / SECONDS, memory)


@contextmanager
def _primary(folder: Path, database_url: str) -> Iterator[Site]:
    primary = Site(NATIONAL, new_process(folder, database_url))
    primary.configure(others=places())
    primary.process.start()
    try:
        yield primary
    finally:
        primary.close()


def _crowd(url: str, share: list[Place]) -> tuple[int, int]:
    """Call for each satellite in turn: first with nothing to say, then with records."""
    transport = HttpTransport(Target(f"{url}/", "", ""))
    callers = [_Caller(place) for place in share]
    for caller in callers:
        caller.join(transport)
    exchanges = _call_for_a_while(transport, callers, [])
    texts = [json.dumps(record["data"]) for record in stock_records("crowd")[:BATCH]]
    batches = _call_for_a_while(transport, callers, texts)
    transport.close()
    return exchanges, batches * len(texts)


def _call_for_a_while(transport: HttpTransport, callers: list[_Caller], texts: list[str]) -> int:
    calls = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        caller = callers[calls % len(callers)]
        caller.call(transport, caller.write(texts))
        calls += 1
    return calls
