"""Restored, copied and replaced servers: what either side lost comes back, by what is missing."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import select

from panel import clock
from panel.errors import NeedsConfirmation
from panel.models.records import HistoryReason, Record
from panel.models.runs import Loop, Peer
from panel.operations.quarantine_acts import RetryResult, retry_record
from panel.operations.sync_requests import ask_to_initialise
from panel.preferences.server_changes import clear_hardware
from panel.sync.loop import purge
from panel.sync.protocol.body_codec import Body, Turn, read_body
from panel.sync.protocol.error_codes import PASSING
from panel.sync.protocol.json_reader import WrittenNumber
from panel.sync.store.sequence import begin_generation
from tests.conftest import NewDatabase
from tests.support.cast import ASHA
from tests.support.two_sides import (
    CutBefore,
    LoseAnswer,
    PrimarySide,
    SatelliteSide,
    Side,
    Tamper,
    is_in_step,
)

pytestmark = pytest.mark.both_databases


def sync_well(satellite: SatelliteSide) -> Tamper:
    tamper = Tamper()
    run = satellite.sync(tamper)
    assert (run.result, run.reason) == ("well", "")
    return tamper


def kept(server: Side) -> dict[str, tuple[str, str | None]]:
    """What was kept aside: why, and the content, by the record's id."""
    return {one.record_id: (one.reason, one.data) for one in server.asides() if one.source == 0}


# --- the primary is restored ----------------------------------------------------------------------


@pytest.mark.parametrize("noticed", [True, False])
def test_a_restored_primary_gets_back_what_it_had_and_tells_what_it_has(
    primary: PrimarySide, kadavu: SatelliteSide, levuka: SatelliteSide, noticed: bool
) -> None:
    primary.put_many(30, "old")
    kadavu.put_many(30, "own")
    for satellite in (kadavu, levuka):
        sync_well(satellite)
    backup = primary.back_up()
    kadavu.put("own00001", {"n": "changed"})
    kadavu.put("new", {"n": 1}, to=8)
    primary.put("old00001", {"n": "lost"})
    primary.put("old00002", None)
    primary.put("lost", {"n": 1})
    for satellite in (kadavu, levuka):
        sync_well(satellite)
    primary.restore(backup, noticed=noticed)
    # Its numbers pass those that both satellites stopped at.
    primary.put_many(12, "after")
    for _ in range(2):
        sync_well(kadavu)
        sync_well(levuka)
    assert primary.get("own00001") == {"n": "changed"}
    assert levuka.get("new") == primary.get("new") == {"n": 1}
    for satellite in (kadavu, levuka):
        assert satellite.get("lost") is None
        assert satellite.get("old00001") == {"n": 1, "by": "National Store"}
        assert satellite.get("old00002") == {"n": 2, "by": "National Store"}
        assert satellite.get("after00011") is not None
        assert set(kept(satellite)) == {"lost"}
    # By far not everything was fetched again.
    assert max(run.pulled for run in kadavu.runs()[2:]) < 30
    assert [run.reason for run in primary.runs() if run.reason] == []


def test_a_primary_restored_twice(primary: PrimarySide, kadavu: SatelliteSide) -> None:
    primary.put_many(25, "old")
    sync_well(kadavu)
    backup = primary.back_up()
    for turn in range(2):
        kadavu.put(f"own{turn}", {"n": turn})
        primary.put(f"lost{turn}", {"n": turn})
        sync_well(kadavu)
        primary.restore(backup)
        primary.put(f"after{turn}", {"n": turn})
        sync_well(kadavu)
    assert kadavu.contents() == primary.contents()
    assert {"own0", "own1", "after1"} <= {record_id for _, record_id in primary.contents()}
    assert kadavu.get("after0") is None


def test_a_satellite_restored_with_its_primary(primary: PrimarySide, kadavu: SatelliteSide) -> None:
    primary.put_many(25, "old")
    kadavu.put("own", {"n": 1})
    sync_well(kadavu)
    theirs = primary.back_up()
    kadavu.put("own", {"n": 2})
    sync_well(kadavu)
    ours = kadavu.back_up()
    kadavu.put("lost", {"n": 3})
    sync_well(kadavu)
    primary.restore(theirs)
    kadavu.restore(ours)
    sync_well(kadavu)
    assert primary.get("own") == kadavu.get("own") == {"n": 2}
    assert is_in_step(primary, kadavu)


