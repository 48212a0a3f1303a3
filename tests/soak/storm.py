"""Kills servers at random moments while they are used and synchronise, and then compares them."""

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from panel.models.records import Inbox, Quarantined
from tests.soak.people import Author, Key, Reader
from tests.support.real_site import Row, Site

LONGEST_CALM_SECONDS, LONGEST_DOWN_SECONDS = 1.0, 0.2
ASK_SECONDS = 0.3
# How often two servers die at once, and how often a satellite begins anew while they do.
DOUBLE, INITIALISE = 0.1, 0.05
MOST_RUNS_TO_SETTLE = 20

Tell = Callable[[str], None]


class Storm:
    """A primary and its satellites, written to, read, synchronised and killed."""

    def __init__(self, primary: Site, satellites: Sequence[Site], seed: int) -> None:
        self.primary = primary
        self.satellites = satellites
        self.sites = [primary, *satellites]
        self.kills = 0
        self.seconds = 0.0
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._stop = threading.Event()
        self._apis = [site.api() for site in [*self.sites, *self.sites]]
        ids = [site.place.sync_id for site in self.sites]
        self.authors = {
            site: Author(api, number, [other for other in ids if other != number], seed + number)
            for site, api, number in zip(self.sites, self._apis, ids, strict=False)
        }
        self.readers = {
            site: Reader(api) for site, api in zip(self.sites, self._apis[len(ids) :], strict=True)
        }

    def close(self) -> None:
        """Let go of the servers."""
        for api in self._apis:
            api.close()

    @property
    def written(self) -> int:
        """How many writes were acknowledged to the authors."""
        return sum(author.written for author in self.authors.values())

    def rage(self, kills: int, tell: Tell) -> None:
        """Kill one server after the other, ``kills`` times, while the others go on."""
        begin = time.monotonic()
        people: list[Author | Reader] = [*self.authors.values(), *self.readers.values()]
        with ThreadPoolExecutor(len(people) + 1) as pool:
            busy = [pool.submit(one.work, self._stop) for one in people]
            busy.append(pool.submit(self._keep_asking))
            try:
                while self.kills < kills:
                    self._strike(busy)
                    if self.kills % 10 == 0:
                        tell(f"{self.kills} of {kills} kills, {self.written} writes acknowledged")
            finally:
                self._stop.set()
        _raise_first(busy)
        self.seconds = time.monotonic() - begin

    def _strike(self, busy: Sequence[Future[None]]) -> None:
        """Kill one server, or sometimes two, and start them again."""
        time.sleep(self._random.uniform(0, LONGEST_CALM_SECONDS))
        _raise_first(busy)
        victims = self._random.sample(self.sites, 2 if self._random.random() < DOUBLE else 1)
        if self._random.random() < INITIALISE:
            self._random.choice(self.satellites).ask_to_initialise()
        for victim in victims:
            victim.process.kill()
        self.kills += len(victims)
        time.sleep(self._random.uniform(0, LONGEST_DOWN_SECONDS))
        for victim in victims:
            victim.process.start()

    def _keep_asking(self) -> None:
        while not self._stop.wait(ASK_SECONDS):
            for satellite in self.satellites:
                satellite.ask()

    def count_runs(self, result: str) -> int:
        """Return how many runs of the satellites had this ``result``."""
        return sum(satellite.count_runs(result) for satellite in self.satellites)

    def settle(self) -> int:
        """Synchronise until nothing moves any more; return how many runs of each that took."""
        # Runs that were asked for before are over after these. One of them may have pushed what
        # another satellite has pulled too early to see, and then the next ones move something.
        for satellite in self.satellites:
            satellite.sync()
        for number in range(1, MOST_RUNS_TO_SETTLE + 1):
            runs = [satellite.sync() for satellite in self.satellites]
            moved = sum(run.pushed + run.pulled for run in runs)
            if not moved and all(run.result == "well" for run in runs):
                return number
        raise AssertionError([(run.result, run.reason, run.pushed, run.pulled) for run in runs])

    def find_faults(self) -> list[str]:
        """Compare every server with what was acknowledged and with the others."""
        faults: list[str] = []
        for site, author in self.authors.items():
            faults += _lost(site, author)
            faults += _not_followed(site, self.readers[site])
        for satellite in self.satellites:
            faults += _different(self.primary, satellite)
        return faults


def _raise_first(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        if future.done():
            future.result()


def _lost(site: Site, author: Author) -> list[str]:
    """Return what the application at ``site`` was told is stored, and is not."""
    present = {(row[0], row[1]): row for row in site.rows(owner=site.place.sync_id)}
    faults = [f"{site.place.name} made up {key}" for key in present.keys() - author.possible.keys()]
    for key, possible in author.possible.items():
        value = _number(present.get(key))
        if value not in possible:
            faults.append(f"{site.place.name}: {key} is {value}, not {possible}")
    return faults


def _number(row: Row | None) -> int | None:
    return None if row is None or row[6] is None else int(json.loads(row[6])["n"])


def _not_followed(site: Site, reader: Reader) -> list[str]:
    """Return what an application that follows the changes knows otherwise than the server."""
    reader.catch_up()
    present: dict[Key, object] = {
        (row[0], row[1]): json.loads(row[6]) for row in site.rows() if row[6] is not None
    }
    wrong = {
        key
        for key in present.keys() | reader.copy.keys()
        if present.get(key) != reader.copy.get(key)
    }
    return [f"{site.place.name}: a reader has another {key}" for key in sorted(wrong)]


def _different(primary: Site, satellite: Site) -> list[str]:
    """Return what the two do not have alike, of all that both should have."""
    number, name = satellite.place.sync_id, satellite.place.name
    pairs = {
        "own": (primary.rows(owner=number), satellite.rows(owner=number)),
        "central": (primary.central(), satellite.central()),
        "addressed": (primary.rows(to=number), satellite.rows(to=number)),
    }
    faults = [
        f"{name}, {kind}: primary {sorted(there - here)[:3]} satellite {sorted(here - there)[:3]}"
        for kind, (there, here) in pairs.items()
        if there != here
    ]
    foreign = satellite.rows().difference(*(here for _, here in pairs.values()))
    faults += [f"{name} has {row}, which is not for it" for row in sorted(foreign)]
    for site in (primary, satellite):
        for table in (Inbox, Quarantined):
            if count := site.count(table):
                faults.append(f"{site.place.name} still has {count} in {table.__tablename__}")
    return faults
