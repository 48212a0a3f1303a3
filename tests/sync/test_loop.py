"""The loop: when it runs, when it waits, who runs it, and what it makes of how a run ended."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from secrets import token_hex

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from panel import clock
from panel.models.runs import Link, Loop, Run
from panel.models.settings import Server, Settings
from panel.operations.sync_requests import ask_to_stop, ask_to_sync
from panel.status.state import read_state
from panel.sync import loop as loop_module
from panel.sync import loop as purge_module
from panel.sync.loop import SyncLoop, run_once
from panel.sync.run import SatelliteRun
from panel.sync.satellite import schedule
from panel.sync.satellite.schedule import LEASE, Lease, LeaseLost, Progress
from panel.sync.store.records import Write, write_records
from panel.sync.transport.http import LinkFault, Target
from tests.conftest import NewDatabase
from tests.support.cast import ASHA
from tests.support.clock import Clock
from tests.support.real_site import wait_until
from tests.support.two_sides import Hang, Line, PrimarySide, SatelliteSide, Tamper


class Broken(Tamper):
    def before(self, content: bytes) -> None:
        super().before(content)
        raise LinkFault("cut_off")


@pytest.fixture
def kadavu(
    new_sqlite: NewDatabase,
    new_database: NewDatabase,
    time: Clock,  # noqa: ARG001 - it stands still
) -> Iterator[SatelliteSide]:
    """A satellite on either kind of database, and its primary; the time stands still."""
    primary = PrimarySide(new_sqlite(True))
    primary.add(7, "Kadavu Health Centre", "KDV-01")
    satellite = SatelliteSide(new_database(True), primary)
    yield satellite
    satellite.close()
    primary.close()


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, so that no test waits for it."""
    monkeypatch.setattr(loop_module, "_WATCH_SECONDS", 0.01)


def loop_of(kadavu: SatelliteSide, tamper: Tamper | None = None) -> SyncLoop:
    tamper = tamper or Tamper()

    def open_line(_target: Target) -> Line:
        return Line(kadavu.primary, tamper)

    return SyncLoop(kadavu.installation, open_line)


def ask(kadavu: SatelliteSide) -> None:
    with kadavu.database.writing() as session:
        ask_to_sync(session, ASHA)


def row(kadavu: SatelliteSide) -> Loop:
    with kadavu.database.reading() as session:
        return session.get_one(Loop, 1)


def looks_until_due(kadavu: SatelliteSide, time: Clock, tamper: Tamper | None = None) -> float:
    """Return the seconds that pass until a run begins."""
    loop, seconds = loop_of(kadavu, tamper), 0
    while loop.look() is None:
        assert seconds < 100_000
        step = 5 if seconds < 60 else 20
        time.pass_by(seconds=step)
        seconds += step
    return seconds


def test_it_runs_at_once_and_then_at_the_interval_with_some_jitter(
    kadavu: SatelliteSide, time: Clock
) -> None:
    assert loop_of(kadavu).look() is not None
    waits = {looks_until_due(kadavu, time) for _ in range(5)}
    assert all(540 <= wait <= 680 for wait in waits)
    assert len(waits) > 1


def test_a_change_of_the_interval_counts_at_once(kadavu: SatelliteSide, time: Clock) -> None:
    loop_of(kadavu).look()
    kadavu.set_interval(1)
    assert looks_until_due(kadavu, time) <= 70


def test_interval_0_runs_nothing_though_asked(kadavu: SatelliteSide, time: Clock) -> None:
    ask(kadavu)
    kadavu.set_interval(0)
    time.pass_by(days=1)
    assert loop_of(kadavu).look() is None


@pytest.mark.both_databases
def test_asked_it_runs_at_once(kadavu: SatelliteSide) -> None:
    loop = loop_of(kadavu)
    loop.look()
    assert loop.look() is None
    ask(kadavu)
    assert loop.look() is not None
    assert row(kadavu).asked_at is None
    assert loop.look() is None


