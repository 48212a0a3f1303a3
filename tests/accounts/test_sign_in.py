"""Signing in: wrong passwords are counted as wrong codes are, and tell nothing of names."""

import pytest

from panel.accounts.people import add_person, disable, set_password, set_up
from panel.accounts.sign_in import check_sign_in
from panel.activity import log
from panel.activity.kinds import EventKind
from panel.activity.log import Actor, search
from panel.db import Database, make_engine
from panel.errors import Invalid, Throttled
from panel.models.people import Person
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
def test_five_wrong_ones_under_one_name_close_it_for_15_minutes(
    database: Database, time: Clock
) -> None:
    for number, name in enumerate(("asha", "Asha", "ASHA", " asha", "aSHA")):
        wrong(database, name, f"192.0.2.{number}")
    with pytest.raises(Throttled) as refused:
        check_sign_in(database, "Asha", PASSWORD, "192.0.2.200")
    assert (refused.value.until - time.now).total_seconds() == 15 * 60
    time.pass_by(minutes=15)
    check_sign_in(database, "Asha", PASSWORD, HERE)


def test_five_wrong_ones_from_one_address_close_it_there_only(database: Database) -> None:
    for number in range(5):
        wrong(database, f"guess {number}", HERE)
    with pytest.raises(Throttled):
        check_sign_in(database, "Asha", PASSWORD, HERE)
    check_sign_in(database, "Asha", PASSWORD, THERE)


@pytest.mark.both_databases
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
    wrong(database, "Asha", HERE, 5)
    for number in range(10):
        with pytest.raises(Throttled):
            check_sign_in(database, f"stranger {number}", PASSWORD, HERE)
    assert happened(database, EventKind.REFUSED_TOO_MANY) == 1
