"""How much a primary with a thousand satellites bears on loopback, on either database."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from panel.models.base import PRIMARY_SYNC_ID
from panel.sync.transport.http import HttpTransport, Target
from tests.bench.exchange import new_process
from tests.bench.rate import resident_mebibytes
from tests.bench.stock import stock_records
from tests.support.lean_satellite import LeanSatellite
from tests.support.real_site import NATIONAL, Place, Site

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


def places() -> list[Place]:
    """Return the thousand, as the primary lists them."""
    first = PRIMARY_SYNC_ID + 1
    return [Place(n, f"Clinic {n}", f"C-{n}") for n in range(first, first + SATELLITES)]


def joined(url: str, share: list[Place]) -> list[LeanSatellite]:
    """Return satellites at these places that have begun with the primary at ``url``."""
    with closing(HttpTransport(Target(f"{url}/", "", ""))) as transport:
        callers = [LeanSatellite(place) for place in share]
        for caller in callers:
            caller.join(transport)
    return callers


def measure_crowd(folder: Path, database_url: str = "") -> Borne:
    """Return what a primary on ``database_url`` (SQLite if empty) bears."""
    with (
        primary_with_satellites(folder, database_url) as primary,
        get_context("spawn").Pool(CLIENTS) as pool,
    ):
        shares = [(primary.process.url, places()[n::CLIENTS]) for n in range(CLIENTS)]
        counted = pool.starmap(_crowd, shares)
        exchanges, records = (sum(column) for column in zip(*counted, strict=True))
        memory = resident_mebibytes(primary.process.pid)
    return Borne(exchanges / SECONDS, records / SECONDS, memory)


@contextmanager
def primary_with_satellites(folder: Path, database_url: str) -> Iterator[Site]:
    """Serve a primary with the thousand in its list; end it at the end of the block."""
    primary = Site(NATIONAL, new_process(folder, database_url))
    primary.configure(others=places())
    primary.process.start()
    try:
        yield primary
    finally:
        primary.close()


def _crowd(url: str, share: list[Place]) -> tuple[int, int]:
    """Call for each satellite in turn: first with nothing to say, then with records."""
    callers = joined(url, share)
    transport = HttpTransport(Target(f"{url}/", "", ""))
    exchanges = _call_for_a_while(transport, callers, [])
    texts = [json.dumps(record["data"]) for record in stock_records("crowd")[:BATCH]]
    batches = _call_for_a_while(transport, callers, texts)
    transport.close()
    return exchanges, batches * len(texts)


def _call_for_a_while(
    transport: HttpTransport, callers: list[LeanSatellite], texts: list[str]
) -> int:
    calls = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        caller = callers[calls % len(callers)]
        caller.call(transport, caller.write(texts))
        calls += 1
    return calls
