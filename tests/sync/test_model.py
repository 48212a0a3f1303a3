"""The exchange against a model: whatever happens on the way, in the end all is where it belongs.

Records are written, deleted and addressed; answers are lost, requests never arrive, arrive twice or
much later; runs are cut off and begun again. Backups of either side are restored at any moment,
noticed or not, which is also what a copied disk is; tombstones are purged; keys collide. The model
is what the owners wrote, less what a restore took from the owner and from the primary.
"""

import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from panel import clock
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Link
from panel.preferences.server_changes import clear_hardware
from panel.sync.primary.exchange import ReadContent
from panel.sync.store.retention import purge
from tests.support.cast import ASHA
from tests.support.search import examples
from tests.support.two_sides import (
    CutBefore,
    LoseAnswer,
    PrimarySide,
    SatelliteSide,
    Side,
    Tamper,
)

KADAVU, LEVUKA = 7, 8
OWNERS = st.sampled_from([PRIMARY_SYNC_ID, KADAVU, LEVUKA])
SATELLITES = st.sampled_from([KADAVU, LEVUKA])
SERVERS = OWNERS
KEYS = st.integers(0, 4)
KEEP_DAYS = 90


class Exchange(RuleBasedStateMachine):
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="sync-model-"))
        self.primary = PrimarySide(self._database("primary"))
        self.primary.add(KADAVU, "Kadavu", "KDV-01")
        self.primary.add(LEVUKA, "Levuka", "LVK-01")
        kadavu = SatelliteSide(self._database("kadavu"), self.primary, KADAVU, "Kadavu", "KDV-01")
        levuka = SatelliteSide(self._database("levuka"), self.primary, LEVUKA, "Levuka", "LVK-01")
        self.satellites = {KADAVU: kadavu, LEVUKA: levuka}
        self.servers = {PRIMARY_SYNC_ID: self.primary, **self.satellites}
        # Owner and key: the value, and whom it is addressed to.
        self.model: dict[tuple[int, str], tuple[int | None, int | None]] = {}
        self.number = 0
        # What each write of a record made of it, None for a delete, by its number.
        self.written: dict[tuple[int, str], dict[int, int | None]] = {}
        # The number of the delete that made a tombstone, by owner, key and version.
        self.deleted: dict[tuple[int, str, int], int] = {}
        self.backups: dict[int, str] = {}
        # Satellites that were restored without noticing: which content is newer cannot be told, so
        # that one is in use and the other kept aside.
        self.unsure: set[int] = set()
        self.sent: list[tuple[ReadContent, dict[str, str]]] = []
        self._listen()

    def _database(self, name: str) -> str:
        path = self._folder / f"{name}.sqlite3"
        shutil.copy(self.template, path)
        return f"sqlite:///{path}"

    def _listen(self) -> None:
        answer = self.primary.service.exchange

        def exchange(content: ReadContent, headers: dict[str, str], address: str) -> object:
            self.sent.append((content, dict(headers)))
            return answer(content, headers, address)

        self._answer = answer
        self.primary.service.exchange = exchange  # type: ignore[method-assign, assignment]

    def teardown(self) -> None:
        for satellite in self.satellites.values():
            self.settle(satellite)
        # What one pushed, the other may have missed by then.
        for satellite in self.satellites.values():
            self.settle(satellite)
        self.accept_what_is_kept_aside()
        for sync_id, server in self.servers.items():
            assert self.contents(server) == self.expected(sync_id)
            assert [
                one for one in server.asides() if one.source and "both" not in one.record_id
            ] == []
            server.close()
        shutil.rmtree(self._folder)

    def contents(self, server: Side) -> dict[tuple[str, str], dict[str, int]]:
        """Return what the model tells of; of keys that two servers write it tells nothing."""
        return {key: data for key, data in server.contents().items() if "both" not in key[1]}

    def accept_what_is_kept_aside(self) -> None:
        for (owner, name), (value, to) in self.model.items():
            if owner not in self.unsure:
                continue
            used = self.contents(self.primary).get(("item", name))
            if used != (None if value is None else {"n": value}):
                kept = [one.data for one in self.servers[owner].asides() if one.record_id == name]
                assert value is None or f'{{"n":{value}}}' in kept
                self.model[owner, name] = (used["n"] if used else None, to)

    def settle(self, satellite: SatelliteSide) -> None:
        run = satellite.sync()
        if run.reason == "two_machines":
            assert satellite.sync_id in self.unsure
            row = self.primary.row(satellite.sync_id)
            with self.primary.database.writing() as session:
                clear_hardware(session, ASHA, row.id, row.version)
            run = satellite.sync()
        assert (run.result, run.reason) == ("well", "")

    def expected(self, sync_id: int) -> dict[tuple[str, str], dict[str, int]]:
        return {
            ("item", key): {"n": value}
            for (owner, key), (value, to) in self.model.items()
            if value is not None
            and (
                sync_id in (PRIMARY_SYNC_ID, owner, to) or (owner == PRIMARY_SYNC_ID and to is None)
            )
        }

    @initialize(size=st.sampled_from([None, 10]), first=st.lists(SATELLITES, max_size=2))
    def begin(self, size: int | None, first: list[int]) -> None:
        for satellite in self.satellites.values():
            satellite.set_request_size(size)
        for sync_id in first:
            self.settle(self.satellites[sync_id])

    @rule(owner=OWNERS, key=KEYS, to=OWNERS, many=st.sampled_from([1, 1, 12]))
    def write(self, owner: int, key: int, to: int, many: int) -> None:
        self.put(owner, key, to, many)

    def put(self, owner: int, key: int, to: int, many: int) -> None:
        for place in range(key, key + many):
            name = f"{owner}-{place}"
            # Fixed for the life of the record, and nobody addresses itself or the primary.
            fixed = self.model.get((owner, name), (None, to if place % 2 else None))[1]
            address = None if fixed in (owner, PRIMARY_SYNC_ID) else fixed
            self.number += 1
            self.servers[owner].put(name, {"n": self.number}, to=address)
            self.note(owner, name, self.number, address)

    def note(self, owner: int, name: str, value: int | None, to: int | None) -> None:
        self.written.setdefault((owner, name), {})[self.number] = value
        self.model[owner, name] = (value, to)
        if value is None:
            version = self.servers[owner].versions()["item", name][1]
            self.deleted[owner, name, version] = self.number

    @rule(owner=OWNERS, key=KEYS)
    def delete(self, owner: int, key: int) -> None:
        name = f"{owner}-{key}"
        if self.servers[owner].get(name) is not None:
            self.number += 1
            self.servers[owner].put(name, None)
            self.note(owner, name, None, self.model[owner, name][1])

    @rule(sync_id=SATELLITES)
    def sync(self, sync_id: int) -> None:
        self.settle(self.satellites[sync_id])

    @rule(
        sync_id=SATELLITES,
        tamper=st.sampled_from([CutBefore, LoseAnswer]),
        number=st.sampled_from([1, 1, 1, 2, 3]),
        key=KEYS,
    )
    def sync_on_a_bad_line(
        self, sync_id: int, tamper: Callable[[int], Tamper], number: int, key: int
    ) -> None:
        self.put(sync_id, key, PRIMARY_SYNC_ID, 1)
        run = self.satellites[sync_id].sync(tamper(number))
        ends = ("well", ""), ("failed", "cut_off"), ("refused", "two_machines")
        assert (run.result, run.reason) in ends[: 3 if sync_id in self.unsure else 2]

    @rule(which=st.integers(0, 300))
    def an_old_request_arrives_again(self, which: int) -> None:
        if self.sent:
            content, headers = self.sent[-1 - which % len(self.sent)]
            self._answer(content, headers, "192.0.2.7")

    @rule(sync_id=SATELLITES)
    def initialise(self, sync_id: int) -> None:
        self.satellites[sync_id].initialise()

    @rule(owner=OWNERS, key=KEYS)
    def write_what_another_may_write_too(self, owner: int, key: int) -> None:
        name = f"both-{key}"
        stored = self.servers[owner].versions().get(("item", name))
        if stored is None or stored[0] == owner:
            self.number += 1
            self.servers[owner].put(name, {"n": self.number})

    @rule(sync_id=SERVERS)
    def purge(self, sync_id: int) -> None:
        now = clock.now
        clock.now = lambda: now() + timedelta(days=KEEP_DAYS + 1)
        try:
            with self.servers[sync_id].database.writing() as session:
                purge(session, KEEP_DAYS)
        finally:
            clock.now = now

    @rule(sync_id=SERVERS)
    def back_up(self, sync_id: int) -> None:
        server = self.servers[sync_id]
        with server.database.reading() as session:
            if sync_id != PRIMARY_SYNC_ID and session.get_one(Link, 1).written_since == 0:
                # All that is there was written since the machine is new: it counts as newer.
                return
        self.backups[sync_id] = server.back_up()

    @precondition(lambda self: self.backups)
    @rule(sync_id=SERVERS, noticed=st.sampled_from([True, True, False]))
    def restore(self, sync_id: int, noticed: bool) -> None:
        if sync_id not in self.backups:
            return
        self.servers[sync_id].restore(self.backups[sync_id], noticed=noticed)
        if not noticed and sync_id != PRIMARY_SYNC_ID:
            self.unsure.add(sync_id)
        for owner, name in self.model:
            if sync_id in (owner, PRIMARY_SYNC_ID):
                self.forget_lost(owner, name)

    def forget_lost(self, owner: int, name: str) -> None:
        """Let the model have the newest of what the owner and the primary still have."""
        holders = {self.servers[owner], self.primary}
        number = max(self.number_held(server, owner, name) for server in holders)
        value = self.written[owner, name].get(number)
        self.model[owner, name] = (value, self.model[owner, name][1])

    def number_held(self, server: Side, owner: int, name: str) -> int:
        stored = server.versions().get(("item", name))
        if stored is None:
            return 0
        _, version, _, is_deleted, _ = stored
        if not is_deleted:
            return int(server.get(name)["n"])
        deletes = [number for number, value in self.written[owner, name].items() if value is None]
        return self.deleted.get((owner, name, version), max(deletes, default=0))

    @invariant()
    def nobody_has_what_is_not_meant_for_them(self) -> None:
        for sync_id, satellite in self.satellites.items():
            meant = {
                ("item", key)
                for (owner, key), (_, to) in self.model.items()
                if sync_id in (owner, to) or (owner == PRIMARY_SYNC_ID and to is None)
            }
            assert self.contents(satellite).keys() <= meant


@pytest.mark.search
def test_the_exchange_does_what_the_model_does(migrated_sqlite_file: Path) -> None:
    Exchange.template = migrated_sqlite_file
    run_state_machine_as_test(
        Exchange,
        settings=settings(
            max_examples=examples(8),
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
