"""Breaks servers and lines at random moments while they are used, and says what that cost."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select

from panel.activity.log import EventKind, describe
from panel.errors import NeedsConfirmation
from panel.models.people import Activity
from panel.models.records import ChangeSequence
from panel.models.runs import Loop, Run
from panel.models.settings import Server
from panel.operations.sync_requests import REMOVAL, ask_to_initialise, note_restored
from panel.preferences.server_changes import clear_hardware
from panel.sync.protocol.error_codes import explain
from panel.sync.store.sequence import Mark
from tests.soak.faults import find_faults, kept, number_of, rows_by_key
from tests.soak.people import Author, Key, Reader
from tests.support.faulty_line import Cut, FaultyLine, Stall
from tests.support.installations import back_up, drop_backup, restore
from tests.support.real_site import TESTER, Row, Site

LONGEST_CALM_SECONDS, LONGEST_DOWN_SECONDS, LONGEST_CUT_SECONDS = 0.5, 0.2, 0.5
ASK_SECONDS = 0.6
# How often two servers die at once; how often a restored folder brings its witness back too.
DOUBLE, WHOLE_FOLDER = 0.1, 0.3
BACKUPS_KEPT = 2
LONGEST_PIECE_BYTES = 20_000
WRITTEN_AT_A_COPY = 4
ANOTHER_TOKEN = "device_token_needed"
# An initialise in batches of ten, on a machine with too much to do.
LONGEST_RUN_SECONDS = 300
MOST_RUNS_TO_SETTLE, MOST_CHANGES_OF_HANDS = 20, 3

Tell = Callable[[str], None]


class Event(StrEnum):
    """What happens to the servers; the value is how people read it."""

    KILL = "kill -9"
    CUT = "line broken"
    BACK_UP = "backup"
    RESTORE_PRIMARY = "primary restored"
    RESTORE_SATELLITE = "satellite restored"
    COPY = "disk copied"
    INITIALISE = "initialise"


SHARES = {
    Event.KILL: 40,
    Event.CUT: 25,
    Event.BACK_UP: 10,
    Event.RESTORE_PRIMARY: 8,
    Event.RESTORE_SATELLITE: 9,
    Event.COPY: 3,
    Event.INITIALISE: 5,
}


@dataclass(frozen=True)
class Backup:
    """A copy of a database, and the witness that was beside it."""

    name: str
    witness: bytes


class Storm:
    """A primary and its satellites, written to, read, synchronised, and broken in every way.

    The satellites call over ``line``; ``spare`` is the machine on which a copy of the first one's
    disk is started.
    """

    def __init__(
        self, primary: Site, satellites: Sequence[Site], spare: Site, line: FaultyLine, seed: int
    ) -> None:
        self.primary = primary
        self.satellites = satellites
        self.sites = [primary, *satellites]
        self.events: Counter[Event] = Counter()
        # How many values, that somebody was told are stored, each sentence of a server is about.
        self.announced: Counter[str] = Counter()
        self.faults: list[str] = []
        self.seconds = 0.0
        self._spare, self._line = spare, line
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._stop = threading.Event()
        self._asking = threading.Lock()
        self._backups: dict[Site, list[Backup]] = {site: [] for site in self.sites}
        self._apis = [site.api() for site in [*self.sites, *self.sites]]
        ids = [site.place.sync_id for site in self.sites]
        self.authors = {
            site: Author(api, number, [other for other in ids if other != number], seed + number)
            for site, api, number in zip(self.sites, self._apis, ids, strict=False)
        }
        self.readers = {
            site: Reader(api) for site, api in zip(self.sites, self._apis[len(ids) :], strict=True)
        }
        self._acts: dict[Event, Callable[[], None]] = {
            Event.KILL: self._kill,
            Event.CUT: self._cut,
            Event.BACK_UP: lambda: self._back_up(self._random.choice(self.sites)),
            Event.RESTORE_PRIMARY: lambda: self._restore(self.primary),
            Event.RESTORE_SATELLITE: lambda: self._restore(self._random.choice(self.satellites)),
            Event.COPY: self._copy,
            Event.INITIALISE: lambda: self._initialise(self._random.choice(self.satellites)),
        }

    def close(self) -> None:
        """Let go of the servers."""
        for api in self._apis:
            api.close()

    @property
    def written(self) -> int:
        """How many writes were acknowledged to the authors."""
        return sum(author.written for author in self.authors.values())

    def rage(self, events: int, tell: Tell) -> None:
        """Let so many things happen: each kind once, and then any, while people work."""
        begin = time.monotonic()
        self._spare.process.kill()
        for site in self.sites:
            self._back_up(site)
        people: list[Author | Reader] = [*self.authors.values(), *self.readers.values()]
        with ThreadPoolExecutor(len(people) + 1) as pool:
            busy = [pool.submit(one.work, self._stop) for one in people]
            busy.append(pool.submit(self._keep_asking))
            try:
                for number, event in enumerate(self._choose(events), 1):
                    time.sleep(self._random.uniform(0, LONGEST_CALM_SECONDS))
                    _raise_first(busy)
                    self._acts[event]()
                    self.events[event] += 1
                    if number % 20 == 0:
                        spent = time.monotonic() - begin
                        found = f"{self.written} writes, {len(self.faults)} faults"
                        tell(f"{number} of {events} events, {found}, {spent:.0f} s")
            finally:
                self._stop.set()
        _raise_first(busy)
        self.seconds = time.monotonic() - begin

    def _choose(self, events: int) -> Iterator[Event]:
        every = list(SHARES)
        yield from every[:events]
        shares = list(SHARES.values())
        for _ in range(events - len(every)):
            yield self._random.choices(every, shares)[0]

    def _keep_asking(self) -> None:
        while not self._stop.wait(ASK_SECONDS):
            for satellite in self.satellites:
                with self._asking:
                    self._ask(satellite, satellite.ask)

    def _ask(self, satellite: Site, ask: Callable[[], None]) -> None:
        """See to what the satellite's last run was refused for, if it was, and ``ask``.

        To agree to what an initialise would remove lets it go on with that.
        """
        with satellite.database.reading() as session:
            loop = session.get_one(Loop, 1)
        satellite.database.close()
        values = loop.refusal_values or {}
        if loop.refusal == "two_machines":
            self.faults.append(f"{satellite.place.name} is taken for two machines")
            self._clear_hardware(satellite)
        if loop.refusal == ANOTHER_TOKEN:
            # Restored to before somebody cleared the row: its token is not the one of today.
            self.announced[str(explain(ANOTHER_TOKEN, values).what)] += 1
            self._clear_hardware(satellite)
        if loop.refusal != REMOVAL:
            ask()
            return
        self.announced[str(explain(REMOVAL, {**values, "records": "…"}).what)] += values["records"]
        act = f"remove={values['records']}"
        # The number may be another one by now; then it is asked again.
        with suppress(NeedsConfirmation):
            satellite.tell(lambda session, actor: ask_to_initialise(session, actor, {act}))

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Let nobody write or ask meanwhile."""
        with ExitStack() as held:
            held.enter_context(self._asking)
            for author in self.authors.values():
                held.enter_context(author.writing)
            yield

    # --- what happens -----------------------------------------------------------------------------

    def _kill(self) -> None:
        victims = self._random.sample(self.sites, 2 if self._random.random() < DOUBLE else 1)
        for victim in victims:
            victim.process.kill()
        time.sleep(self._random.uniform(0, LONGEST_DOWN_SECONDS))
        for victim in victims:
            # The next event may meet it on its way up.
            victim.process.launch()

    def _cut(self) -> None:
        after = self._random.randrange(LONGEST_PIECE_BYTES)
        faults = Cut(after), Cut(after, up=True), Stall(after), None
        fault = self._random.choice(faults)
        if fault is None:
            self._line.refuse()
        else:
            self._line.spoil(fault)
        time.sleep(self._random.uniform(0, LONGEST_CUT_SECONDS))
        self._line.mend()

    def _initialise(self, satellite: Site) -> None:
        with self._asking, suppress(NeedsConfirmation):
            self._ask(satellite, satellite.ask_to_initialise)

    def _back_up(self, site: Site) -> None:
        with self._quiet():
            site.process.kill()
            self._backups[site].append(self._copied(site))
            site.process.start()
        if len(self._backups[site]) > BACKUPS_KEPT:
            drop_backup(_url(site), self._backups[site].pop(0).name)

    def _copied(self, site: Site) -> Backup:
        site.database.close()
        witness = site.process.folder / "witness"
        return Backup(back_up(_url(site)), witness.read_bytes() if witness.exists() else b"")

    def _restore(self, site: Site) -> None:
        self._go_back()
        backup = self._random.choice(self._backups[site])
        is_whole = bool(backup.witness) and self._random.random() < WHOLE_FOLDER
        with self._quiet():
            site.process.kill()
            before = self._mark(site)
            site.database.close()
            restore(_url(site), backup.name)
            is_older = self._mark(site).precedes(before)
            if is_whole:
                (site.process.folder / "witness").write_bytes(backup.witness)
                with site.database.writing() as session:
                    note_restored(session, TESTER)
            if site is not self.primary:
                # It still answers what was sent before the kill, and has done so when it ends.
                self.primary.process.stop()
                self.primary.process.launch()
            lost = sum(self._forget_lost(site, owner, is_whole) for owner in self.sites)
            site.process.start()
            if is_older or is_whole:
                self.announced[self._sentence_of_restore(site)] += lost
            elif lost:
                self.faults.append(f"{site.place.name} lost {lost} though nothing was counted")

    def _mark(self, site: Site) -> Mark:
        """Return the highest number that ``site`` has given out, and its generation.

        A backup of another generation is older, though its numbers may be higher.
        """
        with site.database.reading() as session:
            sequence = session.get_one(ChangeSequence, 1)
            return Mark(sequence.generation, sequence.seq)

    def _go_back(self) -> None:
        for reader in self.readers.values():
            reader.is_strict = False
        for author in self.authors.values():
            author.may_miss = True

    def _forget_lost(self, restored: Site, owner: Site, is_whole: bool) -> int:
        """Expect of ``owner`` what it and the primary still have; return how many values differ."""
        if restored not in (self.primary, owner):
            return 0
        author, number = self.authors[owner], owner.place.sync_id
        here, there = (rows_by_key(site.rows(owner=number)) for site in (owner, self.primary))
        waiting = owner.waiting() if is_whole and restored is owner else set()
        lost = 0
        for key, possible in author.possible.items():
            left = {number_of(_newest(here.get(key), there.get(key)))}
            if key in waiting:
                # Which one is newer cannot be told; one is in use, and the other kept aside.
                left |= {number_of(here.get(key)), number_of(there.get(key))}
            lost += not left & possible
            author.possible[key] = left
        return lost

    def _sentence_of_restore(self, site: Site) -> str:
        kinds = EventKind.RESTORE_FOUND, EventKind.BACKUP_RESTORED
        query = select(Activity).where(Activity.what.in_(kinds)).order_by(Activity.id.desc())
        with site.database.reading() as session:
            entry = session.scalar(query.limit(1))
        if entry is None:
            self.faults.append(f"{site.place.name} does not tell that it was restored")
            return ""
        return f"{entry.person} {describe(entry.what)}"

    def _copy(self) -> None:
        """Start a copy of a satellite's disk; let both write, until somebody switches it off."""
        self._go_back()
        original, copy = self.satellites[0], self._spare
        with self._quiet():
            self.primary.process.wait_until_up()
            self._settle_one(original)
            original.process.kill()
            backup = self._copied(original)
            original.process.start()
            copy.become(original, backup.name)
            drop_backup(_url(original), backup.name)
            written = self._write_at_both(original, copy)
            self._change_hands(original, copy)
            aside = kept(original) | kept(copy)
            copy.process.kill()
            copy.database.close()
            self._clear_hardware(original)
            self._settle_one(original)
            aside |= kept(original)
            self._compare_both(original, written, aside)

    def _write_at_both(self, original: Site, copy: Site) -> dict[Key, list[int]]:
        """Write some of the same records at both; return the numbers of each record."""
        author, written = self.authors[original], dict[Key, list[int]]()
        for site in (original, copy):
            with site.api() as api:
                for line in author.some_lines(WRITTEN_AT_A_COPY):
                    api.put_many([line])
                    key = line["table"], line["id"]
                    written.setdefault(key, []).append(line["data"]["n"])
        return written

    def _change_hands(self, original: Site, copy: Site) -> None:
        for _ in range(MOST_CHANGES_OF_HANDS):
            for site in (original, copy):
                run = self._sync(site)
                if run.reason == "two_machines":
                    values = {"sync_id": original.place.sync_id}
                    self.announced[str(explain(run.reason, values).what)] += 1
                    return
        self.faults.append(f"{original.place.name} and its copy are not told apart: {run.reason}")

    def _clear_hardware(self, site: Site) -> None:
        with self.primary.database.writing() as session:
            query = select(Server).where(Server.sync_id == site.place.sync_id)
            row = session.scalars(query).one()
            clear_hardware(session, TESTER, row.id, row.version)
        self.primary.database.close()

    def _compare_both(
        self, original: Site, written: dict[Key, list[int]], aside: set[tuple[Key, int]]
    ) -> None:
        present = rows_by_key(original.rows(owner=original.place.sync_id))
        for key, numbers in written.items():
            used = number_of(present.get(key))
            for number in numbers:
                if number != used and (key, number) not in aside:
                    self.faults.append(f"{key} of two machines: {number} is gone, {used} is used")
                self.announced[str(explain("replaced", {}).what)] += number != used
            self.authors[original].possible[key] = {used}

    # --- the end ----------------------------------------------------------------------------------

    def _sync(self, satellite: Site) -> Run:
        run = satellite.sync(LONGEST_RUN_SECONDS)
        while run.reason in (REMOVAL, ANOTHER_TOKEN):
            run = satellite.sync(
                LONGEST_RUN_SECONDS, ask=lambda: self._ask(satellite, satellite.ask)
            )
        return run

    def _settle_one(self, satellite: Site) -> None:
        for _ in range(MOST_RUNS_TO_SETTLE):
            run = self._sync(satellite)
            if run.result == "well":
                return
        raise AssertionError(f"{satellite.place.name}: {run.result} {run.reason}")

    def settle(self) -> int:
        """Synchronise until nothing moves any more; return how many runs of each that took."""
        # Runs that were asked for before are over after these. One of them may have pushed what
        # another satellite has pulled too early to see, and then the next ones move something.
        for site in self.sites:
            site.process.wait_until_up()
        for satellite in self.satellites:
            self._settle_one(satellite)
        for number in range(1, MOST_RUNS_TO_SETTLE + 1):
            runs = [self._sync(satellite) for satellite in self.satellites]
            moved = sum(run.pushed + run.pulled for run in runs)
            if not moved and all(run.result == "well" for run in runs):
                return number
        raise AssertionError([(run.result, run.reason, run.pushed, run.pulled) for run in runs])

    def find_faults(self) -> list[str]:
        """Compare every server with what was acknowledged and with the others."""
        return self.faults + find_faults(self.primary, self.authors, self.readers)

    def count_runs(self, result: str) -> int:
        """Return how many of the satellites' runs, as far as they know, had this ``result``."""
        return sum(satellite.count_runs(result) for satellite in self.satellites)


def _url(site: Site) -> str:
    return site.process.config.database_url


def _newest(here: Row | None, there: Row | None) -> Row | None:
    rows = [row for row in (here, there) if row is not None]
    return max(rows, key=lambda row: row[4], default=None)


def _raise_first(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        if future.done():
            future.result()