def test_faults_back_off_up_to_the_interval(kadavu: SatelliteSide, time: Clock) -> None:
    broken = Broken()
    loop_of(kadavu, broken).look()
    waits = [looks_until_due(kadavu, time, broken) for _ in range(8)]
    assert waits[0] <= 20
    assert waits == sorted(waits[:5]) + waits[5:]
    assert 540 <= waits[-1] <= 680
    assert row(kadavu).failures == 9
    looks_until_due(kadavu, time)
    assert row(kadavu).failures == 0


def test_a_refusal_that_a_person_here_has_to_end_waits_for_them(
    kadavu: SatelliteSide, time: Clock
) -> None:
    loop = loop_of(kadavu)
    loop.look()
    with kadavu.database.writing() as session:
        session.get_one(Loop, 1).refusal = "removal_needs_consent"
    time.pass_by(days=3)
    assert loop.look() is None
    ask(kadavu)
    assert loop.look() is not None
    assert row(kadavu).refusal == ""


def test_what_was_put_right_here_is_tried_at_once(kadavu: SatelliteSide) -> None:
    with kadavu.database.writing() as session:
        session.get_one(Settings, 1).store = "KDV-10"
    loop = loop_of(kadavu)
    run = loop.look()
    assert run is not None
    assert run.reason == "identity_differs"
    assert loop.look() is None
    with kadavu.database.writing() as session:
        session.get_one(Settings, 1).store = "KDV-01"
    corrected = loop.look()
    assert corrected is not None
    assert corrected.result == "well"
    assert row(kadavu).refusal == ""


def test_what_was_put_right_at_the_primary_heals_by_itself(
    kadavu: SatelliteSide, time: Clock
) -> None:
    def name(store: str) -> None:
        with kadavu.primary.database.writing() as session:
            session.execute(update(Server).where(Server.sync_id == 7).values(store=store))

    name("KDV-10")
    loop_of(kadavu).look()
    assert row(kadavu).refusal == "identity_differs"
    name("KDV-01")
    assert looks_until_due(kadavu, time) <= 15 * 60
    assert row(kadavu).refusal == ""


def test_a_wrong_pair_is_sent_every_15_minutes_however_short_the_interval_is(
    kadavu: SatelliteSide, time: Clock
) -> None:
    loop_of(kadavu).look()
    with kadavu.database.writing() as session:
        session.get_one(Settings, 1).interval_minutes = 1
        loop = session.get_one(Loop, 1)
        loop.refusal, loop.started_at = "site_incorrect_password", time.now
    assert 13 * 60 <= looks_until_due(kadavu, time) <= 17 * 60


def test_after_a_refusal_a_fault_of_the_line_is_tried_again(
    kadavu: SatelliteSide, time: Clock
) -> None:
    with kadavu.database.writing() as session:
        session.get_one(Settings, 1).store = "KDV-10"
    loop_of(kadavu).look()
    with kadavu.database.writing() as session:
        session.get_one(Settings, 1).store = "KDV-01"
    run = loop_of(kadavu, Broken()).look()
    assert run is not None
    assert (run.result, run.reason) == ("failed", "cut_off")
    with kadavu.database.reading() as session:
        assert read_state(session, time.now).reason == "cut_off"
    assert looks_until_due(kadavu, time) <= 20


@pytest.mark.both_databases
@pytest.mark.parametrize("dying_in", [(Progress, "begin"), (SatelliteRun, "run")])
def test_a_kill_as_a_run_begins_forgets_no_request(
    kadavu: SatelliteSide,
    time: Clock,
    monkeypatch: pytest.MonkeyPatch,
    dying_in: tuple[type, str],
) -> None:
    loop_of(kadavu).look()
    ask(kadavu)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(*dying_in, die)
        dying.setattr(Lease, "release", lambda _self: None)
        with pytest.raises(Killed):
            loop_of(kadavu).look()
    # Where nothing of it was written down, nobody holds the lease either.
    time.pass_by(minutes=1)
    assert loop_of(kadavu).look() is not None


