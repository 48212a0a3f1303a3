"""What an idle exchange takes of a primary's processor, beside a bare request with one commit.

The reference is a view of Flask behind waitress that commits one row of SQLite. Both are asked by
the same client. The processor's time is that of the server's own process: on a machine that does
other things too it says more than the rate.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import local

import psutil
from flask import Flask, request
from sqlalchemy import insert
from waitress import serve

from panel.db import Database
from panel.models.base import PRIMARY_SYNC_ID, searchable
from panel.models.settings import Server
from panel.sync.transport.http import HttpTransport, Target
from tests.bench.crowd import SATELLITES, joined, places, primary_with_satellites
from tests.bench.rate import wait_for
from tests.support.lean_satellite import LeanSatellite
from tests.support.processes import free_port

SECONDS = 4.0
CALLERS = 100
ROWS = (SATELLITES, 40_000)
MOST_MILLISECONDS, LEAST_OF_REFERENCE = 1.2, 0.35


@dataclass(frozen=True)
class Asked:
    """How many requests were answered in a second, and the server's processor time for each."""

    per_second: float
    server_ms: float


def measure_idle(folder: Path, database_url: str = "") -> Iterator[tuple[str, Asked]]:
    """Yield the reference, then idle exchanges with as many rows as :data:`ROWS` says."""
    yield "a bare request with one commit", _measure_reference(folder / "bare")
    with primary_with_satellites(folder / "primary", database_url) as primary:
        url, pid = primary.process.url, primary.process.pid
        callers = joined(url, places()[:CALLERS])
        # What the first exchanges still have to store.
        callers = _call(url, callers, seconds=0.5)[0]
        for rows in ROWS:
            _fill(primary.database, rows)
            primary.database.close()
            yield f"idle exchanges, {rows:,} rows", _measure(url, pid, callers)


def _measure(url: str, pid: int, callers: list[LeanSatellite]) -> Asked:
    # The client has a process of its own, as the server has.
    with get_context("spawn").Pool(1) as pool:
        before = _cpu_seconds(pid)
        _, count = pool.apply(_call, (url, callers, SECONDS))
        return Asked(count / SECONDS, (_cpu_seconds(pid) - before) / count * 1_000)


def _call(
    url: str, callers: list[LeanSatellite], seconds: float
) -> tuple[list[LeanSatellite], int]:
    """Let each satellite ask in turn; return them, and how often they asked."""
    count, end = 0, time.monotonic() + seconds
    with closing(HttpTransport(Target(f"{url}/", "", ""))) as transport:
        # Each at least three times: until all of it is stored.
        while time.monotonic() < end or count < 3 * len(callers):
            callers[count % len(callers)].call(transport, [])
            count += 1
    return callers, count


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _fill(database: Database, rows: int) -> None:
    """Let the list of a primary have so many rows."""
    listed = range(PRIMARY_SYNC_ID + 1 + SATELLITES, PRIMARY_SYNC_ID + 1 + rows)
    values = [
        {
            **{"sync_id": one, "name": f"Clinic {one}", "store": f"C-{one}", "user_name": ""},
            **{"name_key": searchable(f"Clinic {one}"), "store_key": searchable(f"C-{one}")},
            "user_name_key": "",
        }
        for one in listed
    ]
    if values:
        with database.writing() as session:
            session.execute(insert(Server), values)


def _measure_reference(folder: Path) -> Asked:
    folder.mkdir(parents=True)
    port = free_port()
    process = get_context("spawn").Process(target=_serve_reference, args=(folder, port))
    process.start()
    try:
        wait_for(port)
        assert process.pid is not None
        _ask_reference(port, 0.5)
        before = _cpu_seconds(process.pid)
        with get_context("spawn").Pool(1) as pool:
            count = pool.apply(_ask_reference, (port, SECONDS))
        return Asked(count / SECONDS, (_cpu_seconds(process.pid) - before) / count * 1_000)
    finally:
        process.kill()
        process.join()


def _ask_reference(port: int, seconds: float) -> int:
    count, end = 0, time.monotonic() + seconds
    with closing(HttpTransport(Target(f"http://127.0.0.1:{port}/", "", ""))) as transport:
        while time.monotonic() < end:
            transport.send("POST", "/sync/exchange", {"Authorization": "Bearer 2.x"}, b"{}" * 60)
            count += 1
    return count


def _serve_reference(folder: Path, port: int) -> None:
    app, thread = Flask("reference"), local()

    def connection() -> sqlite3.Connection:
        if not hasattr(thread, "connection"):
            opened = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)
            opened.execute("PRAGMA journal_mode=WAL")
            opened.execute("CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, at REAL)")
            opened.execute("INSERT OR IGNORE INTO row VALUES (1, 0)")
            thread.connection = opened
        found: sqlite3.Connection = thread.connection
        return found

    @app.post("/sync/exchange")
    def exchange() -> bytes:
        request.get_data()
        # Without a transaction around it, a statement commits by itself.
        connection().execute("UPDATE row SET at = ? WHERE id = 1", (time.time(),))
        return b'{"version":1}'

    serve(app, host="127.0.0.1", port=port, threads=4)
