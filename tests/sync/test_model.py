"""The exchange against a model: whatever happens on the way, in the end all is where it belongs.

Records are written, deleted and addressed; answers are lost, requests never arrive, arrive twice or
much later; runs are cut off and begun again. The model is what the owners wrote, and nothing else.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from panel.models.base import PRIMARY_SYNC_ID
from panel.sync.primary.exchange import ReadContent
from panel.sync.satellite import initialise
from tests.support.search import examples
from tests.support.two_sides import CutBefore, LoseAnswer, PrimarySide, SatelliteSide, Tamper

KADAVU, LEVUKA = 7, 8
OWNERS = st.sampled_from([PRIMARY_SYNC_ID, KADAVU, LEVUKA])
SATELLITES = st.sampled_from([KADAVU, LEVUKA])
KEYS = st.integers(0, 4)


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
        for sync_id, server in self.servers.items():
            assert server.contents() == self.expected(sync_id)
            assert server.asides() == []
            server.close()
        shutil.rmtree(self._folder)

    def settle(self, satellite: SatelliteSide) -> None:
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
            self.model[owner, name] = (self.number, address)

    @rule(owner=OWNERS, key=KEYS)
    def delete(self, owner: int, key: int) -> None:
        name = f"{owner}-{key}"
        if (owner, name) in self.model:
            self.servers[owner].put(name, None)
            self.model[owner, name] = (None, self.model[owner, name][1])

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
        assert (run.result, run.reason) in (("well", ""), ("failed", "cut_off"))

    @rule(which=st.integers(0, 30))
    def an_old_request_arrives_again(self, which: int) -> None:
        if self.sent:
            content, headers = self.sent[-1 - which % len(self.sent)]
            self._answer(content, headers, "192.0.2.7")

    @rule(sync_id=SATELLITES)
    def initialise(self, sync_id: int) -> None:
        with self.satellites[sync_id].database.writing() as session:
            initialise.begin(session, sync_id)

    @invariant()
    def nobody_has_what_is_not_meant_for_them(self) -> None:
        for sync_id, satellite in self.satellites.items():
            meant = {
                ("item", key)
                for (owner, key), (_, to) in self.model.items()
                if sync_id in (owner, to) or (owner == PRIMARY_SYNC_ID and to is None)
            }
            assert satellite.contents().keys() <= meant


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
