"""The exchange in one process: every direction, repeats, lost answers, restores, refusals."""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from panel import clock
from panel.activity.log import search
from panel.models.records import ChangeSequence, Part, Quarantined
from panel.models.runs import InitialiseState, Link, Peer
from panel.models.settings import Server, Settings, SyncProtocol
from panel.operations.adopt_identity import add_applicant, list_applicants
from panel.operations.connection_test import try_connection
from panel.operations.quarantine_acts import RetryResult, leave_out, retry_record
from panel.preferences.parameter_table import parameters_of
from panel.preferences.parameters import save_parameters
from panel.preferences.server_changes import clear_hardware
from panel.preferences.servers import remove_servers
from panel.preferences.shared_password import wire_password
from panel.sync.primary import admission, run_log
from panel.sync.protocol.body_codec import Body, write_body
from panel.sync.protocol.error_codes import PASSING, SyncRefusal
from panel.sync.protocol.messages import Identity, Mode, Pair, Request
from panel.sync.store import quarantine
from panel.sync.store.sequence import lock_sequence
from panel.sync.transport.exchange_client import basic, read_error
from panel.sync.transport.http import Response
from tests.conftest import NewDatabase
from tests.support.cast import ASHA
from tests.support.installations import VAULT, installation_on
from tests.support.two_sides import (
    PASSWORD,
    PRIMARY_NAME,
    PRIMARY_STORE,
    CutBefore,
    Line,
    LoseAnswer,
    PrimarySide,
    SatelliteSide,
    Side,
    Tamper,
    is_in_step,
)


@pytest.mark.both_databases
def test_every_direction_and_a_second_run_moves_nothing(
    primary: PrimarySide, kadavu: SatelliteSide, levuka: SatelliteSide
) -> None:
    primary.put("central", {"n": 1})
    primary.put("to levuka", {"n": 2}, to=8)
    kadavu.put("kadavu's", {"n": 3})
    kadavu.put("from kadavu to levuka", {"n": 4}, to=8)
    for satellite in (kadavu, levuka):
        assert satellite.sync().result == "well"
    assert set(kadavu.contents()) == {
        ("item", "central"), ("item", "kadavu's"), ("item", "from kadavu to levuka"),
    }  # fmt: skip
    assert levuka.get("from kadavu to levuka") == {"n": 4}
    assert levuka.get("to levuka") == {"n": 2}
    assert levuka.get("kadavu's") is None
    assert len(primary.contents()) == 4
    for satellite in (kadavu, levuka):
        again, tamper = satellite.sync(tamper := Tamper()), tamper
        assert (again.result, again.pushed, again.pulled, tamper.exchanges) == ("well", 0, 0, 1)


@pytest.mark.both_databases
def test_deletes_travel_as_tombstones(
    primary: PrimarySide, kadavu: SatelliteSide, levuka: SatelliteSide
) -> None:
    primary.put("central", {"n": 1})
    kadavu.put("addressed", {"n": 2}, to=8)
    for satellite in (kadavu, levuka):
        satellite.sync()
    primary.put("central", None)
    kadavu.put("addressed", None)
    for satellite in (kadavu, levuka):
        satellite.sync()
        assert satellite.contents() == {}
    assert primary.contents() == {}


