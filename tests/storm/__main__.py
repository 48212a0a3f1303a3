"""``python -m tests.storm``: attack a server in turns, and print what its users notice of it.

The environment says how long and among how many: ``SECONDS``, ``SATELLITES``. The exit code is 0 if
no sync is lost, pages take less than two seconds (99th percentile), and the memory stays within
250 MiB.
"""

import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select

from panel.accounts.tokens import add_token
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.people import Activity
from panel.models.records import Record
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from tests.bench.exchange import new_process
from tests.security.attacked import MIB, peak_bytes
from tests.storm.attacks import AT_ONCE, OWN_PAIR, ROWS, Aim, Turn, attack, dribbling_server
from tests.storm.fleet import Tally, sail
from tests.storm.visitors import Asked, Visitor
from tests.support.real_site import KADAVU, NATIONAL, TESTER, Place, Site
from tests.support.screen import Screen

PATIENCE_SECONDS = 600.0
MOST_PAGE_SECONDS = 2.0
# Of fewer, the 99th percentile is the slowest one.
ENOUGH_PAGES = 100
MOST_MEMORY_BYTES = 250 * MIB
ACTIVITY_ROWS = 60_000


@dataclass
class Seen:
    """All that was measured."""

    turns: list[Turn]
    asked: list[Asked]
    memory: list[tuple[float, int]]
    peak_bytes: int
    tally: Tally
    # Records that were acknowledged and are not in the database.
    missing: list[str]


def main() -> int:
    """Attack, print the figures, and return the exit code."""
    seconds = float(os.environ.get("SECONDS") or 600)
    satellites = int(os.environ.get("SATELLITES") or 300)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="storm-") as name, dribbling_server() as url:
        seen = _storm(Path(name), url, seconds, satellites)
    broken = list(_report(seen))
    print(*broken or ["Nothing was lost, and every bound was kept."], sep="\n")
    return 1 if broken else 0


def _storm(folder: Path, dribbling_url: str, seconds: float, satellites: int) -> Seen:
    places = [Place(n, f"Clinic {n}", f"C-{n}") for n in range(10, 10 + satellites + AT_ONCE)]
    fleet, pushers = places[:satellites], tuple(places[satellites:])
    with (
        _primary(folder / "primary", places) as primary,
        _satellite(folder, dribbling_url) as other,
    ):
        screen, other_screen = Screen(primary.process.url), Screen(other.process.url)
        aim = Aim(
            primary.process.port,
            other.process.port,
            screen.cookies,
            other_screen.cookies,
            other_screen.csrf_token(),
            _api_token(primary),
            pushers,
        )
        visitors = [
            Visitor(primary.process, screen.cookies),
            Visitor(other.process, other_screen.cookies),
        ]
        turns, tally = _run(aim, fleet, visitors, seconds)
        return Seen(
            turns,
            [one for visitor in visitors for one in visitor.asked],
            [one for visitor in visitors for one in visitor.memory],
            max(peak_bytes(visitor.panel.pid) for visitor in visitors),
            tally,
            _missing(primary, tally),
        )


def _run(
    aim: Aim, fleet: list[Place], visitors: list[Visitor], seconds: float
) -> tuple[list[Turn], Tally]:
    """Let satellites, people and attackers at the servers together, each in a process apart."""
    context = get_context("spawn")
    has_joined, is_over = context.Event(), context.Event()
    told: Queue[Any] = context.Queue()
    print(f"{len(fleet)} satellites join", flush=True)
    sailing = context.Process(target=sail, args=(aim.port, fleet, has_joined, is_over, told))
    attacking = context.Process(target=attack, args=(aim, seconds, is_over, told))
    sailing.start()
    assert has_joined.wait(PATIENCE_SECONDS), "the satellites could not join"
    attacking.start()
    threads = [thread for visitor in visitors for thread in visitor.look_on(is_over)]
    turns: list[Turn] = []
    # The satellites tell at the end, when the attackers have told all.
    while not isinstance(found := told.get(timeout=seconds + PATIENCE_SECONDS), Tally):
        turns.append(found)
        name, begin, end, struck = found
        print(f"{end - begin:5.0f} s  {name}: {struck}", flush=True)
    for thread in threads:
        thread.join()
    for process in (sailing, attacking):
        process.join()
    return turns, found