def test_what_the_primary_has_to_put_right_is_asked_again(
    kadavu: SatelliteSide, time: Clock
) -> None:
    with kadavu.primary.database.writing() as session:
        session.get_one(Settings, 1).url = "https://elsewhere.example.org"
    run = loop_of(kadavu).look()
    assert run is not None
    assert run.reason == row(kadavu).refusal == "sync_disabled"
    with kadavu.primary.database.writing() as session:
        session.get_one(Settings, 1).url = ""
    looks_until_due(kadavu, time)
    assert row(kadavu).refusal == ""


def test_nothing_runs_while_something_is_not_filled_in(kadavu: SatelliteSide) -> None:
    with kadavu.database.writing() as session:
        session.get_one(Settings, 1).user_name = ""
    assert loop_of(kadavu).look() is None
    assert kadavu.runs() == []


@pytest.mark.both_databases
def test_one_at_a_time_and_a_dead_holder_is_replaced_within_a_minute(
    kadavu: SatelliteSide, time: Clock
) -> None:
    with kadavu.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.holder, loop.held_until = "another-machine:1:abc", time.now + LEASE
        session.add(Run(other=1, started_at=time.now))
    assert loop_of(kadavu).look() is None
    time.pass_by(minutes=1)
    run = loop_of(kadavu).look()
    assert run is not None
    cut = kadavu.runs()[0]
    assert (cut.result, cut.reason) == ("cut_off", "stopped")


@pytest.mark.both_databases
@pytest.mark.skipif(os.name != "posix", reason="a process is asked after by a signal")
def test_a_process_of_this_machine_that_died_is_replaced_at_once(kadavu: SatelliteSide) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lease = Lease(kadavu.database)
    with kadavu.database.writing() as session:
        assert lease.acquire(session)
        loop = session.get_one(Loop, 1)
        assert loop.holder is not None
        host, number, word = loop.holder.split(":")
        assert int(number) == os.getpid()
        loop.holder = f"{host}:{gone.pid}:{word}"
        session.add(Run(other=1, started_at=clock.now()))
    assert loop_of(kadavu).look() is not None


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_run_that_begins_and_a_person_who_initialises_do_not_wait_for_each_other(
    kadavu: SatelliteSide,
) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor(1) as pool:
        with kadavu.database.writing() as session:
            # As ask_to_initialise() does.
            session.get_one(Link, 1, with_for_update=True)
            looking = pool.submit(loop_of(kadavu).look)
            wait_until(lambda: bool(session.scalar(waiting)), "the run waits")
            session.get_one(Loop, 1, with_for_update=True)
        run = looking.result()
    assert run is not None
    assert run.result == "well"


def test_a_clock_that_was_set_back_holds_up_nothing(kadavu: SatelliteSide, time: Clock) -> None:
    time.pass_by(days=3_650)
    loop_of(kadavu).look()
    with kadavu.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.holder, loop.held_until = "another-machine:1:abc", time.now + LEASE
    time.pass_by(days=-3_650)
    assert loop_of(kadavu).look() is not None
    assert loop_of(kadavu).look() is None


@pytest.mark.both_databases
def test_a_busy_database_does_not_end_the_renewals(
    kadavu: SatelliteSide, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "_RENEW_SECONDS", 0.0)
    lease, over, guard = Lease(kadavu.database), threading.Event(), Lease.guard
    with kadavu.database.writing() as session:
        lease.acquire(session)
    tries = 0

    def busy_once(self: Lease, session: Session) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OperationalError("UPDATE loop", {}, Exception("database is locked"))
        guard(self, session)
        over.set()

    monkeypatch.setattr(Lease, "guard", busy_once)
    time.pass_by(seconds=40)
    lease.keep_renewing(over)
    assert row(kadavu).held_until == time.now + LEASE


