"""The authorisation code and the unlock: wrong codes are counted, and nothing outlasts its end."""

from dataclasses import replace
from datetime import timedelta

import pytest

from panel.accounts.authorisation_code import (
    Unlock,
    end_unlocks,
    generate_code,
    is_unlock_valid,
    set_code,
    try_code,
)
from panel.accounts.people import Permission, add_person, disable, set_permissions
from panel.activity.log import Actor, EventKind, search
from panel.db import Database, make_engine
from panel.errors import Invalid, NotPermitted, Throttled
from panel.models.people import Activity, AuthorisationCode, Person
from tests.support.clock import Clock
from tests.support.steps import SETTER_UP, at_once, happened, meanwhile

CODE = "a long enough code"
MINUTES = 15

pytestmark = pytest.mark.usefixtures("time")


@pytest.fixture
def site(database: Database) -> Database:
    """A panel with its code, and the clock in the hand of the test."""
    with database.writing() as session:
        set_code(session, SETTER_UP, CODE)
    return database


def join(database: Database, name: str, address: str = "192.0.2.1") -> Actor:
    """Add somebody who may edit, and return them as they act from ``address``."""
    with database.writing() as session:
        may = (Permission.EDIT, Permission.MANAGE)
        person = add_person(session, SETTER_UP, name, None, may)
    return Actor(name, address, "web", person.id)


@pytest.fixture
def asha(site: Database) -> Actor:
    return join(site, "Asha")


def wrong(database: Database, actor: Actor, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Invalid):
            try_code(database, actor, "a wrong code", MINUTES)


def closed(database: Database, actor: Actor) -> Throttled:
    """Return the refusal of the right code."""
    with pytest.raises(Throttled) as refused:
        try_code(database, actor, CODE, MINUTES)
    return refused.value


def opened(database: Database, unlock: Unlock, person_id: int, time: Clock) -> bool:
    with database.reading() as session:
        return is_unlock_valid(session, unlock, session.get_one(Person, person_id), time.now)


# --- the code -------------------------------------------------------------------------------------


def test_the_right_code_unlocks_for_some_minutes(site: Database, asha: Actor, time: Clock) -> None:
    unlock = try_code(site, asha, f" {CODE} ", MINUTES)
    assert unlock.expires_at == time.now + timedelta(minutes=15)
    assert asha.person_id is not None
    assert opened(site, unlock, asha.person_id, time)
    time.pass_by(minutes=14, seconds=59)
    assert opened(site, unlock, asha.person_id, time)
    time.pass_by(seconds=1)
    assert not opened(site, unlock, asha.person_id, time)
    assert happened(site, EventKind.UNLOCKED) == 1


def test_a_wrong_code_is_invalid_and_noted(site: Database, asha: Actor) -> None:
    with pytest.raises(Invalid) as refused:
        try_code(site, asha, "a wrong code", MINUTES)
    assert "invalid" in str(refused.value.problems["code"])
    assert "read-only" in str(refused.value.problems["code"])
    with site.reading() as session:
        row = search(session)[0]
    assert (row.what, row.person, row.address) == (EventKind.WRONG_CODE, "Asha", "192.0.2.1")
    assert "a wrong code" not in repr(vars(row))


@pytest.mark.parametrize("code", ["", "short12", " 1234567 ", "a" * 201, "control\x07codes"])
def test_a_code_is_long_enough_and_can_be_typed(database: Database, code: str) -> None:
    with pytest.raises(Invalid) as refused, database.writing() as session:
        set_code(session, SETTER_UP, code)
    assert list(refused.value.problems) == ["code"]


def test_the_code_is_kept_as_a_hash_alone(site: Database) -> None:
    with site.reading() as session:
        assert str(session.get_one(AuthorisationCode, 1).code_hash).startswith("$argon2id$")
        assert CODE not in "".join(repr(vars(row)) for row in search(session))


def test_a_made_code_is_good_and_easy_to_read_out(database: Database) -> None:
    codes = {generate_code() for _ in range(100)}
    assert len(codes) == 100
    for code in codes:
        assert not set(code) & set("0O1lIi")
        # 16 characters out of 31 are 79 bits.
        assert len(code.replace("-", "")) == 16
    with database.writing() as session:
        set_code(session, SETTER_UP, codes.pop())


def test_without_a_code_nothing_opens(database: Database) -> None:
    with pytest.raises(Invalid) as refused:
        try_code(database, join(database, "Asha"), "", MINUTES)
    assert "No authorisation code" in str(refused.value.problems["code"])