@contextmanager
def _primary(folder: Path, places: list[Place]) -> Iterator[Site]:
    """Yield a running primary with the satellites, a v5 site, and much Activity."""
    site = Site(NATIONAL, new_process(folder, ""))
    site.process.environment["SYNC_PANEL_INITIALISES"] = str(len(places))
    site.configure(others=places)
    row = {"at": datetime.now(UTC), "address": "192.0.2.1", "via": "web", "what": "signed_in"}
    with site.database.writing() as session:
        kadavu = ServerFields(7, "Kadavu", "KDV-01", "", *OWN_PAIR)
        add_server(session, TESTER, kadavu)
        session.execute(
            insert(Activity), [{**row, "person": f"person {n}"} for n in range(ACTIVITY_ROWS)]
        )
    with _running(site):
        yield site


@contextmanager
def _satellite(folder: Path, url: str) -> Iterator[Site]:
    """Yield a running satellite whose primary is at ``url``."""
    site = Site(KADAVU, new_process(folder / "satellite", ""))
    site.configure(url, [Place(PRIMARY_SYNC_ID, NATIONAL.name, NATIONAL.store)])
    site.set_interval(0)
    with _running(site):
        yield site


@contextmanager
def _running(site: Site) -> Iterator[None]:
    site.process.start()
    try:
        yield
    finally:
        site.close()


def _api_token(site: Site) -> str:
    with site.database.writing() as session:
        return add_token(session, TESTER, f"storm {secrets.token_hex(4)}")


def _missing(primary: Site, tally: Tally) -> list[str]:
    query = select(Record.owner, func.count()).group_by(Record.owner)
    with primary.database.reading() as session:
        present = {row[0]: row[1] for row in session.execute(query)}
    return [
        f"satellite {sync_id}: {present.get(sync_id, 0)} records of {count}"
        for sync_id, count in tally.written.items()
        if present.get(sync_id, 0) < count
    ]


# --- the figures ----------------------------------------------------------------------------------


def _report(seen: Seen) -> Iterator[str]:
    """Print the figures; yield a sentence for each bound that was broken."""
    print(
        f"\n{'during':40} {'pages':>6} {'50%':>6} {'99%':>6} {'slowest':>8} {'healthz':>8} "
        f"{'syncs':>6} {'slowest':>8} {'memory':>8}"
    )
    for name in ROWS:
        yield from _row(name, seen, [turn for turn in seen.turns if turn[0] == name])
    everything = [("all", 0.0, float("inf"), 0)]
    yield from _row("all", seen, everything)
    print(f"repeats: {dict(seen.tally.repeats)}; peak memory {seen.peak_bytes / MIB:.0f} MiB")
    if seen.peak_bytes > MOST_MEMORY_BYTES:
        yield f"The memory reached {seen.peak_bytes / MIB:.0f} MiB."
    yield from (f"Lost: {what}" for what in (seen.tally.lost + seen.missing)[:20])


def _row(name: str, seen: Seen, turns: list[Turn]) -> Iterator[str]:
    def is_within(moment: float) -> bool:
        return any(begin <= moment < end for _, begin, end, _ in turns)

    asked = [one for one in seen.asked if is_within(one.at)]
    pages = sorted(one.seconds for one in asked if one.path != "/healthz")
    health = [one.seconds for one in asked if one.path == "/healthz"]
    syncs = [seconds for at, seconds in seen.tally.syncs if is_within(at)]
    memory = [size for at, size in seen.memory if is_within(at)]
    if pages:
        print(
            f"{name:40} {len(pages):6} {_quantile(pages, 0.5):6.2f} {_quantile(pages, 0.99):6.2f} "
            f"{pages[-1]:8.2f} {max(health, default=0):8.2f} {len(syncs):6} "
            f"{max(syncs, default=0):8.2f} {max(memory, default=0) / MIB:8.0f}"
        )
        if len(pages) >= ENOUGH_PAGES and _quantile(pages, 0.99) > MOST_PAGE_SECONDS:
            yield f"{name}: pages took {_quantile(pages, 0.99):.1f} s (99th percentile)."
    refused = [one for one in asked if one.status != 200]
    if refused:
        yield f"{name}: {len(refused)} not answered well, such as {refused[0]}."


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())
