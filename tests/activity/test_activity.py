"""Activity: a page of it, a filter, and that every kind has words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import String, delete, event, text
from sqlalchemy.exc import DBAPIError

from panel import clock
from panel.activity import log
from panel.activity.log import (
    Actor,
    EventKind,
    add_entry,
    changes_since,
    describe,
    remove_old,
    search,
)
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


@pytest.mark.both_databases
def test_pages_follow_one_another_after_a_clock_was_set_back(kept: Database, time: Clock) -> None:
    time.pass_by(minutes=-4)
    with kept.writing() as session:
        add_entry(session, Actor("Ravi"), EventKind.CODE_SET, label="late")
    with kept.reading() as session:
        first = search(session, limit=4)
        second = search(session, limit=4, before_id=first[-1].id)
    assert [row.label for row in first + second] == ["5", "4", "3", "late", "2", "1", "0"]


@pytest.mark.parametrize("person", ["", "Asha"])
@pytest.mark.parametrize("what", ["", "signed_in"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"begin": datetime(2026, 1, 1, tzinfo=UTC)},
        {"end": datetime(2026, 1, 1, tzinfo=UTC)},
        {"before_id": 2},
    ],
    ids=["newest", "begin", "end", "older"],
)
@pytest.mark.both_databases
def test_a_page_of_each_filter_is_read_from_an_index_in_its_order(
    kept: Database, person: str, what: str, how: dict[str, Any]
) -> None:
    sent: list[tuple[str, Any]] = []
    event.listen(
        kept.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, parameters, *_: sent.append((statement, parameters)),
    )
    with kept.reading() as session:
        search(session, person=person, what=what, **how)
    plan = _plan(kept, *sent[-1])
    index = "_".join(["activity", *["person"] * bool(person), *["what"] * bool(what), "at_id"])
    assert f"ix_{index}" in plan, plan
    assert "TEMP B-TREE" not in plan, plan
    assert "Sort" not in plan, plan


def _plan(database: Database, statement: str, parameters: Any) -> str:
    is_sqlite = database.engine.dialect.name == "sqlite"
    with database.engine.begin() as connection:
        if not is_sqlite:
            # It would rather read and sort a table as small as this one.
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_sort = off"))
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
        return "\n".join(str(row) for row in rows)


# --- what repeats itself --------------------------------------------------------------------------


def refuse(database: Database, actor: Actor, label: str = "") -> None:
    with database.writing() as session:
        add_entry(session, actor, EventKind.REFUSED_PERMISSION, label=label)


def rows_of(database: Database) -> list[tuple[str, str, int]]:
    with database.reading() as session:
        return [(row.person, row.address, row.count) for row in reversed(search(session))]


@pytest.mark.both_databases
def test_repeats_of_a_person_are_one_row_with_a_count(database: Database, time: Clock) -> None:
    begun = time.now
    for number in range(30):
        refuse(database, Actor("Maya", f"192.0.2.{number}", "web", 3), label=f"/servers/{number}")
        time.pass_by(minutes=1)
    with database.reading() as session:
        (row,) = search(session)
    assert (row.count, row.at, row.label) == (30, begun, "/servers/0")
    assert row.last_at == begun + timedelta(minutes=29)
    # Somebody else's are another row, and so are those of an hour later.
    refuse(database, Actor("Ravi", "192.0.2.1", "web", 4))
    time.pass_by(minutes=62)
    refuse(database, Actor("Maya", "192.0.2.1", "web", 3))
    assert [row[2] for row in rows_of(database)] == [30, 1, 1]


def test_a_filter_by_time_finds_a_row_that_counts_until_then(
    database: Database, time: Clock
) -> None:
    for _ in range(3):
        refuse(database, Actor("Maya", "192.0.2.1", "web", 3))
        time.pass_by(minutes=30)
    assert len(rows_of(database)) == 1
    with database.reading() as session:
        assert len(search(session, begin=time.now - timedelta(minutes=40))) == 1
        assert search(session, begin=time.now) == []


def test_a_row_counts_for_a_day_at_most(database: Database, time: Clock) -> None:
    for _ in range(60):
        refuse(database, Actor("Maya", "192.0.2.1", "web", 3))
        time.pass_by(minutes=50)
    assert [row[2] for row in rows_of(database)] == [29, 29, 2]


@pytest.mark.both_databases
def test_strangers_count_by_their_network_and_beyond_some_rows_together(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_MOST_STRANGERS", 4)
    for network in range(8):
        for host in range(5):
            address = f"2001:db8:0:{network}::{host}"
            with database.writing() as session:
                stranger = Actor(f"name {network} {host}", address, "web")
                add_entry(session, stranger, EventKind.SIGN_IN_FAILED)
    assert rows_of(database) == [
        *((f"name {network} 0", f"2001:db8:0:{network}::0", 5) for network in range(4)),
        ("", log.MANY_ADDRESSES, 20),
    ]


def test_what_was_changed_is_a_row_each(database: Database, asha: Actor) -> None:
    with database.writing() as session:
        for minutes in (5, 10, 5, 10):
            became = {"interval_minutes": minutes}
            add_entry(session, asha, EventKind.INTERVAL_CHANGED, version=minutes, became=became)
    assert len(rows_of(database)) == 4


# --- what is removed ------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_what_is_too_old_goes_and_a_row_says_so(kept: Database, time: Clock) -> None:
    # The row of before counts on until now.
    with kept.writing() as session:
        assert not remove_old(session, time.now - timedelta(minutes=4, seconds=30), most=100)
    with kept.reading() as session:
        said, *others = search(session)
    assert [row.label for row in others] == ["5", "4", "3", "2"]
    assert (said.what, said.became) == (
        EventKind.ACTIVITY_REMOVED,
        {"rows": 2, "until": f"{time.now:%Y-%m-%d}"},
    )
    with kept.writing() as session:
        assert not remove_old(session, time.now - timedelta(minutes=4, seconds=30), most=100)
    assert len(rows_of(kept)) == 5


@pytest.mark.both_databases
def test_of_more_than_are_kept_the_oldest_go(
    kept: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_REMOVED_AT_ONCE", 2)
    with kept.writing() as session:
        assert remove_old(session, clock.RELEASED_AT, most=3)
    assert labels(kept) == "5432"
    # The row that says so counts as well.
    with kept.writing() as session:
        remove_old(session, clock.RELEASED_AT, most=3)
    assert labels(kept) == "54"


@pytest.mark.both_databases
def test_nothing_goes_without_a_row_that_says_so(kept: Database) -> None:
    with kept.reading() as session:
        middle = search(session)[2].id
    with kept.writing() as session:
        service, what = Actor("", via="sync"), EventKind.ACTIVITY_REMOVED
        add_entry(session, service, what, subject="activity", subject_id=middle)
    with pytest.raises(DBAPIError, match="kept as it was written"), kept.writing() as session:
        session.execute(delete(Activity).where(Activity.id == middle + 1))
    with kept.writing() as session:
        session.execute(delete(Activity).where(Activity.id <= middle))
    assert labels(kept) == "54"
