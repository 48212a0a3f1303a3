"""How many pushed records a primary stores in a second, beside the raw upsert of the same rows.

The primary is asked within this process, so that neither the line nor the client's own work counts:
from the bytes of a request to the bytes of its answer. The reference is the bare driver, which
writes the same rows into the same table of another database, in as many transactions.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from panel.db import Database, make_engine
from panel.sync.primary.exchange import Primary
from panel.sync.protocol.batch_codec import Item
from panel.sync.transport.batch_size import Meter
from panel.sync.transport.http import Response
from tests.bench.exchange import new_process
from tests.bench.stock import stock_records
from tests.support.lean_satellite import LeanSatellite
from tests.support.real_site import KADAVU, NATIONAL, ROTUMA, Site

BATCHES = (200, 1_000, 5_000)
# What is asked of batches of these sizes, in records a second.
LEAST_PER_SECOND = {"SQLite": (20_000, 35_000, 45_000), "PostgreSQL": (12_000, 20_000, 25_000)}
# The records of a clinic, so many times.
REPEATED = 2
# In the store before: nothing, and what a country has after some years.
STORED = (0, 1_000_000)

_UPSERT = """
INSERT INTO records (table_name, record_id, owner, version, deleted, data, size, waiting, seq,
    changed_at)
VALUES ({values}) ON CONFLICT (table_name, record_id) DO UPDATE SET owner = excluded.owner,
    version = excluded.version, deleted = excluded.deleted, data = excluded.data,
    size = excluded.size, waiting = excluded.waiting, seq = excluded.seq,
    changed_at = excluded.changed_at
"""
_FILL = """
WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :stored)
INSERT INTO records (table_name, record_id, owner, version, deleted, data, size, waiting, seq,
    changed_at)
SELECT 'stock_line', 'stored-' || n, :owner, n, FALSE, '{"n": 0}', 8, FALSE, :after + n,
    :changed_at
FROM counted
"""
# More than what is pushed here takes.
_NUMBERS_GIVEN_OUT = 10_000_000
_CHANGED_AT = "2026-01-01 00:00:00.000000"


@dataclass(frozen=True)
class Stored:
    """Records stored in a second by the primary, and by the bare driver."""

    batch: int
    in_store: int
    per_second: float
    raw_per_second: float


def measure_storing(folder: Path, url: str = "", raw_url: str = "") -> Iterator[Stored]:
    """Yield what is stored, for each of :data:`STORED` and :data:`BATCHES`.

    ``url`` and ``raw_url`` are of empty databases; of SQLite files in ``folder`` if they are empty.
    """
    site = Site(NATIONAL, new_process(folder / "primary", url))
    site.configure(others=[KADAVU, ROTUMA])
    raw = Database(make_engine(new_process(folder / "raw", raw_url).config.database_url))
    line, kadavu = _InProcess(Primary(site.database)), LeanSatellite(KADAVU)
    kadavu.join(line)
    texts = [json.dumps(record["data"]) for record in stock_records("storing")] * REPEATED
    for stored in STORED:
        for database in (site.database, raw) if stored else ():
            _fill(database, stored)
        for batch in BATCHES:
            cuts = range(0, len(texts), batch)
            batches = [kadavu.write(texts[cut : cut + batch]) for cut in cuts]
            line.seconds = 0.0
            for items in batches:
                kadavu.call(line, items)
            raw_seconds = _upsert(raw, batches)
            yield Stored(batch, stored, len(texts) / line.seconds, len(texts) / raw_seconds)
    site.close()
    raw.close()


class _InProcess:
    """A transport into the primary of this process; ``seconds`` are those of the primary."""

    def __init__(self, primary: Primary) -> None:
        self.meter = Meter()
        self.seconds = 0.0
        self._primary = primary

    def send(
        self, _method: str, _path: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Response:
        began = time.perf_counter()
        reply = self._primary.exchange(lambda: content, headers, "192.0.2.7")
        self.seconds += time.perf_counter() - began
        return Response(reply.status, reply.headers, reply.content, 0.0, len(content))

    def close(self) -> None: ...

    def abort(self) -> None: ...


def _upsert(database: Database, batches: list[list[Item]]) -> float:
    """Write the items by the bare driver, a transaction a batch; return the seconds."""
    sign = "?" if database.engine.dialect.name == "sqlite" else "%s"
    statement = _UPSERT.format(values=", ".join([sign] * 10))
    connection = database.engine.raw_connection()
    began = time.perf_counter()
    for items in batches:
        rows = [_row(item) for item in items]
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        cursor.executemany(statement, rows)
        connection.commit()
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def _row(item: Item) -> tuple[object, ...]:
    data = item.data or ""
    row = (item.table, item.record_id, item.owner, item.version, False, data)
    return *row, len(data), False, item.position, _CHANGED_AT


def _fill(database: Database, stored: int) -> None:
    """Let the store hold so many records of another satellite."""
    numbers = {"stored": stored, "after": _NUMBERS_GIVEN_OUT}
    values = {**numbers, "owner": ROTUMA.sync_id, "changed_at": _CHANGED_AT}
    with database.writing() as session:
        session.execute(text(_FILL), values)
        session.execute(text("UPDATE clock SET seq = :after + :stored"), numbers)
