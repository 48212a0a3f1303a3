"""Signing in, and the sessions it begins: wrong passwords are counted, and tell no names."""

from datetime import timedelta

import pytest

from panel.accounts import throttle
from panel.accounts.people import add_person, disable, forgive_tries, set_password, set_up
from panel.accounts.sign_in import (
    MOST_SESSIONS,
    SessionLimits,
    Visitor,
    begin_session,
    browser_name,
    check_sign_in,
    find_session,
    update_seen,
)
from panel.activity import log
from panel.activity.log import Actor, EventKind, search
from panel.db import Database, make_engine
from panel.errors import Invalid, Throttled
from panel.models.people import BrowserSession, FailureCount, Person
from panel.security import hashes
from tests.support.clock import Clock
from tests.support.steps import SETTER_UP, at_once, happened, meanwhile

PASSWORD = "a long password"
HERE, THERE = "192.0.2.7", "192.0.2.8"

pytestmark = pytest.mark.usefixtures("time", "person")


@pytest.fixture
def person(database: Database) -> Person:
    with database.writing() as session:
        return set_up(session, SETTER_UP, "Asha", PASSWORD, "a long code")


def wrong(database: Database, name: str, address: str, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Invalid):
            check_sign_in(database, name, "a wrong password", address)


def test_name_and_password_let_in_and_are_noted(database: Database, person: Person) -> None:
    assert check_sign_in(database, " ASHA ", PASSWORD, HERE).id == person.id
    with database.reading() as session:
        row = search(session)[0]
    assert (row.what, row.person, row.address) == (EventKind.SIGNED_IN, "Asha", HERE)


def test_the_answer_is_the_same_for_a_wrong_name_and_a_wrong_password(database: Database) -> None:
    said = set()
    with database.writing() as session:
        out = add_person(session, SETTER_UP, "Out", PASSWORD)
        disable(session, SETTER_UP, out.id)
        add_person(session, SETTER_UP, "By proxy", None)
    for name, password in (
        ("Asha", "a wrong password"),
        ("Nobody", PASSWORD),
        ("Out", PASSWORD),
        ("By proxy", PASSWORD),
        ("By proxy", ""),
        ("", ""),
        ("\x00\udc80", "\udc80"),
    ):
        with pytest.raises(Invalid) as refused:
            check_sign_in(database, name, password, f"{name!r}"[:60])
        said.add(str(refused.value))
    assert len(said) == 1
    assert happened(database, EventKind.SIGN_IN_FAILED) == 7


