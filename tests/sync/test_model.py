"""The exchange against a model: whatever happens on the way, in the end all is where it belongs.

Records are written, deleted and addressed; answers are lost, requests never arrive, arrive twice or
much later; runs are cut off and begun again. Backups of either side are restored at any moment,
noticed or not; a copy of a satellite's disk runs beside it; tombstones are purged; keys collide.
One of the satellites may speak v5. The model is what the owners wrote, less what a restore took
from the owner and from the primary.
"""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

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
from panel.models.runs import InitialiseState, Link
from panel.models.settings import SyncProtocol
from panel.preferences.server_changes import clear_hardware
from panel.sync.loop import purge
from tests.conftest import NewDatabase
from tests.support.cast import ASHA
from tests.support.search import SEARCHING, examples
from tests.support.two_sides import CutBefore, LoseAnswer, SatelliteSide, Side, Tamper
from tests.support.world import KADAVU, LEVUKA, World

OWNERS = st.sampled_from([PRIMARY_SYNC_ID, KADAVU, LEVUKA])
SATELLITES = st.sampled_from([KADAVU, LEVUKA])
SERVERS = OWNERS
KEYS = st.integers(0, 4)
KEEP_DAYS = 90
# The second of two machines with one identity is refused by its generation or by its token. Then
# somebody switches one of them off, and clears the Hardware ID.
TOKEN_LOST = "device_token_needed"
TWO_MACHINES = "two_machines", TOKEN_LOST