@pytest.mark.both_databases
@pytest.mark.parametrize("code", ["", "\x00", "\udc80 broken", "a" * 100_000])
def test_whatever_is_sent_as_a_code_is_only_wrong(site: Database, asha: Actor, code: str) -> None:
    with pytest.raises(Invalid):
        try_code(site, asha, code, MINUTES)
    assert happened(site, EventKind.WRONG_CODE) == 1


@pytest.mark.both_databases
def test_others_write_while_a_code_is_compared_and_what_they_did_counts(
    site: Database, asha: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = join(site, "Ben", "192.0.2.2")
    meanwhile(monkeypatch, lambda: wrong(site, ben))
    try_code(site, asha, CODE, MINUTES)
    assert happened(site, EventKind.WRONG_CODE) == 1
    meanwhile(monkeypatch, lambda: wrong(site, asha, 5))
    closed(site, asha)

    def change() -> None:
        with site.writing() as session:
            set_code(session, SETTER_UP, "another long code")

    meanwhile(monkeypatch, change)
    with pytest.raises(Invalid):
        try_code(site, ben, CODE, MINUTES)


# --- who may --------------------------------------------------------------------------------------


def test_who_may_not_edit_cannot_unlock(site: Database) -> None:
    with site.writing() as session:
        viewer = add_person(session, SETTER_UP, "Viewer", None)
    for actor in (Actor("Viewer", "192.0.2.1", "web", viewer.id), Actor("Nobody", "192.0.2.1")):
        with pytest.raises(NotPermitted):
            try_code(site, actor, CODE, MINUTES)
    assert happened(site, EventKind.REFUSED_PERMISSION) == 2


def test_an_unlock_is_of_no_use_to_another(site: Database, asha: Actor, time: Clock) -> None:
    unlock = try_code(site, asha, CODE, MINUTES)
    ben = join(site, "Ben")
    assert ben.person_id is not None
    assert not opened(site, unlock, ben.person_id, time)


# --- what ends it ---------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_lock_now_ends_every_unlock_of_that_person(
    site: Database, asha: Actor, time: Clock
) -> None:
    ben = join(site, "Ben")
    here, there = (try_code(site, asha, CODE, MINUTES) for _ in range(2))
    bens = try_code(site, ben, CODE, MINUTES)
    assert asha.person_id is not None
    assert ben.person_id is not None
    with site.writing() as session:
        end_unlocks(session, asha, asha.person_id)
    assert not opened(site, here, asha.person_id, time)
    assert not opened(site, there, asha.person_id, time)
    assert opened(site, bens, ben.person_id, time)
    assert opened(site, try_code(site, asha, CODE, MINUTES), asha.person_id, time)
    assert happened(site, EventKind.LOCKED_NOW) == 1


def test_a_new_code_ends_every_unlock(site: Database, asha: Actor, time: Clock) -> None:
    unlock = try_code(site, asha, CODE, MINUTES)
    assert asha.person_id is not None
    with site.writing() as session:
        # The same code again counts: whoever sets it wants everybody out.
        set_code(session, asha, CODE)
    assert not opened(site, unlock, asha.person_id, time)


def test_a_person_disabled_or_without_permission_is_out_at_once(
    site: Database, asha: Actor, time: Clock
) -> None:
    ben, cleo = join(site, "Ben"), join(site, "Cleo")
    for actor in (ben, cleo):
        assert actor.person_id is not None
        unlock = try_code(site, actor, CODE, MINUTES)
        with site.writing() as session:
            if actor is ben:
                disable(session, asha, actor.person_id)
            else:
                set_permissions(session, asha, actor.person_id, [Permission.VIEW])
        assert not opened(site, unlock, actor.person_id, time)
        with pytest.raises(NotPermitted):
            try_code(site, actor, CODE, MINUTES)


def test_an_altered_unlock_is_none(site: Database, asha: Actor, time: Clock) -> None:
    unlock = try_code(site, asha, CODE, MINUTES)
    assert asha.person_id is not None
    for altered in (
        replace(unlock, generation=unlock.generation + 1),
        replace(unlock, unlock_generation=unlock.unlock_generation + 1),
        replace(unlock, person_id=asha.person_id + 1),
        replace(unlock, expires_at=time.now),
    ):
        assert not opened(site, altered, asha.person_id, time)