def test_batches_that_the_line_breaks_become_smaller(kadavu: SatelliteSide, time: Clock) -> None:
    """A line that carries so many bytes and not more: fewer records get through in the end."""
    loop_of(kadavu).look()
    photos = [Write("item", str(n), {"photo": token_hex(50)}) for n in range(150)]
    with kadavu.database.writing() as session:
        write_records(session, kadavu.sync_id, photos)
        # Learned on a good line: all of them in one batch.
        session.get_one(Link, 1).seconds_per_record_up = 0.01

    class Short(Tamper):
        def before(self, content: bytes) -> None:
            super().before(content)
            if len(content) > 5_000:
                raise LinkFault("timed_out")

    ask(kadavu)
    short = Short()
    loop_of(kadavu, short).look()
    for _ in range(12):
        looks_until_due(kadavu, time, short)
        if kadavu.runs()[-1].result == "well":
            break
    assert len(kadavu.primary.contents()) == 150


@contextmanager
def running(kadavu: SatelliteSide, tamper: Tamper) -> Iterator[Future[Run | None]]:
    """A run in a thread of its own that the primary leaves without an answer."""
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(loop_of(kadavu, tamper).look)
        try:
            wait_until(lambda: sentence(kadavu).startswith("No answer"), "the silence is told")
            yield looking
        finally:
            tamper.aborted.set()


def sentence(kadavu: SatelliteSide) -> str:
    with kadavu.database.reading() as session:
        return str(read_state(session, clock.now()).sentence)


@pytest.mark.both_databases
@pytest.mark.usefixtures("quick_watch")
@pytest.mark.parametrize("number", [1, 3])
def test_a_primary_that_answers_nothing_is_told_and_can_be_stopped(
    kadavu: SatelliteSide, time: Clock, number: int
) -> None:
    kadavu.put_many(250)
    with running(kadavu, Hang(number)) as looking:
        assert sentence(kadavu) == "No answer from National Store for 25 s. Trying until 09:01 UTC."
        time.pass_by(seconds=5)
        assert "for 30 s" in sentence(kadavu)
        with kadavu.database.writing() as session:
            assert ask_to_stop(session, ASHA)
        assert sentence(kadavu) == "Stopping."
        run = looking.result()
    assert run is not None
    assert (run.result, run.reason) == ("cut_off", "stopped_by_hand")
    # A stop is no fault of the line, and not taken back at once either.
    assert "line" not in sentence(kadavu)
    assert loop_of(kadavu).look() is None
    time.pass_by(minutes=12)
    loop_of(kadavu).look()
    assert len(kadavu.primary.contents()) == 250


@pytest.mark.usefixtures("quick_watch")
def test_a_new_url_ends_what_the_old_one_does_not_answer(kadavu: SatelliteSide) -> None:
    with running(kadavu, Hang()) as looking:
        with kadavu.database.writing() as session:
            session.get_one(Settings, 1).url = "https://other.example.org"
        run = looking.result()
    assert run is not None
    assert run.reason == "stopped_by_hand"
    again = loop_of(kadavu).look()
    assert again is not None
    assert again.result == "well"


@pytest.mark.usefixtures("quick_watch")
def test_an_answer_that_comes_late_ends_the_silence(kadavu: SatelliteSide) -> None:
    kadavu.put("a", {})

    class Late(Tamper):
        def after(self, content: bytes) -> None:
            self.be_silent(25.0)
            wait_until(lambda: sentence(kadavu).startswith("No answer"), "the silence is told")
            self.be_silent(0.0)
            wait_until(lambda: "No answer" not in sentence(kadavu), "that it ended is told")

    run = loop_of(kadavu, Late()).look()
    assert run is not None
    assert run.result == "well"