class Exchange(RuleBasedStateMachine):
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.begin_anew()
        self.primary = self.world.primary
        self.satellites = self.world.satellites
        self.servers = self.world.servers
        # Owner and key: the value, and whom it is addressed to.
        self.model: dict[tuple[int, str], tuple[int | None, int | None]] = {}
        self.number = 0
        # What each write of a record made of it, None for a delete, by its number.
        self.written: dict[tuple[int, str], dict[int, int | None]] = {}
        # The number of the delete that made a tombstone, by owner, key and version.
        self.deleted: dict[tuple[int, str, int], int] = {}
        self.backups: dict[int, str] = {}
        self.restored: set[int] = set()
        self.went_back_unseen = False
        # Satellites that were restored without noticing, or copied: which content is newer cannot
        # be told, so that one is in use and the other kept aside.
        self.unsure: set[int] = set()
        self.speaks_v5 = False
        # Satellites that had a run since the last look.
        self.changed: set[int] = set()
        # The copy of Kadavu's disk, while it runs; what it pushed; and of Kadavu's records the
        # values that somebody had before him when he wrote, and those that were kept aside.
        self.copy: SatelliteSide | None = None
        self.pushed_by_copy: set[tuple[str, int]] = set()
        self.overwritten: set[tuple[str, int]] = set()
        self.kept: set[tuple[str, str]] = set()

    def teardown(self) -> None:
        for sync_id, name in self.backups.items():
            self.servers[sync_id].drop_backup(name)
        if self.copy is not None:
            self.sync_copy()
        for satellite in self.satellites.values():
            self.settle(satellite)
        # It was the first, and may have missed what the last one pushed.
        self.settle(self.satellites[KADAVU])
        self.accept_what_is_kept_aside()
        for sync_id, server in self.servers.items():
            assert self.contents(server) == self.expected(sync_id)
            assert [
                one for one in server.asides() if one.source and "both" not in one.record_id
            ] == []

    def contents(self, server: Side) -> dict[tuple[str, str], dict[str, int]]:
        """Return what the model tells of; of keys that two servers write it tells nothing."""
        return {key: data for key, data in server.contents().items() if "both" not in key[1]}

    def accept_what_is_kept_aside(self) -> None:
        used = self.contents(self.primary)
        for server in self.satellites.values():
            self.note_kept(server)
        for (owner, name), (value, to) in self.model.items():
            # A v5 site that has received it may have written it, before the primary went back.
            is_both = self.is_v5(to) and owner in self.restored
            if owner not in self.unsure and not (is_both and owner == PRIMARY_SYNC_ID):
                continue
            present = used.get(("item", name))
            if present != (None if value is None else {"n": value}):
                assert value is None or self.is_known(name, value)
                self.model[owner, name] = (present["n"] if present else None, to)
        for name, value in self.pushed_by_copy:
            assert used.get(("item", name)) == {"n": value} or self.is_known(name, value)

    def is_known(self, name: str, value: int) -> bool:
        """Say whether somebody had this value before him when he wrote, or can put it back."""
        return (name, value) in self.overwritten or (name, f'{{"n":{value}}}') in self.kept

    def note_kept(self, server: Side) -> None:
        self.kept |= {(one.record_id, one.data or "") for one in server.asides()}

    def settle(self, satellite: SatelliteSide) -> None:
        self.changed.add(satellite.sync_id)
        run = satellite.sync()
        if run.reason in TWO_MACHINES:
            assert run.reason in self.calls_for_help(satellite.sync_id)
            row = self.primary.row(satellite.sync_id)
            with self.primary.database.writing() as session:
                clear_hardware(session, ASHA, row.id, row.version)
            run = satellite.sync()
        if run.reason == "initialise_needed":
            # Over v5 the primary went back to before it knew this site, and somebody agrees.
            assert self.is_v5(satellite.sync_id)
            assert PRIMARY_SYNC_ID in self.restored
            satellite.initialise()
            run = satellite.sync()
        assert (run.result, run.reason) == ("well", "")
        if self.copy is not None:
            self.note_kept(satellite)

    def calls_for_help(self, sync_id: int) -> set[str]:
        """Return what may keep this satellite out until somebody clears its row."""
        if sync_id in self.unsure:
            return set(TWO_MACHINES)
        # The primary lost the first token and gave another, which the satellite lost.
        return {TOKEN_LOST} if {sync_id, PRIMARY_SYNC_ID} <= self.restored else set()

    def expected(self, sync_id: int) -> dict[tuple[str, str], dict[str, int]]:
        return {
            ("item", key): {"n": value}
            for (owner, key), (value, to) in self.model.items()
            if value is not None
            and (
                sync_id in (PRIMARY_SYNC_ID, owner, to) or (owner == PRIMARY_SYNC_ID and to is None)
            )
        }

    @initialize(
        size=st.sampled_from([None, 10]),
        first=st.lists(SATELLITES, max_size=2),
        speaks_v5=st.booleans(),
    )
    def begin(self, size: int | None, first: list[int], speaks_v5: bool) -> None:
        self.speaks_v5 = speaks_v5
        self.satellites[LEVUKA].speak(SyncProtocol.V5 if speaks_v5 else SyncProtocol.OWN)
        for satellite in self.satellites.values():
            satellite.set_request_size(size)
        for sync_id in first:
            self.settle(self.satellites[sync_id])

    def is_v5(self, sync_id: int | None) -> bool:
        return self.speaks_v5 and sync_id == LEVUKA

    # --- what applications do ---------------------------------------------------------------------

    @rule(owner=OWNERS, key=KEYS, to=OWNERS, many=st.sampled_from([1, 1, 12]))
    def write(self, owner: int, key: int, to: int, many: int) -> None:
        self.put(owner, key, to, many)

    def put(self, owner: int, key: int, to: int, many: int) -> None:
        for place in range(key, key + many):
            name = f"{owner}-{place}"
            # Fixed for the life of the record, and nobody addresses itself or the primary. Over v5
            # a site has no words for an address.
            fixed = self.model.get((owner, name), (None, to if place % 2 else None))[1]
            is_open = fixed in (owner, PRIMARY_SYNC_ID) or self.is_v5(owner)
            address = None if is_open else fixed
            if self.was_handed_over(owner, name, address):
                continue
            self.number += 1
            self.note_overwritten(self.servers[owner], name)
            self.servers[owner].put(name, {"n": self.number}, to=address)
            self.note(owner, name, self.number, address)

    def was_handed_over(self, owner: int, name: str, to: int | None) -> bool:
        """Say whether a v5 site acknowledged this record: it belongs to the site from then on."""
        if owner != PRIMARY_SYNC_ID or not self.is_v5(to):
            return False
        stored = self.primary.versions().get(("item", name))
        return stored is not None and stored[0] != owner

    def note_overwritten(self, server: Side, name: str) -> None:
        if self.copy is not None and server.sync_id == KADAVU:
            present = server.get(name)
            self.overwritten |= {(name, present["n"])} if present else set()

    def note(self, owner: int, name: str, value: int | None, to: int | None) -> None:
        self.written.setdefault((owner, name), {})[self.number] = value
        self.model[owner, name] = (value, to)
        if value is None:
            version = self.servers[owner].versions()["item", name][1]
            self.deleted[owner, name, version] = self.number

    @rule(owner=OWNERS, key=KEYS)
    def delete(self, owner: int, key: int) -> None:
        name = f"{owner}-{key}"
        if self.servers[owner].get(name) is None:
            return
        to = self.model[owner, name][1]
        # The primary has versions of its own of what comes over v5: two deletes look alike there.
        is_second = None in self.written[owner, name].values()
        if self.was_handed_over(owner, name, to) or (is_second and self.meets_v5(owner, to)):
            return
        self.number += 1
        self.note_overwritten(self.servers[owner], name)
        self.servers[owner].put(name, None)
        self.note(owner, name, None, to)

    def meets_v5(self, owner: int, to: int | None) -> bool:
        return self.is_v5(owner) or self.is_v5(to)

    @rule(owner=OWNERS, key=KEYS)
    def write_what_another_may_write_too(self, owner: int, key: int) -> None:
        name = f"both-{key}"
        stored = self.servers[owner].versions().get(("item", name))
        if stored is None or stored[0] == owner:
            self.number += 1
            self.servers[owner].put(name, {"n": self.number})

    # --- runs, and what happens to them -----------------------------------------------------------

    @rule(sync_id=SATELLITES)
    def sync(self, sync_id: int) -> None:
        self.settle(self.satellites[sync_id])

    @rule(
        sync_id=SATELLITES,
        tamper=st.sampled_from([CutBefore, LoseAnswer]),
        number=st.sampled_from([1, 1, 1, 2, 3, 5, 7]),
        key=KEYS,
    )
    def sync_on_a_bad_line(
        self, sync_id: int, tamper: Callable[[int], Tamper], number: int, key: int
    ) -> None:
        self.put(sync_id, key, PRIMARY_SYNC_ID, 1)
        self.changed.add(sync_id)
        run = self.satellites[sync_id].sync(tamper(number))
        ends = {("well", ""), ("failed", "cut_off")}
        ends |= {("refused", reason) for reason in self.calls_for_help(sync_id)}
        if self.is_v5(sync_id) and PRIMARY_SYNC_ID in self.restored:
            ends.add(("refused", "initialise_needed"))
        assert (run.result, run.reason) in ends

    @rule(which=st.integers(0, 300))
    def an_old_request_arrives_again(self, which: int) -> None:
        self.world.repeat_request(which)

    @rule(sync_id=SATELLITES)
    def initialise(self, sync_id: int) -> None:
        self.satellites[sync_id].initialise()

    @rule(sync_id=SERVERS)
    def purge(self, sync_id: int) -> None:
        now = clock.now
        clock.now = lambda: now() + timedelta(days=KEEP_DAYS + 1)
        try:
            with self.servers[sync_id].database.writing() as session:
                purge(session, KEEP_DAYS)
        finally:
            clock.now = now

    # --- backups and copies -----------------------------------------------------------------------

    @rule(sync_id=SERVERS)
    def back_up(self, sync_id: int) -> None:
        server = self.servers[sync_id]
        if self.is_new(sync_id):
            self.settle(self.satellites[sync_id])
        if sync_id in self.backups:
            server.drop_backup(self.backups[sync_id])
        self.backups[sync_id] = server.back_up()

    def is_new(self, sync_id: int) -> bool:
        """Say whether all that is there counts as newer, written since the machine is new."""
        if sync_id == PRIMARY_SYNC_ID:
            return False
        with self.servers[sync_id].database.reading() as session:
            link = session.get_one(Link, 1)
        if self.is_v5(sync_id):
            return link.initialise is not InitialiseState.DONE
        return link.written_since == 0

    @precondition(lambda self: self.backups)
    @rule(which=st.integers(0, 5), noticed=st.sampled_from([True, True, False]))
    def restore(self, which: int, noticed: bool) -> None:
        self.put_back(sorted(self.backups)[which % len(self.backups)], noticed)

    @rule(sync_id=SERVERS, owner=OWNERS, key=KEYS, other=SATELLITES, noticed=st.booleans())
    def lose_a_day(self, sync_id: int, owner: int, key: int, other: int, noticed: bool) -> None:
        """Back up, write and synchronise, and lose that again: rare if every step is by chance."""
        self.back_up(sync_id)
        self.put(owner, key, other, 1)
        self.settle(self.satellites[other if sync_id == PRIMARY_SYNC_ID else sync_id])
        self.put_back(sync_id, noticed)

    def put_back(self, sync_id: int, noticed: bool) -> None:
        if self.went_back_unseen and sync_id != PRIMARY_SYNC_ID:
            # It may go back to before it met the restored primary (PROTOCOL.md, *Admitted limits*).
            return
        # Over v5 the numbers alone do not show a restore of the primary, nor where two machines
        # call as one (PROTOCOL.md, *Admitted limits*).
        shows = not self.speaks_v5 and self.copy is None
        noticed = noticed or (sync_id == PRIMARY_SYNC_ID and not shows)
        self.servers[sync_id].restore(self.backups[sync_id], noticed=noticed)
        self.restored.add(sync_id)
        if sync_id != PRIMARY_SYNC_ID and (not noticed or self.is_v5(sync_id)):
            self.unsure.add(sync_id)
        if sync_id == PRIMARY_SYNC_ID:
            self.pushed_by_copy.clear()
            if not noticed:
                self.went_back_unseen = True
                # Nothing tells a request of the lost past from one of the present.
                self.primary.sent.clear()
        for owner, name in self.model:
            if sync_id in (owner, PRIMARY_SYNC_ID):
                self.forget_lost(owner, name)

    def forget_lost(self, owner: int, name: str) -> None:
        """Let the model have the newest of what the owner and the primary still have."""
        value, to = self.model[owner, name]
        holders = {self.servers[owner], self.primary}
        if owner == PRIMARY_SYNC_ID and self.is_v5(to):
            # What it has received is its own, and it is pushed again.
            holders.add(self.satellites[LEVUKA])
        number = max(self.number_held(server, owner, name) for server in holders)
        value = self.written[owner, name].get(number)
        self.model[owner, name] = (value, to)

    def number_held(self, server: Side, owner: int, name: str) -> int:
        stored = server.versions().get(("item", name))
        if stored is None:
            return 0
        _, version, _, is_deleted, _ = stored
        if not is_deleted:
            return int(server.get(name)["n"])
        deletes = [number for number, value in self.written[owner, name].items() if value is None]
        return self.deleted.get((owner, name, version), max(deletes, default=0))

    @precondition(lambda self: self.copy is None and not self.went_back_unseen)
    @precondition(lambda self: not self.is_new(KADAVU))
    @rule()
    def copy_the_disk(self) -> None:
        """Let another machine begin with all that Kadavu has, its identity too."""
        self.copy = self.world.copy_kadavu()
        self.unsure.add(KADAVU)

    @precondition(lambda self: self.copy is not None)
    @rule(key=KEYS)
    def write_at_the_copy(self, key: int) -> None:
        assert self.copy is not None
        name = f"{KADAVU}-{key}"
        if (KADAVU, name) in self.model:
            self.number += 1
            self.note_overwritten(self.copy, name)
            self.copy.put(name, {"n": self.number}, to=self.model[KADAVU, name][1])
            self.written[KADAVU, name][self.number] = self.number

    @precondition(lambda self: self.copy is not None)
    @rule()
    def sync_the_copy(self) -> None:
        self.sync_copy()

    def sync_copy(self) -> None:
        assert self.copy is not None
        run = self.copy.sync()
        assert run.result == "well" or (run.result == "refused" and run.reason in TWO_MACHINES)
        self.note_kept(self.copy)
        if run.result == "well":
            mine = {(owner, name) for owner, name in self.model if owner == KADAVU}
            self.pushed_by_copy |= {
                (name, data["n"])
                for (_, name), data in self.contents(self.copy).items()
                if (KADAVU, name) in mine
            }

    @invariant()
    def nobody_has_what_is_not_meant_for_them(self) -> None:
        while self.changed:
            sync_id = self.changed.pop()
            satellite = self.satellites[sync_id]
            meant = {
                ("item", key)
                for (owner, key), (_, to) in self.model.items()
                if sync_id in (owner, to) or (owner == PRIMARY_SYNC_ID and to is None)
            }
            assert self.contents(satellite).keys() <= meant


# One kind at every change; `make soak` tries both.
KINDS = ["sqlite", "postgresql"] if SEARCHING else ["sqlite"]


@pytest.mark.search
@pytest.mark.parametrize("database_kind", KINDS)
def test_the_exchange_does_what_the_model_does(new_database: NewDatabase) -> None:
    world = World(new_database)
    with closing(world):
        run_state_machine_as_test(
            type("Exchange", (Exchange,), {"world": world}),
            settings=settings(
                max_examples=examples(8),
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