# --- too many -------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_after_five_wrong_codes_by_one_person_each_further_one_takes_twice_as_long(
    site: Database, asha: Actor, time: Clock
) -> None:
    for number in range(4):
        wrong(site, replace(asha, address=f"192.0.2.{number}"))
    for minutes in (1, 2, 4):
        wrong(site, asha)
        refusal = closed(site, replace(asha, address="192.0.2.99"))
        assert refusal.until == time.now + timedelta(minutes=minutes)
        time.pass_by(minutes=minutes)
    try_code(site, asha, CODE, MINUTES)


def test_it_says_how_many_tries_are_left(site: Database, asha: Actor) -> None:
    said = []
    for _ in range(5):
        with pytest.raises(Invalid) as refused:
            try_code(site, asha, "a wrong code", MINUTES)
        said.append(str(refused.value.problems["code"]))
    assert [text.rsplit(": ")[-1] for text in said[:4]] == ["4.", "3.", "2.", "1."]
    assert "Try again in one minute." in said[4]


def test_wrong_codes_of_one_do_not_shut_the_others_out(site: Database, asha: Actor) -> None:
    wrong(site, asha, 5)
    closed(site, asha)
    try_code(site, join(site, "Ben"), CODE, MINUTES)


def test_who_unlocked_from_here_before_does_so_again(site: Database, asha: Actor) -> None:
    try_code(site, asha, CODE, MINUTES)
    people = [join(site, f"Person {number}", f"192.0.2.{number}") for number in range(6)]
    for actor in people[:5]:
        wrong(site, actor, 4)
    wrong(site, replace(asha, address="198.51.100.7"), 0)
    # All who never did wait, wherever they are; she does not.
    closed(site, people[5])
    try_code(site, asha, CODE, MINUTES)
    # Nor do her own wrong ones elsewhere, such as those of a stolen session.
    closed(site, replace(asha, address="198.51.100.7"))


def test_people_at_the_shell_share_no_address(site: Database) -> None:
    asha, ben = (join(site, name, address="") for name in ("Asha", "Ben"))
    wrong(site, asha, 5)
    closed(site, asha)
    try_code(site, ben, CODE, MINUTES)


def test_wrong_codes_that_lie_apart_do_not_close_it(
    site: Database, asha: Actor, time: Clock
) -> None:
    for _ in range(12):
        wrong(site, asha)
        time.pass_by(minutes=12)
    try_code(site, asha, CODE, MINUTES)


def test_a_right_code_in_between_takes_nothing_back(site: Database, asha: Actor) -> None:
    try_code(site, asha, CODE, MINUTES)
    wrong(site, asha, 4)
    try_code(site, asha, CODE, MINUTES)
    wrong(site, asha)
    closed(site, asha)


@pytest.mark.both_databases
def test_who_hammers_at_a_closed_door_waits_no_longer_and_fills_no_table(
    site: Database, asha: Actor, time: Clock
) -> None:
    wrong(site, asha, 5)
    until = closed(site, asha).until
    for _ in range(30):
        time.pass_by(seconds=1)
        assert closed(site, asha).until == until
    assert happened(site, EventKind.WRONG_CODE) == 5
    assert happened(site, EventKind.REFUSED_TOO_MANY) == 1


@pytest.mark.both_databases
def test_another_process_and_a_restart_count_on(
    site: Database, asha: Actor, database_url: str
) -> None:
    wrong(site, asha, 3)
    other = Database(make_engine(database_url))
    wrong(other, asha, 2)
    closed(other, asha)
    other.close()
    closed(site, asha)


@pytest.mark.both_databases
def test_two_wrong_codes_at_once_are_counted_as_two(
    site: Database, asha: Actor, database_url: str
) -> None:
    wrong(site, asha, 3)
    others = [Database(make_engine(database_url)) for _ in range(4)]
    _, refused = at_once(
        *(lambda other=other: try_code(other, asha, "a wrong code", MINUTES) for other in others)
    )
    for other in others:
        other.close()
    kinds = sorted(type(refusal).__name__ for refusal in refused)
    assert kinds == ["Invalid", "Invalid", "Throttled", "Throttled"]
    assert happened(site, EventKind.WRONG_CODE) == 5
    closed(site, asha)


def test_a_refusal_leaves_its_row_although_it_is_raised(site: Database, asha: Actor) -> None:
    wrong(site, asha)
    with site.reading() as session:
        assert session.query(Activity).filter_by(what=EventKind.WRONG_CODE).count() == 1
