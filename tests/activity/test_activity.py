"""Activity: a page of it, a filter, and that every kind has words."""

from datetime import timedelta

import pytest
from sqlalchemy import String

from panel.activity.log import Actor, EventKind, add_entry, changes_since, describe, search
from panel.db import Database
from panel.models.people import Activity
from tests.support.clock import Clock


@pytest.fixture
def kept(database: Database, time: Clock, asha: Actor, ben: Actor) -> Database:
    """Six rows, a minute apart: Asha signs in, Ben out, Asha in, and so on."""
    for number in range(6):
        with database.writing() as session:
            actor, what = [(asha, EventKind.SIGNED_IN), (ben, EventKind.SIGNED_OUT)][number % 2]
            add_entry(session, actor, what, label=str(number))
        time.pass_by(minutes=1)
    return database


def labels(database: Database, **how: object) -> str:
    with database.reading() as session:
        return "".join(row.label for row in search(session, **how))  # type: ignore[arg-type]


@pytest.mark.both_databases
def test_the_newest_come_first_and_pages_follow_one_another(kept: Database) -> None:
    with kept.reading() as session:
        first = search(session, limit=4)
        second = search(session, limit=4, before_id=first[-1].id)
    assert [row.label for row in first + second] == ["5", "4", "3", "2", "1", "0"]


@pytest.mark.both_databases
def test_one_person_one_kind_or_some_time(kept: Database, time: Clock) -> None:
    begin = time.now - timedelta(minutes=6)
    assert labels(kept, person="Asha") == "420"
    assert labels(kept, what="signed_out") == "531"
    assert labels(kept, begin=begin + timedelta(minutes=4)) == "54"
    assert labels(kept, end=begin + timedelta(minutes=2)) == "10"
    assert labels(kept, person="Asha", begin=begin + timedelta(minutes=1)) == "42"
    assert labels(kept, person="Nobody") == ""


def test_a_row_says_when_who_from_where_and_how(kept: Database, time: Clock) -> None:
    with kept.reading() as session:
        row = search(session)[-1]
    assert (row.at, row.person, row.address, row.via) == (
        time.now - timedelta(minutes=6),
        "Asha",
        "192.0.2.7",
        "web",
    )


@pytest.mark.both_databases
def test_what_is_too_long_is_cut_rather_than_lost(database: Database) -> None:
    with database.writing() as session:
        add_entry(session, Actor("n" * 200, "a" * 200), EventKind.SIGN_IN_FAILED, label="l" * 200)
    with database.reading() as session:
        (row,) = search(session)
    assert (len(row.person), len(row.address), len(row.label)) == (80, 64, 120)


@pytest.mark.parametrize("what", EventKind)
def test_every_kind_has_words_and_fits_its_column(what: EventKind) -> None:
    assert describe(what).text not in ("", what)
    column = Activity.__table__.c.what.type
    assert isinstance(column, String)
    assert len(what) <= (column.length or 0)


def test_a_kind_of_a_later_version_is_shown_as_it_is() -> None:
    assert str(describe("moved_house")) == "moved_house"


@pytest.mark.both_databases
def test_changes_are_told_since_a_version_and_of_one_subject_only(
    database: Database, asha: Actor
) -> None:
    with database.writing() as session:
        for subject_id, version in ((1, 2), (1, 3), (2, 3), (1, 4)):
            add_entry(
                session, asha, EventKind.SERVER_CHANGED, subject="server", subject_id=subject_id,
                version=version, was={"name": f"v{version - 1}"}, became={"name": f"v{version}"},
            )  # fmt: skip
    with database.reading() as session:
        told = changes_since(session, "server", 1, 2)
    assert [(one.field, one.was, one.became) for one in told] == [
        ("name", "v2", "v3"),
        ("name", "v3", "v4"),
    ]
