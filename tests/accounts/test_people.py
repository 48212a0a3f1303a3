"""People: added, permitted, disabled, and never without somebody who manages them."""

import pytest

from panel.accounts.authorisation_code import try_code
from panel.accounts.people import (
    Permission,
    add_person,
    disable,
    enable,
    first_person_exists,
    list_people,
    permissions,
    set_password,
    set_permissions,
    set_up,
)
from panel.accounts.sign_in import check_sign_in, find_person
from panel.activity.log import SECRET, Actor, EventKind, search
from panel.db import Database
from panel.errors import Conflict, Invalid, NotFound, Refusal
from panel.models.people import Person
from tests.support.steps import at_once, doing, happened

ALL = frozenset(Permission)
PASSWORD = "a long password"


@pytest.fixture
def manager(database: Database, asha: Actor) -> Person:
    with database.writing() as session:
        return set_up(session, asha, "Asha", PASSWORD, "a long code")


# --- the first ------------------------------------------------------------------------------------


def test_the_first_person_may_do_everything_and_the_code_is_set(
    database: Database, asha: Actor
) -> None:
    with database.reading() as session:
        assert not first_person_exists(session)
    with database.writing() as session:
        person = set_up(session, asha, "Asha", PASSWORD, "a long code")
    assert permissions(person) == ALL
    with database.reading() as session:
        assert first_person_exists(session)
    signed_in = check_sign_in(database, "asha", PASSWORD, "192.0.2.7")
    try_code(database, Actor("Asha", "192.0.2.7", "web", signed_in.id), "a long code", 15)


def test_every_bad_value_of_the_first_form_gets_its_reason_at_once(
    database: Database, asha: Actor
) -> None:
    with pytest.raises(Invalid) as refused, database.writing() as session:
        set_up(session, asha, " ", "short", "short")
    assert refused.value.problems.keys() == {"name", "password", "code"}
    with database.reading() as session:
        assert not first_person_exists(session)


def test_a_panel_is_set_up_once(database: Database, manager: Person, asha: Actor) -> None:
    with pytest.raises(Refusal, match="set up already"), database.writing() as session:
        set_up(session, asha, "Intruder", PASSWORD, "another code")
    with database.reading() as session:
        assert [person.name for person in list_people(session)] == [manager.name]


@pytest.mark.both_databases
def test_of_two_who_set_it_up_at_once_one_does(database: Database, asha: Actor, ben: Actor) -> None:
    done, refused = at_once(
        doing(database, lambda session: set_up(session, asha, "Asha", PASSWORD, "Asha's code")),
        doing(database, lambda session: set_up(session, ben, "Ben", PASSWORD, "Ben's code")),
    )
    assert (len(done), len(refused)) == (1, 1)
    with database.reading() as session:
        assert len(list_people(session)) == 1


# --- adding ---------------------------------------------------------------------------------------


def test_a_person_is_added_with_what_they_may(
    database: Database, manager: Person, asha: Actor
) -> None:
    with database.writing() as session:
        person = add_person(session, asha, "  Ben ", PASSWORD, [Permission.EDIT])
    assert person.name == "Ben"
    assert permissions(person) == {Permission.VIEW, Permission.EDIT}
    with database.reading() as session:
        row = search(session)[0]
        assert [known.name for known in list_people(session)] == [manager.name, "Ben"]
    assert (row.what, row.label) == (EventKind.PERSON_ADDED, "Ben")
    assert row.became == {"view": True, "edit": True, "manage": False}


@pytest.mark.parametrize(
    ("name", "password", "field"),
    [
        ("", PASSWORD, "name"),
        ("a" * 81, PASSWORD, "name"),
        ("two\nlines", PASSWORD, "name"),
        ("nul\x00", PASSWORD, "name"),
        ("Ben", "1234567", "password"),
        ("Ben", "", "password"),
        ("Ben", "a" * 201, "password"),
    ],
)
def test_bad_values_are_refused_beside_their_fields(
    database: Database, asha: Actor, name: str, password: str, field: str
) -> None:
    with pytest.raises(Invalid) as refused, database.writing() as session:
        add_person(session, asha, name, password)
    assert list(refused.value.problems) == [field]


@pytest.mark.both_databases
def test_names_differ_by_more_than_case(database: Database, manager: Person, asha: Actor) -> None:
    with pytest.raises(Invalid) as refused, database.writing() as session:
        add_person(session, asha, manager.name.upper(), PASSWORD)
    assert "already" in str(refused.value.problems["name"])


@pytest.mark.both_databases
def test_of_two_added_at_once_under_one_name_one_is(
    database: Database, asha: Actor, ben: Actor
) -> None:
    done, refused = at_once(
        doing(database, lambda session: add_person(session, asha, "Cleo", PASSWORD)),
        doing(database, lambda session: add_person(session, ben, "CLEO", "another password")),
    )
    assert (len(done), [type(refusal) for refusal in refused]) == (1, [Invalid])


def test_who_is_added_twice_with_the_same_form_is_there_once(
    database: Database, asha: Actor
) -> None:
    def add(password: str, *permitted: Permission) -> int:
        with database.writing() as session:
            return add_person(session, asha, "Cleo", password, permitted).id

    first = add(PASSWORD, Permission.EDIT)
    assert add(PASSWORD, Permission.EDIT) == first
    for differs in ((PASSWORD, Permission.MANAGE), ("another password", Permission.EDIT)):
        with pytest.raises(Invalid):
            add(*differs)