@pytest.mark.both_databases
def test_batches_of_a_fixed_size_carry_everything_in_order(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    primary.put_many(35, "central")
    kadavu.put_many(45, "own")
    kadavu.set_request_size(10)
    tamper = Tamper()
    run = kadavu.sync(tamper)
    assert (run.result, run.pushed, run.pulled) == ("well", 45, 35)
    # One to find the protocol; five to initialise, the first and last only ask; five to push.
    assert tamper.exchanges == 11
    assert is_in_step(primary, kadavu)
    assert (run.to_push, run.to_pull, run.step) == (45, 35, "pushing")


class Instead(Tamper):
    """Somebody else answers, always the same."""

    def __init__(self, **answer: Any) -> None:
        super().__init__()
        self._answer = json.dumps({"version": 1, **answer}).encode()

    def instead(self, sent: Body) -> bytes | None:
        assert self.exchanges < 10, "it asks for ever"
        return self._answer


@pytest.mark.parametrize(
    "answer",
    [
        {"more": "central"},
        {"more": "addressed", "cursors": [1, 0]},
        {"cursors": [0, 0]},
        {"wanted": True},
        {"wanted": True, "have": 5},
        {"rolled": True},
        {"answered": 3},
        {"part": ["0" * 32, 5, 1, "central"], "more": "central"},
    ],
)
def test_an_answer_that_leads_nowhere_is_a_fault(
    primary: PrimarySide, kadavu: SatelliteSide, answer: dict[str, Any]
) -> None:
    primary.put_many(3)
    kadavu.sync()
    kadavu.sync()
    run = kadavu.sync(Instead(**answer))
    assert (run.result, run.reason) == ("failed", "not_a_sync_server")
    primary.put("later", {})
    assert kadavu.sync().result == "well"
    assert is_in_step(primary, kadavu)


def test_a_primary_that_never_has_all_of_a_record_is_a_fault(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    kadavu.put("large", {"n": secrets.token_hex(10_000)})
    with kadavu.database.writing() as session:
        session.get_one(Link, 1).largest_up = 6_000

    class Forgetful(Tamper):
        """Between two messages the primary loses what it has of the record."""

        def before(self, content: bytes) -> None:
            super().before(content)
            assert self.exchanges < 100, "it sends for ever"
            if content[:1] != b"{" and len(content) < 1_000:
                with primary.database.writing() as session:
                    session.execute(delete(Part))

    run = kadavu.sync(Forgetful())
    assert (run.result, run.reason) == ("failed", "not_a_sync_server")
    assert kadavu.sync().result == "well"
    assert is_in_step(primary, kadavu)


@pytest.mark.parametrize("break_line", [CutBefore, LoseAnswer])
@pytest.mark.parametrize("number", range(1, 10))
def test_a_run_cut_off_anywhere_goes_on_where_it_was(
    primary: PrimarySide,
    kadavu: SatelliteSide,
    break_line: Callable[[int], Tamper],
    number: int,
) -> None:
    kadavu.set_request_size(10)
    primary.put_many(25, "central")
    kadavu.put_many(35, "own")
    cut = kadavu.sync(break_line(number))
    assert (cut.result, cut.reason) == ("failed", "cut_off")
    after = kadavu.sync()
    assert after.result == "well"
    assert is_in_step(primary, kadavu)
    assert kadavu.sync().pushed == 0
    # What had arrived was not sent for again.
    assert cut.pulled + after.pulled == 25


@pytest.mark.both_databases
def test_a_record_written_while_it_is_pushed_is_pushed_again(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()

    class WriteMeanwhile(Tamper):
        def before(self, content: bytes) -> None:
            super().before(content)
            if self.exchanges == 1:
                kadavu.put("a", {"n": 2})

    kadavu.put("a", {"n": 1})
    kadavu.sync(WriteMeanwhile())
    assert primary.get("a") == {"n": 1}
    kadavu.sync()
    assert primary.get("a") == {"n": 2}


Sent = list[tuple[Callable[[], bytes], dict[str, str]]]


def overheard(primary: PrimarySide) -> tuple[Callable[..., object], Sent]:
    """Return what answers, to be asked again later, and what it is sent from now on."""
    sent: Sent = []
    answer = primary.service.exchange

    def listen(content: Callable[[], bytes], headers: dict[str, str], address: str) -> object:
        sent.append((content, dict(headers)))
        return answer(content, headers, address)

    primary.service.exchange = listen  # type: ignore[method-assign, assignment]
    return answer, sent


@pytest.mark.both_databases
def test_a_late_repeat_of_an_old_batch_changes_nothing(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    answer, sent = overheard(primary)
    kadavu.sync()
    kadavu.put("a", {"n": 1})
    kadavu.sync()
    kadavu.put("a", {"n": 2})
    kadavu.sync()
    before = primary.versions()
    for content, headers in sent:
        answer(content, headers, "192.0.2.7")
    assert primary.versions() == before
    assert kadavu.sync().result == "well"


def test_interval_0_stops_after_the_batch_in_hand(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    kadavu.put_many(30)
    kadavu.set_request_size(10)

    class PauseAtOnce(Tamper):
        def before(self, content: bytes) -> None:
            super().before(content)
            kadavu.set_interval(0)

    run = kadavu.sync(PauseAtOnce())
    assert (run.result, run.pushed, len(primary.contents())) == ("paused", 10, 10)
    kadavu.set_interval(10)
    assert kadavu.sync().pushed == 20


def test_a_new_request_size_counts_from_the_next_batch(
    kadavu: SatelliteSide,
) -> None:
    kadavu.sync()
    kadavu.put_many(60)
    kadavu.set_request_size(10)

    class Enlarge(Tamper):
        def before(self, content: bytes) -> None:
            super().before(content)
            kadavu.set_request_size(50)

    enlarge = Enlarge()
    assert kadavu.sync(enlarge).result == "well"
    assert enlarge.exchanges == 2


# --- set aside ------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_a_record_that_cannot_be_applied_holds_up_nothing(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.put("taken", {"whose": "kadavu's"}, to=8)
    primary.put("before", {"n": 1})
    primary.put("taken", {"whose": "the primary's"})
    primary.put("after", {"n": 2})
    run = kadavu.sync()
    assert run.result == "well"
    assert kadavu.get("before")
    assert kadavu.get("after")
    # Neither can take the other's: each keeps its own, and both say so.
    assert kadavu.get("taken") == {"whose": "kadavu's"}
    assert primary.get("taken") == {"whose": "the primary's"}
    assert [one.reason for one in primary.asides()] == ["owned_by_another"]
    reasons = [(a.source, a.reason, a.reason_values) for a in kadavu.asides()]
    assert sorted(reasons, key=lambda one: one[0]) == [
        (1, "owned_by_another", {"owner": 7}),
        (7, "owned_by_another", {"owner": 1}),
    ]
    again = kadavu.sync()
    assert (again.result, again.pushed, again.pulled) == ("well", 0, 0)


@pytest.mark.both_databases
def test_a_record_set_aside_fits_once_its_key_is_free(
    primary: PrimarySide, kadavu: SatelliteSide, levuka: SatelliteSide
) -> None:
    levuka.put("taken", {"whose": "levuka's"})
    kadavu.put("taken", {"whose": "kadavu's"})
    levuka.sync()
    assert kadavu.sync().set_aside == 1
    (aside,) = primary.asides()
    with primary.database.writing() as session:
        assert retry_record(session, ASHA, aside.id) is RetryResult.REFUSED
    _forget(primary, "taken")
    with primary.database.writing() as session:
        assert retry_record(session, ASHA, aside.id) is RetryResult.TAKEN
    assert primary.get("taken") == {"whose": "kadavu's"}
    assert primary.asides() == []


def test_one_of_our_own_is_sent_again_and_its_note_goes_once_the_primary_took_it(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    primary.put("taken", {"whose": "the primary's"})
    kadavu.put("taken", {"whose": "kadavu's"})
    kadavu.sync()
    (own,) = [one for one in kadavu.asides() if one.source == 7]
    with kadavu.database.writing() as session:
        assert retry_record(session, ASHA, own.id) is RetryResult.QUEUED
    assert own.id in [one.id for one in kadavu.asides()]
    assert kadavu.sync().pushed == 1
    assert own.id in [one.id for one in kadavu.asides()]
    _forget(primary, "taken")
    with kadavu.database.writing() as session:
        retry_record(session, ASHA, own.id)
    kadavu.sync()
    assert primary.get("taken") == {"whose": "kadavu's"}
    assert own.id not in [one.id for one in kadavu.asides()]


@pytest.mark.both_databases
def test_a_person_who_tries_again_waits_for_a_run_and_holds_up_none(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    primary.put("taken", {})
    kadavu.put("taken", {"n": 1})
    kadavu.sync()
    if primary.database.engine.dialect.name == "sqlite":
        pytest.skip("has one writer at a time")
    (aside,) = primary.asides()
    with primary.database.writing() as session:
        leave_out(session, ASHA, aside.id)
    with primary.database.writing() as run, primary.database.writing() as person:
        lock_sequence(run)
        person.execute(text("SET LOCAL lock_timeout = 50"))
        with pytest.raises(OperationalError):
            retry_record(person, ASHA, aside.id)
        # What the run does next: the person has nothing locked that it would wait for.
        run.get_one(Quarantined, aside.id, with_for_update={"nowait": True})
        person.rollback()


@pytest.mark.both_databases
def test_what_is_tried_again_is_bounded_in_bytes(
    primary: PrimarySide, kadavu: SatelliteSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        primary.put(f"taken{n}", {})
        kadavu.put(f"taken{n}", {"long": "x" * 1_000})
    kadavu.sync()
    monkeypatch.setattr(quarantine, "LARGEST_BATCH_BYTES", 2_500)
    kadavu.sync()
    assert sorted(aside.tries for aside in primary.asides()) == [1, 1, 2, 2]


@pytest.mark.both_databases
def test_a_new_version_takes_the_place_of_the_one_set_aside_and_left_out_stays_so(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    primary.put("taken", {})
    kadavu.put("taken", {"n": 1})
    kadavu.sync()
    (aside,) = primary.asides()
    with primary.database.writing() as session:
        leave_out(session, ASHA, aside.id)
    kadavu.put("taken", {"n": 2})
    kadavu.sync()
    (aside,) = primary.asides()
    assert (aside.data, aside.left_out_at is not None) == ('{"n":2}', True)


def _forget(server: Side, record_id: str) -> None:
    from sqlalchemy import delete

    from panel.models.records import Record

    with server.database.writing() as session:
        session.execute(delete(Record).where(Record.record_id == record_id))


# --- initialise -----------------------------------------------------------------------------------


def reinstall(kadavu: SatelliteSide, url: str, hardware_id: str = "machine-7") -> SatelliteSide:
    """Return the satellite set up anew, without its token."""
    return SatelliteSide(url, kadavu.primary, hardware_id=hardware_id)


def test_a_reinstalled_satellite_gets_back_all_it_owned(
    primary: PrimarySide, kadavu: SatelliteSide, new_sqlite: NewDatabase
) -> None:
    primary.put_many(15, "central")
    kadavu.put_many(15, "own")
    kadavu.put("own00003", None)
    primary.put("addressed", {"n": 1}, to=7)
    kadavu.sync()
    again = reinstall(kadavu, new_sqlite(True))
    primary.clear(7)
    again.set_request_size(10)
    assert again.sync().result == "well"
    assert is_in_step(primary, kadavu, again)
    again.put("own00001", {"n": "new"})
    again.sync()
    assert primary.get("own00001") == {"n": "new"}
    again.close()


@pytest.mark.both_databases
def test_an_initialise_goes_on_where_it_was_cut_off_and_pushes_nothing_until_done(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    primary.put_many(50, "central")
    kadavu.put("own", {"n": 1})
    kadavu.set_request_size(10)
    cut = kadavu.sync(CutBefore(6))
    assert cut.pulled == 30
    assert primary.get("own") is None
    assert kadavu.get("central00000") is None
    after = kadavu.sync()
    assert (after.result, after.pulled, after.pushed) == ("well", 20, 1)
    assert is_in_step(primary, kadavu)


@pytest.mark.parametrize(("cut", "arrives_again"), [(CutBefore, -1), (LoseAnswer, -2)])
def test_a_begin_that_arrives_again_takes_nothing_from_the_initialise_that_began(
    primary: PrimarySide, kadavu: SatelliteSide, cut: Callable[[int], Tamper], arrives_again: int
) -> None:
    kadavu.sync()
    kadavu.initialise()
    answer, sent = overheard(primary)
    assert kadavu.sync(cut(2)).reason == "cut_off"
    answer(*sent[arrives_again], "192.0.2.7")
    assert kadavu.sync().result == "well"


def test_a_satellite_that_missed_tombstones_initialises(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    primary.put("a", {"n": 1})
    primary.put("b", {"n": 1})
    kadavu.sync()
    primary.put("a", None)
    primary.put("c", {"n": 1})
    _forget(primary, "a")
    with primary.database.writing() as session:
        session.get_one(ChangeSequence, 1).purged_seq = 3
    assert kadavu.sync().result == "well"
    assert kadavu.contents() == primary.contents()


def test_a_satellite_that_spoke_another_protocol_before_is_told_to_initialise(
    kadavu: SatelliteSide,
) -> None:
    with kadavu.database.writing() as session:
        # As v5 leaves it: neither side has a point.
        link = session.get_one(Link, 1)
        link.initialise, link.protocol = InitialiseState.DONE, SyncProtocol.OWN
    assert kadavu.sync().reason == "initialise_needed"


# --- who calls ------------------------------------------------------------------------------------

SHARED = {"Authorization": basic(Pair("shared", wire_password(PASSWORD)))}


def refusal_of(primary: PrimarySide, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    reply = primary.service.exchange(lambda: body, headers, "192.0.2.66")
    error = read_error(Response(reply.status, reply.headers, reply.content, 0.0))
    assert isinstance(error, SyncRefusal)
    return reply.status, error.code


def request_of(about: Identity, mode: Mode = Mode.BEGIN) -> bytes:
    return write_body(Request(about, mode=mode).to_json(), "").content


@pytest.mark.parametrize("authorization", ["", "Bearer 7.made-up", basic(Pair("shared", "wrong"))])
def test_nothing_is_read_of_whoever_does_not_prove_who_they_are(
    primary: PrimarySide, authorization: str
) -> None:
    damaged = {"Content-Encoding": "br"}
    headers = {"Authorization": authorization}
    assert refusal_of(primary, b"no brotli", damaged | headers)[0] == 401
    assert refusal_of(primary, b"no brotli", damaged | SHARED) == (400, "bad_request")
    read: list[bytes] = []

    def read_content() -> bytes:
        read.append(b"{}")
        return b"{}"

    assert primary.service.exchange(read_content, headers, "192.0.2.66").status == 401
    assert read == []


@pytest.mark.both_databases
@pytest.mark.parametrize("error", [OperationalError("BEGIN", {}, Exception()), NoConnection()])
@pytest.mark.parametrize(("module", "name"), [(admission, "admit"), (run_log, "find_peer")])
def test_a_busy_database_is_asked_again_and_nothing_stops(
    primary: PrimarySide,
    kadavu: SatelliteSide,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    module: Any,
    name: str,
) -> None:
    def busy(*_: Any) -> None:
        raise error

    if module is run_log:
        # Refused, and the note of it is what finds the database busy.
        with primary.database.writing() as session:
            session.get_one(Server, 1).store = "KDV-10"
    with monkeypatch.context() as patch:
        patch.setattr(module, name, busy)
        assert refusal_of(primary, request_of(kadavu_about()), SHARED) == (
            503,
            "site_auth_timeout",
        )
        assert kadavu.sync().reason in PASSING


def test_a_server_that_is_no_primary_says_so_and_counts_no_wrong_try(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    with primary.database.writing() as session:
        session.get_one(Settings, 1).sync_id = 5
        session.get_one(Settings, 1).password_hash = None
    for _ in range(25):
        answer = refusal_of(primary, request_of(kadavu_about()), SHARED)
        assert answer == (403, "not_a_primary")
    assert kadavu.sync().reason == "not_a_primary"


def test_what_is_only_tried_is_not_written_down(primary: PrimarySide) -> None:
    rotuma = Identity(9, "Rotuma", "ROT-01", "machine-9", "1", PRIMARY_NAME, PRIMARY_STORE)
    other = Identity(7, "Kadavu", "KDV-01", "machine-7", "1", PRIMARY_NAME, PRIMARY_STORE)
    for about, code in ((rotuma, "waiting_to_be_added"), (other, "identity_differs")):
        assert refusal_of(primary, request_of(about, Mode.TEST), SHARED)[1] == code
    with primary.database.reading() as session:
        assert list_applicants(session).rows == []
        assert search(session, what="sync_refused") == []
    assert primary.runs() == []


def test_a_tested_connection_waits_for_no_writer(primary: PrimarySide) -> None:
    """Nothing is written to find out, and nothing taken back."""
    about, other = kadavu_about(), replace(kadavu_about(), name="Kadavu")

    def ask(about: Identity, mode: Mode) -> int:
        body = request_of(about, mode)
        return primary.service.exchange(lambda: body, SHARED, "192.0.2.66").status

    assert ask(about, Mode.BEGIN) == 200
    before = primary.row(7).device_token_hash
    with primary.database.writing() as session:
        # As any other call, it would wait for the lock of its row.
        session.get_one(Server, primary.row(7).id, with_for_update=True)
        assert ask(about, Mode.TEST) == 200
        assert ask(other, Mode.TEST) == 409
    assert primary.row(7).device_token_hash == before


def test_refusals_in_turn_are_written_down_once_an_hour(
    primary: PrimarySide, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_in_turn() -> None:
        for about in (replace(right, store="KDV-10"), replace(right, store="")) * 3:
            assert refusal_of(primary, request_of(about), SHARED)[0] in (401, 409)

    right = kadavu_about()
    refuse_in_turn()
    assert [run.reason for run in primary.runs()] == ["identity_differs", "site_has_no_store"]
    with primary.database.reading() as session:
        assert len(search(session, what="sync_refused")) == 2
        assert session.get_one(Peer, 1).refusal == "site_has_no_store"
    later = clock.now() + timedelta(hours=1, minutes=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    refuse_in_turn()
    assert len(primary.runs()) == 4


def test_after_the_first_contact_the_password_is_no_longer_on_the_wire(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    row = primary.row(7)
    assert (row.hardware_id, row.device_token_hash is not None) == ("machine-7", True)
    with primary.database.writing() as session:
        session.get_one(Settings, 1).password_hash = "changed"
    assert kadavu.sync().result == "well"


def test_another_machine_is_refused_until_it_is_cleared(
    primary: PrimarySide, kadavu: SatelliteSide, new_sqlite: NewDatabase
) -> None:
    kadavu.sync()
    thief = reinstall(kadavu, new_sqlite(True), "another-machine")
    assert thief.sync().reason == "site_incorrect_hardware_id"
    with primary.database.reading() as session:
        assert session.get_one(Peer, 1).refusal == "site_incorrect_hardware_id"
    primary.clear(7)
    assert thief.sync().result == "well"
    # The token of the first machine ended with it.
    assert kadavu.sync().reason == "site_incorrect_hardware_id"
    thief.close()


@pytest.mark.both_databases
def test_the_pair_and_the_hardware_id_do_not_take_a_satellite_over(
    primary: PrimarySide, kadavu: SatelliteSide, new_sqlite: NewDatabase
) -> None:
    kadavu.put("own", {"n": 1})
    kadavu.sync()
    kadavu.sync()
    thief = reinstall(kadavu, new_sqlite(True))
    run = thief.sync()
    assert (run.result, run.reason) == ("refused", "device_token_needed")
    assert thief.contents() == {}
    with primary.database.reading() as session:
        # The row says so until the satellite comes, and who has to act.
        assert session.get_one(Peer, 1).refusal == "device_token_needed"
    # The satellite itself goes on as before.
    assert kadavu.sync().result == "well"
    # It tries again by itself, since somebody at the primary can let it in.
    assert "device_token_needed" in PASSING
    primary.clear(7)
    assert thief.sync().result == "well"
    assert thief.get("own") == {"n": 1}
    thief.close()


def test_a_new_pair_and_address_need_nobody_at_the_primary(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    new = {"user_name": "islands", "password": "another pair of words"}
    change_parameters(primary, new)
    change_parameters(kadavu, {**new, "url": "https://moved.example.org"})
    assert kadavu.sync().result == "well"
    assert [run.result for run in primary.runs()] == ["well"] * len(primary.runs())
    assert kadavu.sync(once := Tamper()).result == "well"
    assert once.exchanges == 1
    change_parameters(kadavu, {"user_name": "shared"})
    change_parameters(kadavu, {"user_name": "islands"})
    assert kadavu.sync(asked := Tamper()).result == "well"
    # The pair alone in a trial, then the token in one, then the exchange.
    assert asked.exchanges == 3
    change_parameters(kadavu, {"password": "a pair that is wrong"})
    assert kadavu.sync().reason == "site_incorrect_password"


def change_parameters(side: Side, changes: dict[str, str]) -> None:
    with side.database.writing() as session:
        settings = session.get_one(Settings, 1)
        wanted = parameters_of(settings).replace(**changes)
        version = settings.parameters_version
        save_parameters(session, ASHA, VAULT, wanted, version, {"url_http", "password"})


@pytest.mark.parametrize("has_token", [True, False])
def test_a_trial_says_whether_the_token_is_missing(
    primary: PrimarySide, kadavu: SatelliteSide, has_token: bool
) -> None:
    kadavu.sync()
    if not has_token:
        with kadavu.database.writing() as session:
            session.get_one(Link, 1).device_token_sealed = None
    line = Line(primary, Tamper())
    trial = try_connection(kadavu.installation, ASHA, open_line=lambda _: line)
    assert trial.code == ("" if has_token else "device_token_needed")
    with primary.database.reading() as session:
        assert session.get_one(Peer, 1).refusal == ""


def test_a_copy_of_the_database_on_another_machine_is_refused(
    kadavu: SatelliteSide,
) -> None:
    kadavu.sync()
    kadavu.installation = installation_on(kadavu.database, "another-machine")
    assert kadavu.sync().reason == "site_incorrect_hardware_id"


@pytest.mark.both_databases
def test_a_lost_first_answer_does_not_lock_out(kadavu: SatelliteSide) -> None:
    assert kadavu.sync(LoseAnswer(1)).reason == "cut_off"
    assert kadavu.sync().result == "well"


def test_differences_of_identity_are_named(primary: PrimarySide, kadavu: SatelliteSide) -> None:
    with primary.database.writing() as session:
        server = session.get_one(Server, 1)
        server.store, session.get_one(Settings, 1).name = "KDV-10", "Central Store"
    run = kadavu.sync()
    assert run.reason == "identity_differs"
    assert run.reason_values == {
        "differences": [
            ["store", "KDV-10", "KDV-01"],
            ["primary_name", "Central Store", "National Store"],
        ]
    }
    with primary.database.reading() as session:
        peer = session.get_one(Peer, 1)
        assert (peer.refusal, peer.refusal_values) == ("identity_differs", run.reason_values)
    assert primary.row(7).hardware_id is None


def test_a_change_of_identity_is_noticed_by_a_satellite_with_a_token(
    kadavu: SatelliteSide,
) -> None:
    kadavu.sync()
    with kadavu.database.writing() as session:
        session.get_one(Settings, 1).name = "Vunisea"
    assert kadavu.sync().reason == "identity_differs"


def test_an_unknown_satellite_waits_to_be_added(
    primary: PrimarySide, new_sqlite: NewDatabase
) -> None:
    rotuma = SatelliteSide(new_sqlite(True), primary, 9, "Rotuma", "ROT-01")
    primary.put("central", {"n": 1})
    assert rotuma.sync().reason == "waiting_to_be_added"
    assert rotuma.contents() == {}
    with primary.database.writing() as session:
        (applicant,) = list_applicants(session).rows
        assert (applicant.sync_id, applicant.name, applicant.store) == (9, "Rotuma", "ROT-01")
        add_applicant(session, ASHA, 9, applicant.hardware_id)
    assert rotuma.sync().result == "well"
    assert rotuma.get("central") == {"n": 1}
    rotuma.close()


@pytest.mark.both_databases
def test_a_wrong_pair_is_refused_and_too_many_are_not_heard(
    primary: PrimarySide, kadavu: SatelliteSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    with primary.database.writing() as session:
        session.get_one(Settings, 1).user_name = "another"
    assert kadavu.sync().reason == "site_name_not_found"
    with primary.database.writing() as session:
        session.get_one(Settings, 1).user_name = "shared"
        right = session.get_one(Settings, 1).password_hash
        session.get_one(Settings, 1).password_hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"
    reasons = [kadavu.sync().reason for _ in range(20)]
    # The first run asked twice: for the protocol, and then to sync.
    assert reasons == ["site_incorrect_password"] * 10 + ["too_many_tries"] * 10
    with primary.database.writing() as session:
        session.get_one(Settings, 1).password_hash = right
    assert kadavu.sync().reason == "too_many_tries"
    later = clock.now().replace(year=2099)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert kadavu.sync().result == "well"


def test_a_url_on_the_primary_disables_sync(primary: PrimarySide, kadavu: SatelliteSide) -> None:
    with primary.database.writing() as session:
        session.get_one(Server, 2).url = "https://elsewhere.example.org"
    assert kadavu.sync().reason == "sync_disabled"


def test_a_removed_row_gets_nothing(primary: PrimarySide, kadavu: SatelliteSide) -> None:
    kadavu.sync()
    with primary.database.writing() as session:
        remove_servers(session, ASHA, [1])
    primary.put("central", {"n": 1})
    assert kadavu.sync().reason == "waiting_to_be_added"
    assert kadavu.contents() == {}


def test_a_primary_keeps_runs_that_moved_something_only(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    kadavu.sync()
    assert primary.runs() == []
    kadavu.put_many(25)
    kadavu.set_request_size(10)
    kadavu.sync()
    (run,) = primary.runs()
    assert (run.other, run.pushed, run.to_push, run.result) == (7, 25, 25, "well")
    # The line of these tests carries bodies only.
    there = kadavu.runs()[-1]
    assert (run.bytes_up, run.bytes_down) == (there.bytes_up, there.bytes_down)
    row = primary.row(7)
    assert row.last_success_at is not None
    assert row.last_contact_at is not None


@pytest.mark.both_databases
@pytest.mark.parametrize("body", [b'{"version":99}', b'{"version":1,"about":""}'])
def test_a_stranger_who_calls_again_and_again_fills_no_table(
    primary: PrimarySide, body: bytes
) -> None:
    for _ in range(5):
        assert primary.service.exchange(lambda: body, {}, "192.0.2.66").status in (401, 409)
    assert primary.service.exchange(lambda: body, {}, "192.0.2.67").status in (401, 409)
    with primary.database.reading() as session:
        told = [row.address for row in search(session, what="sync_refused")]
    assert told == ["192.0.2.67", "192.0.2.66"]


@pytest.mark.both_databases
def test_who_waits_to_be_added_is_bounded(
    primary: PrimarySide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MOST_APPLICANTS", 3)
    for sync_id in range(20, 26):
        identity = Identity(sync_id, f"Clinic {sync_id}", "S", "machine", "1", PRIMARY_NAME, "")
        with primary.database.writing() as session:
            admission.UnknownSite(identity, "192.0.2.7").record_applicant(session)
    with primary.database.reading() as session:
        assert [one.sync_id for one in list_applicants(session).rows] == [25, 24, 23]


@pytest.mark.both_databases
def test_a_machine_cleared_while_it_calls_is_not_bound_again(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    row = primary.row(7)
    caller = admission.Caller(row.id, kadavu_about(), row.device_token_hash)
    with primary.database.writing() as session:
        clear_hardware(session, ASHA, row.id, row.version)
    with primary.database.writing() as session, pytest.raises(SyncRefusal, match="token_ended"):
        admission.admit(session, caller, ASHA)
    assert primary.row(7).hardware_id is None


def kadavu_about() -> Identity:
    return Identity(
        7, "Kadavu Health Centre", "KDV-01", "machine-7", "1", PRIMARY_NAME, PRIMARY_STORE
    )