def test_an_unknown_name_takes_the_same_work(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[list[str]] = []
    verify = hashes.verify_secret

    def counted(secret_hash: str, secret: str) -> bool:
        # "$argon2id$v=19$m=19456,t=2,p=1$…": the same cost, whoever's hash it is.
        checked.append(secret_hash.split("$")[1:4])
        return verify(secret_hash, secret)

    monkeypatch.setattr("panel.security.hashes.verify_secret", counted)
    wrong(database, "Asha", HERE)
    wrong(database, "Nobody", HERE)
    assert len(checked) == 2
    assert checked[0] == checked[1]


@pytest.mark.both_databases
def test_after_five_wrong_ones_under_one_name_each_further_one_takes_twice_as_long(
    database: Database, time: Clock
) -> None:
    for number, name in enumerate(("asha", "Asha", "ASHA", " asha")):
        wrong(database, name, f"192.0.2.{number}")
    for minutes in (1, 2, 4):
        wrong(database, "aSHA", "192.0.2.100")
        with pytest.raises(Throttled) as refused:
            check_sign_in(database, "Asha", PASSWORD, "192.0.2.200")
        assert (refused.value.until - time.now).total_seconds() == minutes * 60
        time.pass_by(minutes=minutes)
    check_sign_in(database, "Asha", PASSWORD, HERE)


def test_no_wait_is_longer_than_15_minutes(database: Database, time: Clock) -> None:
    for _ in range(40):
        time.pass_by(minutes=15)
        with pytest.raises(Invalid):
            check_sign_in(database, "Asha", "a wrong password", HERE)
    time.pass_by(minutes=15)
    check_sign_in(database, "Asha", PASSWORD, HERE)


def test_a_name_passes_from_where_it_passed_before(database: Database) -> None:
    check_sign_in(database, "Asha", PASSWORD, HERE)
    check_sign_in(database, "Asha", PASSWORD, "203.0.113.5", browser="of asha")
    for number in range(5):
        wrong(database, "Asha", f"198.51.100.{number}")
    for number in range(20):
        wrong(database, f"guess {number}", HERE)
    with pytest.raises(Throttled):
        check_sign_in(database, "Asha", PASSWORD, "192.0.2.200")
    check_sign_in(database, "Asha", PASSWORD, HERE)
    # The same browser somewhere else, such as a phone.
    check_sign_in(database, "Asha", PASSWORD, "192.0.2.201", browser="of asha")


def test_wrong_ones_from_a_known_address_are_counted_too(database: Database) -> None:
    check_sign_in(database, "Asha", PASSWORD, HERE, browser="of asha")
    wrong(database, "Asha", HERE, 5)
    with pytest.raises(Throttled):
        check_sign_in(database, "Asha", PASSWORD, HERE)
    # Not from her own browser, which others at her address do not have.
    check_sign_in(database, "Asha", PASSWORD, HERE, browser="of asha")


def test_many_wrong_ones_from_one_address_close_it_there_only(database: Database) -> None:
    for number in range(20):
        wrong(database, f"guess {number}", HERE)
    with pytest.raises(Throttled):
        check_sign_in(database, "Asha", PASSWORD, HERE)
    check_sign_in(database, "Asha", PASSWORD, THERE)


def test_an_ipv6_address_is_one_with_its_64_bit_network(database: Database) -> None:
    for number in range(20):
        wrong(database, f"guess {number}", f"2001:db8:1:2::{number:x}")
    with pytest.raises(Throttled):
        check_sign_in(database, "Asha", PASSWORD, "2001:db8:1:2:ffff::1")
    check_sign_in(database, "Asha", PASSWORD, "2001:db8:1:3::1")


def test_the_shell_lets_a_person_try_again(database: Database) -> None:
    wrong(database, "Asha", HERE, 5)
    for number in range(20):
        wrong(database, f"guess {number}", THERE)
    with database.writing() as session:
        forgive_tries(session, SETTER_UP, "ASHA")
    check_sign_in(database, "Asha", PASSWORD, THERE)
    assert happened(database, EventKind.TRIES_FORGIVEN) == 1


@pytest.mark.both_databases
def test_another_process_and_a_restart_count_on(database: Database, database_url: str) -> None:
    wrong(database, "Asha", HERE, 3)
    other = Database(make_engine(database_url))
    wrong(other, "Asha", HERE, 2)
    other.close()
    with pytest.raises(Throttled):
        check_sign_in(database, "Asha", PASSWORD, HERE)


def test_a_clock_that_is_set_back_closes_nothing_for_long(database: Database, time: Clock) -> None:
    wrong(database, "Asha", HERE, 5)
    time.pass_by(days=-30)
    check_sign_in(database, "Asha", PASSWORD, HERE)


def test_made_up_names_fill_no_table(
    database: Database, monkeypatch: pytest.MonkeyPatch, time: Clock
) -> None:
    monkeypatch.setattr(throttle, "MOST_COUNTS", 10)
    for number in range(30):
        time.pass_by(seconds=1)
        wrong(database, f"guess {number}", f"192.0.2.{number}")
    with database.reading() as session:
        assert session.query(FailureCount).count() <= 11


# --- sessions -------------------------------------------------------------------------------------


LIMITS = SessionLimits(idle=timedelta(minutes=60), whole=timedelta(hours=12))


def begin(database: Database, person: Person, address: str = HERE) -> str:
    with database.writing() as session:
        return begin_session(session, person, Visitor(address), LIMITS)[0]


def is_there(database: Database, key: str) -> bool:
    with database.reading() as session:
        return find_session(session, key, LIMITS) is not None


def test_a_session_ends_when_nobody_uses_it(
    database: Database, person: Person, time: Clock
) -> None:
    key = begin(database, person)
    time.pass_by(minutes=59)
    assert is_there(database, key)
    with database.writing() as session:
        found = find_session(session, key, LIMITS)
        assert found
        update_seen(session, found[0].id)
    time.pass_by(minutes=59)
    assert is_there(database, key)
    time.pass_by(minutes=1)
    assert not is_there(database, key)


def test_a_session_that_is_used_ends_all_the_same(
    database: Database, person: Person, time: Clock
) -> None:
    key = begin(database, person)
    for _ in range(24):
        time.pass_by(minutes=29)
        with database.writing() as session:
            found = find_session(session, key, LIMITS)
            assert found
            update_seen(session, found[0].id)
    time.pass_by(minutes=24)
    assert not is_there(database, key)


def test_the_database_does_not_hold_what_the_cookie_holds(
    database: Database, person: Person
) -> None:
    key = begin(database, person)
    with database.reading() as session:
        assert key not in repr(vars(session.query(BrowserSession).one()))


def test_a_person_has_so_many_sessions_at_most_and_old_rows_go(
    database: Database, person: Person, time: Clock
) -> None:
    keys = []
    for number in range(MOST_SESSIONS + 3):
        time.pass_by(seconds=1)
        keys.append(begin(database, person, f"192.0.2.{number}"))
    assert [is_there(database, key) for key in keys] == [False] * 3 + [True] * MOST_SESSIONS
    time.pass_by(hours=12)
    begin(database, person)
    with database.reading() as session:
        assert session.query(BrowserSession).count() == 1


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Firefox, Linux",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/150.0.0.0 Safari/537.36 Edg/150.0.0.0",
            "Edge, Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/150.0.0.0 Mobile Safari/537.36",
            "Chrome, Android",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("a" * 500, "a" * 40),
        ("<b>", ""),
        ("", ""),
    ],
)
def test_a_browser_is_named_in_short(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name


# --- counted one by one ---------------------------------------------------------------------------


def test_strangers_cannot_lock_everybody_out(database: Database) -> None:
    for number in range(24):
        wrong(database, f"guess {number}", f"192.0.2.{number}")
    check_sign_in(database, "Asha", PASSWORD, "192.0.2.100")


def test_wrong_codes_and_wrong_passwords_are_counted_apart(
    database: Database, person: Person
) -> None:
    wrong(database, "Asha", HERE, 4)
    with database.writing() as session:
        log.add_entry(session, Actor("Asha", HERE, "web", person.id), EventKind.WRONG_CODE)
    check_sign_in(database, "Asha", PASSWORD, HERE)


@pytest.mark.both_databases
def test_wrong_ones_at_once_are_all_counted(database: Database, database_url: str) -> None:
    wrong(database, "Asha", HERE, 3)
    others = [Database(make_engine(database_url)) for _ in range(4)]
    _, refused = at_once(
        *(lambda other=other: check_sign_in(other, "Asha", "wrong", HERE) for other in others)
    )
    for other in others:
        other.close()
    kinds = sorted(type(refusal).__name__ for refusal in refused)
    assert kinds == ["Invalid", "Invalid", "Throttled", "Throttled"]
    assert happened(database, EventKind.SIGN_IN_FAILED) == 5


@pytest.mark.both_databases
def test_others_write_while_a_password_is_compared(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: wrong(database, "Nobody", THERE))
    check_sign_in(database, "Asha", PASSWORD, HERE)
    assert happened(database, EventKind.SIGN_IN_FAILED) == 1


@pytest.mark.both_databases
def test_the_right_one_is_not_heard_if_the_door_closed_while_it_was_compared(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: wrong(database, "Asha", THERE, 5))
    with pytest.raises(Throttled):
        check_sign_in(database, "Asha", PASSWORD, HERE)


@pytest.mark.both_databases
def test_a_password_that_was_changed_while_it_was_compared_does_not_let_in(
    database: Database, monkeypatch: pytest.MonkeyPatch, person: Person
) -> None:
    def change() -> None:
        with database.writing() as session:
            set_password(session, SETTER_UP, person.id, "another password")

    meanwhile(monkeypatch, change)
    with pytest.raises(Invalid):
        check_sign_in(database, "Asha", PASSWORD, HERE)


@pytest.mark.both_databases
def test_other_names_at_a_closed_door_fill_no_table(database: Database) -> None:
    for number in range(20):
        wrong(database, f"guess {number}", HERE)
    for number in range(10):
        with pytest.raises(Throttled):
            check_sign_in(database, f"stranger {number}", PASSWORD, HERE)
    assert happened(database, EventKind.REFUSED_TOO_MANY) == 1