@pytest.mark.both_databases
def test_people_are_found_in_whatever_case(database: Database, manager: Person) -> None:
    with database.reading() as session:
        found = find_person(session, f" {manager.name.upper()} ")
        assert found is not None
        assert found.id == manager.id
        assert find_person(session, "nobody") is None


# --- changing -------------------------------------------------------------------------------------


def test_a_new_password_ends_the_sessions_that_were(
    database: Database, manager: Person, asha: Actor
) -> None:
    with database.writing() as session:
        changed = set_password(session, asha, manager.id, "another password")
    assert changed.generation > manager.generation
    with pytest.raises(Invalid):
        check_sign_in(database, "Asha", PASSWORD, "192.0.2.7")
    check_sign_in(database, "Asha", "another password", "192.0.2.7")
    with database.reading() as session:
        (row,) = search(session, what=EventKind.PASSWORD_SET)
    assert row.became == {"password": SECRET}
    assert "another password" not in repr(vars(row))


def test_a_short_password_is_refused(database: Database, manager: Person, asha: Actor) -> None:
    with pytest.raises(Invalid), database.writing() as session:
        set_password(session, asha, manager.id, "1234567")
    check_sign_in(database, "Asha", PASSWORD, "192.0.2.7")


@pytest.mark.usefixtures("manager")
def test_permissions_become_exactly_what_is_said(database: Database, asha: Actor) -> None:
    with database.writing() as session:
        ben = add_person(session, asha, "Ben", PASSWORD, ALL)
    for wanted, have in (
        ([Permission.VIEW], {Permission.VIEW}),
        ([Permission.MANAGE], {Permission.VIEW, Permission.MANAGE}),
        ([], set()),
        (list(ALL), ALL),
    ):
        with database.writing() as session:
            assert permissions(set_permissions(session, asha, ben.id, wanted)) == have
    with database.writing() as session:
        set_permissions(session, asha, ben.id, ALL)
    assert happened(database, EventKind.PERSON_CHANGED) == 4


@pytest.mark.usefixtures("manager")
def test_of_two_who_change_permissions_the_second_is_told(
    database: Database, asha: Actor, ben: Actor
) -> None:
    with database.writing() as session:
        person = add_person(session, asha, "Cleo", PASSWORD)
    with database.writing() as session:
        set_permissions(session, asha, person.id, [Permission.EDIT], person.version)
    with pytest.raises(Conflict) as refused, database.writing() as session:
        set_permissions(session, ben, person.id, [Permission.MANAGE], person.version)
    told = {difference.field: difference.became for difference in refused.value.differences}
    assert told["edit"] is True


@pytest.mark.usefixtures("manager")
def test_a_disabled_person_is_out_and_may_come_back(database: Database, asha: Actor) -> None:
    with database.writing() as session:
        ben = add_person(session, asha, "Ben", PASSWORD)
    for _ in range(2):
        with database.writing() as session:
            assert disable(session, asha, ben.id).generation > ben.generation
    with pytest.raises(Invalid):
        check_sign_in(database, "Ben", PASSWORD, "192.0.2.7")
    for _ in range(2):
        with database.writing() as session:
            enable(session, asha, ben.id)
    check_sign_in(database, "Ben", PASSWORD, "192.0.2.7")
    assert happened(database, EventKind.PERSON_DISABLED) == 1
    assert happened(database, EventKind.PERSON_ENABLED) == 1


def test_nobody_is_who_is_not_there(database: Database, asha: Actor) -> None:
    for verb in (disable, enable):
        with pytest.raises(NotFound), database.writing() as session:
            verb(session, asha, 999)


# --- the last manager -----------------------------------------------------------------------------


def test_the_last_manager_stays_one(database: Database, manager: Person, asha: Actor) -> None:
    with database.writing() as session:
        add_person(session, asha, "Ben", PASSWORD, [Permission.EDIT])
    with pytest.raises(Refusal, match="last"), database.writing() as session:
        disable(session, asha, manager.id)
    with pytest.raises(Refusal, match="last"), database.writing() as session:
        set_permissions(session, asha, manager.id, [Permission.EDIT])


def test_a_disabled_manager_does_not_count(
    database: Database, manager: Person, asha: Actor
) -> None:
    with database.writing() as session:
        ben = add_person(session, asha, "Ben", PASSWORD, ALL)
        disable(session, asha, ben.id)
    with pytest.raises(Refusal, match="last"), database.writing() as session:
        disable(session, asha, manager.id)


@pytest.mark.both_databases
def test_two_managers_who_disable_each_other_at_once_leave_one(
    database: Database, manager: Person, asha: Actor, ben: Actor
) -> None:
    with database.writing() as session:
        other = add_person(session, asha, "Ben", PASSWORD, ALL)
    done, refused = at_once(
        doing(database, lambda session: disable(session, asha, other.id)),
        doing(database, lambda session: disable(session, ben, manager.id)),
    )
    assert (len(done), len(refused)) == (1, 1)
    with database.reading() as session:
        assert len([one for one in list_people(session) if one.disabled_at is None]) == 1