def test_a_primary_restored_while_a_satellite_initialises(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    primary.put_many(40, "old")
    backup = primary.back_up()
    primary.put_many(15, "lost")
    kadavu.set_request_size(10)
    assert kadavu.sync(CutBefore(6)).reason == "cut_off"
    primary.restore(backup)
    primary.put("after", {"n": 1})
    sync_well(kadavu)
    assert is_in_step(primary, kadavu)


def test_what_came_and_is_not_applied_belongs_to_the_past_it_came_from(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    sync_well(kadavu)
    backup = primary.back_up()
    kadavu.set_request_size(10)
    primary.put_many(25, "lost")
    assert kadavu.sync(CutBefore(3)).reason == "cut_off"
    primary.restore(backup)
    primary.put("after", {"n": 1})
    sync_well(kadavu)
    assert set(kadavu.contents()) == {("item", "after")}


def test_what_could_not_be_applied_is_asked_for_again(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.put("taken", {"whose": "kadavu's"})
    primary.put("taken", {"whose": "the primary's"})
    sync_well(kadavu)
    backup = primary.back_up()
    primary.put("taken", {"whose": "the primary's, later lost"})
    sync_well(kadavu)
    primary.restore(backup)
    sync_well(kadavu)
    (aside,) = [one for one in kadavu.asides() if one.source == 1]
    assert aside.data == '{"whose":"the primary\'s"}'


# --- the satellite is restored --------------------------------------------------------------------


@pytest.mark.parametrize("noticed", [True, False])
def test_a_restored_satellite_gets_back_what_it_pushed_and_what_it_got(
    primary: PrimarySide, kadavu: SatelliteSide, levuka: SatelliteSide, noticed: bool
) -> None:
    primary.put_many(30, "old")
    kadavu.put_many(30, "own")
    for satellite in (kadavu, levuka):
        sync_well(satellite)
    backup = kadavu.back_up()
    kadavu.put("own00001", {"n": "changed"})
    kadavu.put("own00002", None)
    kadavu.put("new", {"n": 1})
    levuka.put("to kadavu", {"n": 1}, to=7)
    primary.put("later", {"n": 1})
    for satellite in (levuka, kadavu):
        sync_well(satellite)
    kadavu.restore(backup, noticed=noticed)
    kadavu.put("after", {"n": 1})
    sync_well(kadavu)
    assert is_in_step_for(kadavu, primary)
    assert kadavu.get("own00001") == {"n": "changed"}
    assert kadavu.get("own00002") is None
    assert {"new", "to kadavu", "later", "after"} <= {name for _, name in kadavu.contents()}
    assert kept(kadavu) == {}
    assert kadavu.runs()[-1].pulled < 15
    sync_well(kadavu)
    assert kadavu.runs()[-1].pulled == kadavu.runs()[-1].pushed == 0


def is_in_step_for(satellite: SatelliteSide, primary: PrimarySide) -> bool:
    """Say whether a satellite has just what the primary has for it."""
    theirs = {
        key: record
        for key, record in primary.versions().items()
        if record[0] == satellite.sync_id
        or record[2] == satellite.sync_id
        or (record[0] == 1 and record[2] is None)
    }
    return satellite.versions() == theirs


def test_what_is_written_since_the_restore_wins_and_the_other_content_is_kept_aside(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.put("stock", {"n": 1})
    kadavu.put("other", {"n": 1})
    sync_well(kadavu)
    backup = kadavu.back_up()
    for n in (2, 3, 4):
        kadavu.put("stock", {"n": n})
    kadavu.put("other", {"n": 2})
    sync_well(kadavu)
    kadavu.restore(backup)
    kadavu.put("stock", {"n": "counted today"})
    sync_well(kadavu)
    assert primary.get("stock") == kadavu.get("stock") == {"n": "counted today"}
    assert primary.get("other") == kadavu.get("other") == {"n": 2}
    assert kept(kadavu) == {"stock": ("replaced", '{"n":4}')}
    # Another initialise does not take it out again.
    kadavu.initialise()
    sync_well(kadavu)
    assert kept(kadavu) == {"stock": ("replaced", '{"n":4}')}
    assert is_in_step(primary, kadavu)


def test_numbers_used_again_before_anybody_noticed_lose_nothing(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.put("stock", {"n": 1})
    sync_well(kadavu)
    backup = kadavu.back_up()
    kadavu.put("stock", {"n": 2})
    kadavu.put("lost", {"n": 1})
    sync_well(kadavu)
    kadavu.restore(backup, noticed=False)
    # The same number and more of them: neither count tells anything.
    for n in range(5):
        kadavu.put("stock", {"n": f"today {n}"})
    sync_well(kadavu)
    assert primary.get("stock") == kadavu.get("stock") == {"n": "today 4"}
    assert kadavu.get("lost") == {"n": 1}
    assert kept(kadavu) == {"stock": ("replaced", '{"n":2}')}
    assert is_in_step(primary, kadavu)


@pytest.mark.parametrize(
    ("noticed", "used", "aside"),
    # Where nobody noticed, neither content can be told to be the newer one.
    [(True, {"n": 3}, {}), (False, {"n": 2}, {"stock": ("replaced", '{"n":3}')})],
)
def test_a_backup_taken_in_the_middle_of_an_exchange(
    primary: PrimarySide,
    kadavu: SatelliteSide,
    noticed: bool,
    used: dict[str, int],
    aside: dict[str, tuple[str, str]],
) -> None:
    kadavu.put("stock", {"n": 1})
    sync_well(kadavu)
    kadavu.put("stock", {"n": 2})
    assert kadavu.sync(LoseAnswer(1)).reason == "cut_off"
    backup = kadavu.back_up()
    # The exchange is repeated with what was written meanwhile, and is the last one.
    kadavu.put("stock", {"n": 3})
    sync_well(kadavu)
    kadavu.restore(backup, noticed=noticed)
    sync_well(kadavu)
    assert primary.get("stock") == kadavu.get("stock") == used
    assert kept(kadavu) == aside


@pytest.mark.parametrize("noticed", [True, False])
def test_a_backup_taken_in_the_middle_of_an_initialise(
    primary: PrimarySide, kadavu: SatelliteSide, noticed: bool
) -> None:
    primary.put_many(40, "old")
    kadavu.put("own", {"n": 1})
    kadavu.set_request_size(10)
    assert kadavu.sync(CutBefore(5)).reason == "cut_off"
    backup = kadavu.back_up()
    sync_well(kadavu)
    kadavu.put("own", {"n": 2})
    kadavu.put("new", {"n": 1})
    sync_well(kadavu)
    kadavu.restore(backup, noticed=noticed)
    sync_well(kadavu)
    assert kadavu.get("new") == {"n": 1}
    assert is_in_step(primary, kadavu)
    # All that was written on a machine before its first sync was written since it is new.
    assert kadavu.get("own") == {"n": 1}
    assert kept(kadavu) == {"own": ("replaced", '{"n":2}')}


def test_said_by_hand(primary: PrimarySide, kadavu: SatelliteSide) -> None:
    kadavu.put("own", {"n": 1})
    sync_well(kadavu)
    backup = kadavu.back_up()
    kadavu.put("new", {"n": 1})
    sync_well(kadavu)
    kadavu.restore(backup, noticed=False)
    with kadavu.database.writing() as session:
        begin_generation(session, HistoryReason.BY_HAND)
    sync_well(kadavu)
    assert is_in_step(primary, kadavu)
    # On the primary it leads every satellite through the same, and nothing is fetched again.
    with primary.database.writing() as session:
        begin_generation(session, HistoryReason.BY_HAND)
    sync_well(kadavu)
    assert (kadavu.runs()[-1].pulled, kadavu.runs()[-1].pushed) == (0, 0)


def test_said_by_hand_twice_after_one_backup(primary: PrimarySide, kadavu: SatelliteSide) -> None:
    sync_well(kadavu)
    backup = kadavu.back_up()
    for written in (5, 1):
        kadavu.restore(backup, noticed=False)
        with kadavu.database.writing() as session:
            begin_generation(session, HistoryReason.BY_HAND)
        kadavu.put_many(written, f"after-{written}-")
        sync_well(kadavu)
    assert is_in_step(primary, kadavu)
    assert len(primary.contents()) == 6


def test_a_backup_from_before_what_was_purged(
    primary: PrimarySide, kadavu: SatelliteSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary.put_many(30, "old")
    sync_well(kadavu)
    theirs, ours = primary.back_up(), kadavu.back_up()
    primary.put("old00001", None)
    sync_well(kadavu)
    later = clock.now() + timedelta(days=91)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: later)
        for server in (primary, kadavu):
            with server.database.writing() as session:
                purge(session, 90)
    # The satellite missed a tombstone that is gone.
    kadavu.restore(ours)
    sync_well(kadavu)
    assert kadavu.contents() == primary.contents()
    assert kadavu.get("old00001") is None
    # And the primary has again what the satellite no longer knows of.
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: later)
        with kadavu.database.writing() as session:
            purge(session, 90)
    primary.restore(theirs)
    sync_well(kadavu)
    assert kadavu.get("old00001") is not None
    assert kadavu.contents() == primary.contents()


# --- copies and replaced machines -----------------------------------------------------------------


def copy_of(kadavu: SatelliteSide, new_database: NewDatabase) -> SatelliteSide:
    """Return a satellite on a copy of the disk, which calls itself the same machine."""
    copy = SatelliteSide(new_database(True), kadavu.primary)
    copy.restore(kadavu.back_up(), noticed=False)
    return copy


def test_two_machines_with_one_identity_are_told_apart_at_the_second_change_of_hands(
    primary: PrimarySide, kadavu: SatelliteSide, new_database: NewDatabase
) -> None:
    kadavu.put("shared", {"n": 1})
    sync_well(kadavu)
    copy = copy_of(kadavu, new_database)
    kadavu.put("shared", {"n": "original's"})
    copy.put("shared", {"n": "copy's"})
    sync_well(kadavu)
    sync_well(copy)
    assert kept(copy) == {"shared": ("replaced", '{"n":"original\'s"}')}
    kadavu.put("mine", {"n": 1})
    for satellite in (kadavu, copy, kadavu):
        run = satellite.sync()
        assert (run.result, run.reason) == ("refused", "two_machines")
        assert run.reason_values == {"sync_id": 7}
    assert "two_machines" in PASSING
    with primary.database.reading() as session:
        assert session.get_one(Peer, 1).refusal == "two_machines"
    assert kadavu.get("mine") == {"n": 1}
    # One is switched off, and somebody clears the row.
    row = primary.row(7)
    with primary.database.writing() as session:
        clear_hardware(session, ASHA, row.id, row.version)
    sync_well(kadavu)
    assert primary.get("mine") == {"n": 1}
    assert is_in_step(primary, kadavu)
    copy.close()


def test_what_a_copy_pushed_is_kept_aside_when_somebody_initialises_the_original(
    primary: PrimarySide, kadavu: SatelliteSide, new_database: NewDatabase
) -> None:
    kadavu.put_many(3)
    sync_well(kadavu)
    with closing(copy_of(kadavu, new_database)) as copy:
        copy.put("shared", {"n": "copy's"})
        sync_well(copy)
    kadavu.put_many(3, "later")
    kadavu.put("shared", {"n": "original's"})
    kadavu.initialise()
    sync_well(kadavu)
    assert primary.get("shared") == kadavu.get("shared") == {"n": "original's"}
    assert kept(kadavu) == {"shared": ("replaced", '{"n":"copy\'s"}')}
    assert is_in_step(primary, kadavu)


def test_what_was_counted_on_a_new_machine_is_not_lost(
    primary: PrimarySide, kadavu: SatelliteSide, new_database: NewDatabase
) -> None:
    for n in (1, 2, 3, 4):
        kadavu.put("amox", {"n": n})
    kadavu.put("zinc", {"n": 1})
    sync_well(kadavu)
    again = SatelliteSide(new_database(True), primary)
    primary.clear(7)
    again.put("amox", {"n": "counted today"})
    sync_well(again)
    assert primary.get("amox") == again.get("amox") == {"n": "counted today"}
    assert kept(again) == {"amox": ("replaced", '{"n":4}')}
    assert again.get("zinc") == {"n": 1}
    assert is_in_step(primary, again)
    again.close()


# --- nothing is removed without a question --------------------------------------------------------


def test_an_emptied_primary_removes_nothing_without_a_question(
    primary: PrimarySide, kadavu: SatelliteSide, new_database: NewDatabase
) -> None:
    primary.put_many(60, "central")
    kadavu.put("own", {"n": 1})
    sync_well(kadavu)
    emptied = PrimarySide(new_database(True))
    emptied.add(7, "Kadavu Health Centre", "KDV-01")
    kadavu.primary = emptied
    for _ in range(2):
        run = kadavu.sync()
        assert (run.result, run.reason) == ("refused", "removal_needs_consent")
        assert run.reason_values == {"records": 60, "primary": "National Store"}
        assert len(kadavu.contents()) == 61
    # The right one again: everything is as it was.
    kadavu.primary = primary
    sync_well(kadavu)
    assert is_in_step(primary, kadavu)
    kadavu.primary = emptied
    assert kadavu.sync().reason == "removal_needs_consent"
    kadavu.agree_to_remove(60)
    sync_well(kadavu)
    assert set(kadavu.contents()) == {("item", "own")}
    assert emptied.get("own") == {"n": 1}
    assert len(kept(kadavu)) == 60
    assert kept(kadavu)["central00059"] == ("removed", '{"n":59,"by":"National Store"}')
    emptied.close()


def test_a_few_are_removed_without_a_question_and_kept_aside(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    primary.put_many(60, "central")
    sync_well(kadavu)
    backup = primary.back_up()
    primary.put_many(20, "lost")
    sync_well(kadavu)
    primary.restore(backup)
    sync_well(kadavu)
    assert kadavu.contents() == primary.contents()
    assert len(kept(kadavu)) == 20


def test_what_is_kept_aside_goes_after_the_kept_days(
    primary: PrimarySide, kadavu: SatelliteSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_well(kadavu)
    backup = primary.back_up()
    primary.put("lost", {"n": 1})
    sync_well(kadavu)
    primary.restore(backup)
    sync_well(kadavu)
    began = clock.now()
    for days, left in ((89, 1), (91, 0)):
        later = began + timedelta(days=days)
        with monkeypatch.context() as patch, kadavu.database.writing() as session:
            patch.setattr(clock, "now", later.replace)
            purge(session, 90)
        assert len(kept(kadavu)) == left


def test_what_was_kept_aside_is_put_back(primary: PrimarySide, kadavu: SatelliteSide) -> None:
    kadavu.put("stock", {"n": 1})
    sync_well(kadavu)
    ours, theirs = kadavu.back_up(), primary.back_up()
    kadavu.put("stock", {"n": WrittenNumber("2.50")})
    sync_well(kadavu)
    kadavu.restore(ours)
    kadavu.put("stock", {"n": "today"})
    sync_well(kadavu)
    primary.put("central", {"n": 1})
    sync_well(kadavu)
    primary.restore(theirs)
    sync_well(kadavu)
    assert kept(kadavu) == {"stock": ("replaced", '{"n":2.50}'), "central": ("removed", '{"n":1}')}
    for aside in kadavu.asides():
        with kadavu.database.writing() as session:
            assert retry_record(session, ASHA, aside.id) is RetryResult.TAKEN
    assert kadavu.get("central") == {"n": 1}
    assert kept(kadavu) == {}
    sync_well(kadavu)
    for side in (kadavu, primary):
        assert side.versions()["item", "stock"][4] == '{"n":2.50}'


def test_what_the_primary_sent_since_is_not_replaced_by_what_was_kept_aside(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    sync_well(kadavu)
    backup = primary.back_up()
    primary.put("central", {"n": "lost"})
    sync_well(kadavu)
    primary.restore(backup)
    sync_well(kadavu)
    primary.put("central", {"n": "new"})
    sync_well(kadavu)
    (aside,) = kadavu.asides()
    with kadavu.database.writing() as session:
        assert retry_record(session, ASHA, aside.id) is RetryResult.REFUSED
    assert kadavu.get("central") == {"n": "new"}


def test_a_person_agrees_to_the_number_that_was_named(
    primary: PrimarySide, kadavu: SatelliteSide, new_database: NewDatabase
) -> None:
    primary.put_many(30, "central")
    sync_well(kadavu)
    kadavu.primary = emptied = PrimarySide(new_database(True))
    emptied.add(7, "Kadavu Health Centre", "KDV-01")
    assert kadavu.sync().reason == "removal_needs_consent"
    for confirmed in ([], ["remove=29"]):
        with (
            kadavu.database.writing() as session,
            pytest.raises(NeedsConfirmation, match="30 records") as refused,
        ):
            ask_to_initialise(session, ASHA, confirmed)
        assert list(refused.value.acts) == ["remove=30"]
    with kadavu.database.writing() as session:
        ask_to_initialise(session, ASHA, ["remove=30"])
    sync_well(kadavu)
    assert kadavu.contents() == {}
    emptied.close()


def test_few_initialise_at_once_and_the_others_are_told_when_to_come_back(
    primary: PrimarySide,
    kadavu: SatelliteSide,
    levuka: SatelliteSide,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    primary.service.initialises = 1
    primary.put_many(25)
    kadavu.set_request_size(10)
    assert kadavu.sync(CutBefore(4)).reason == "cut_off"
    run = levuka.sync()
    assert (run.result, run.reason) == ("refused", "initialise_later")
    assert run.reason in PASSING
    with levuka.database.reading() as session:
        due = session.get_one(Loop, 1).due_at
    assert run.reason_values is not None
    assert run.ended_at is not None
    assert due is not None
    waits = (due - run.ended_at).total_seconds()
    assert abs(waits - run.reason_values["seconds"]) < 5
    # Who recovers, or is done, takes no place; and one that gave up loses it.
    later = clock.now() + timedelta(minutes=16)
    monkeypatch.setattr(clock, "now", lambda: later)
    sync_well(levuka)
    sync_well(kadavu)


# --- late repeats, and answers that are none ------------------------------------------------------

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


def test_a_late_repeat_of_any_request_changes_nothing(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    answer, sent = overheard(primary)
    primary.put_many(25, "central")
    kadavu.set_request_size(10)
    kadavu.put_many(25, "own")
    sync_well(kadavu)
    sync_well(kadavu)
    kadavu.put("own00001", {"n": "changed"})
    kadavu.sync(LoseAnswer(1))
    sync_well(kadavu)
    kadavu.initialise()
    sync_well(kadavu)
    backup = primary.back_up()
    kadavu.put("new", {"n": 1})
    sync_well(kadavu)
    primary.restore(backup)
    sync_well(kadavu)
    sync_well(kadavu)
    for number, (content, headers) in enumerate(list(sent)):
        primary.put("central00001", {"n": f"after {number}"})
        answer(content, headers, "192.0.2.7")
        sync_well(kadavu)
        assert is_in_step(primary, kadavu), number
    assert kept(kadavu) == {}
    # The very first one came with the password, as one of a satellite that was set up anew would.
    assert {run.reason for run in primary.runs()} == {"", "device_token_needed"}


@pytest.mark.parametrize("part", ["push", "initialise", "begin", "doubts"])
def test_an_answer_that_says_nothing_of_what_was_sent_is_none(
    primary: PrimarySide, kadavu: SatelliteSide, part: str
) -> None:
    primary.put_many(30, "central")
    sync_well(kadavu)
    backup = primary.back_up()
    primary.put("lost", {"n": 1})
    sync_well(kadavu)
    kadavu.put("own", {"n": 1})
    if part != "push":
        primary.restore(backup)
    member = {"push": "records", "initialise": "own", "begin": "mode", "doubts": "doubts"}[part]

    class Empty(Tamper):
        """Answers as a cache would that knows an idle exchange."""

        def instead(self, sent: Body) -> bytes | None:
            return b'{"version":1}' if member in read_body(sent, Turn()) else None

    run = kadavu.sync(Empty())
    assert (run.result, run.reason) == ("failed", "not_a_sync_server")
    assert kadavu.get("central00001") is not None
    with kadavu.database.reading() as session:
        own = session.scalars(select(Record).where(Record.record_id == "own")).one()
        assert own.waiting
    sync_well(kadavu)
    assert primary.get("own") == {"n": 1}
    assert kadavu.contents() == primary.contents()