def test_nothing_is_stopped_where_no_run_is_under_way(kadavu: SatelliteSide) -> None:
    with kadavu.database.writing() as session:
        assert not ask_to_stop(session, ASHA)
    run = loop_of(kadavu).look()
    assert run is not None
    assert run.result == "well"


@pytest.mark.both_databases
def test_whoever_lost_the_lease_stores_nothing_more(kadavu: SatelliteSide) -> None:
    kadavu.put("a", {"n": 1})

    class TakeOver(Tamper):
        def after(self, content: bytes) -> None:
            with kadavu.database.writing() as session:
                session.get_one(Loop, 1).holder = "another"

    with pytest.raises(LeaseLost):
        loop_of(kadavu, TakeOver()).look()
    with kadavu.database.reading() as session:
        assert session.get_one(Loop, 1).holder == "another"
        (run,) = session.scalars(select(Run))
        assert (run.ended_at, run.pulled) == (None, 0)


def test_a_stopped_loop_leaves_a_run_that_goes_on_later(kadavu: SatelliteSide) -> None:
    kadavu.put("a", {"n": 1})

    class StopIt(Tamper):
        def after(self, content: bytes) -> None:
            loop.stop()

    loop = loop_of(kadavu, StopIt())
    with pytest.raises(LeaseLost):
        loop.look()
    run = loop_of(kadavu).look()
    assert run is not None
    assert run.result == "well"
    assert kadavu.primary.get("a") == {"n": 1}


def test_a_crash_is_told_and_tried_again_later(kadavu: SatelliteSide, time: Clock) -> None:
    class Bug(Tamper):
        def before(self, content: bytes) -> None:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        loop_of(kadavu, Bug()).look()
    (run,) = kadavu.runs()
    assert (run.result, run.reason) == ("failed", "internal_error")
    assert loop_of(kadavu).look() is None
    assert 5 <= looks_until_due(kadavu, time) <= 20


@pytest.mark.both_databases
def test_a_purge_that_fails_holds_up_nothing(
    kadavu: SatelliteSide, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def fail(*_: object) -> bool:
        nonlocal tries
        tries += 1
        raise OperationalError("DELETE", {}, Exception("disk I/O error"))

    loop = loop_of(kadavu)
    with monkeypatch.context() as failing:
        failing.setattr(loop_module, "purge", fail)
        assert loop.look() is not None
        loop.look()
        # Not every second: the log would say nothing else.
        assert tries == 1
    time.pass_by(hours=2)
    loop.look()
    assert row(kadavu).purged_at == time.now


@pytest.mark.both_databases
def test_a_large_purge_goes_in_portions_between_which_others_write(
    kadavu: SatelliteSide, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_module, "_TOMBSTONES_AT_ONCE", 2)
    loop = loop_of(kadavu)
    for one in "abc":
        kadavu.put(one, {})
        kadavu.put(one, None)
    assert loop.look() is not None
    time.pass_by(days=91)
    loop.look()
    # The purge's clock goes on by two days at a time: it could have been set wrong since.
    assert len(kadavu.versions()) == 3
    time.pass_by(days=1, minutes=1)
    left = []
    while row(kadavu).purged_at != time.now:
        loop.look()
        left.append(len(kadavu.versions()))
    assert left == [1, 0]


def test_run_once_runs_at_once(kadavu: SatelliteSide) -> None:
    loop_of(kadavu).look()

    def open_line(_target: Target) -> Line:
        return Line(kadavu.primary, Tamper())

    lease = Lease(kadavu.database)
    assert run_once(kadavu.installation, lease, open_line) is None
    assert run_once(kadavu.installation, lease, open_line, at_once=True) is not None


def test_the_thread_looks_by_itself_and_ends_when_told(kadavu: SatelliteSide) -> None:
    loop = loop_of(kadavu)
    loop.start()
    loop.stop()
    assert not loop._thread.is_alive()
