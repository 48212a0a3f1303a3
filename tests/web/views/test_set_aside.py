"""Records set aside: the reason, Try again, Leave out; they stay until they fit."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import delete, select

from panel.config import Config
from panel.db import Database
from panel.models.people import Activity
from panel.models.records import ChangeSequence, Quarantined, Record
from panel.operations import quarantine_acts
from tests.support.clock import Clock
from tests.support.web_sites import make_satellite, words
from tests.web.conftest import Browser


@pytest.fixture(autouse=True)
def satellite(database: Database, config: Config) -> None:
    make_satellite(database, config)


@pytest.fixture
def aside(database: Database, time: Clock) -> Quarantined:
    """Central data of the primary, in whose place there is a record of server 9."""
    shared = {"table_name": "item", "record_id": "a", "to": None, "version": 4, "data": "{}"}
    row = Quarantined(
        **shared,
        **{"source": 1, "owner": 1, "deleted": False},
        **{"reason": "owned_by_another", "reason_values": {"owner": 9}},
        **{"first_at": time(), "last_at": time()},
    )
    with database.writing() as session:
        session.add(Record(**shared, owner=9, seq=1, changed_at=time()))
        session.add(row)
    return row


def find(database: Database, aside: Quarantined) -> Quarantined | None:
    with database.reading() as session:
        return session.get(Quarantined, aside.id)


@pytest.mark.usefixtures("aside")
def test_the_page_tells_of_it_and_leads_there(viewer: Browser) -> None:
    page = viewer.get("/").text
    assert "1 record needs a decision" in page
    assert 'href="/set-aside"' in page


def test_nothing_is_said_where_there_is_none(viewer: Browser) -> None:
    assert "set aside" not in viewer.get("/").text
    assert "No record is set aside." in viewer.get("/set-aside").text


@pytest.mark.usefixtures("aside")
def test_the_reason_is_in_words(viewer: Browser) -> None:
    page = words(viewer.get("/set-aside").text)
    assert "item/a Compare 1 National Store" in page
    assert "belongs to server 9" in page
    assert "Try again" not in page


def test_tried_again_it_stays_while_it_does_not_fit(
    manager: Browser,
    database: Database,
    aside: Quarantined,
    happened: Callable[..., list[Activity]],
) -> None:
    answer = manager.post(f"/set-aside/{aside.id}/again", htmx=True)
    assert answer.status_code == 200
    assert "It still cannot be taken." in answer.text
    row = find(database, aside)
    assert row is not None
    assert row.tries == 2
    assert happened("set_aside_retried")


def test_tried_again_it_goes_once_it_fits(
    manager: Browser, database: Database, aside: Quarantined
) -> None:
    with database.writing() as session:
        session.execute(delete(Record))
    answer = manager.post(f"/set-aside/{aside.id}/again", htmx=True)
    assert "it was taken" in words(answer.text)
    assert find(database, aside) is None
    with database.reading() as session:
        assert session.scalars(select(Record)).one().owner == 1


def test_one_of_our_own_will_be_sent_again(
    manager: Browser, database: Database, aside: Quarantined
) -> None:
    with database.writing() as session:
        session.get_one(Quarantined, aside.id).source = 7
    answer = manager.post(f"/set-aside/{aside.id}/again", htmx=True)
    assert "It will be sent again with the next sync." in words(answer.text)
    assert find(database, aside) is not None


def test_left_out_it_stays_in_the_list_and_is_counted_no_more(
    manager: Browser, aside: Quarantined, happened: Callable[..., list[Activity]]
) -> None:
    answer = manager.post(f"/set-aside/{aside.id}/leave-out")
    assert (answer.status_code, answer.location) == (303, f"/set-aside#a{aside.id}")
    assert "left out" in manager.get("/set-aside").text
    assert "set aside" not in manager.get("/").text
    assert happened("set_aside_left_out")


@pytest.mark.parametrize("act", ["again", "leave-out"])
def test_who_may_not(
    viewer: Browser, nobody: Browser, database: Database, aside: Quarantined, act: str
) -> None:
    assert viewer.post(f"/set-aside/{aside.id}/{act}").status_code == 403
    assert nobody.post(f"/set-aside/{aside.id}/{act}").status_code in (303, 401)
    row = find(database, aside)
    assert row is not None
    assert (row.tries, row.left_out_at) == (1, None)


@pytest.mark.parametrize("act", ["again", "leave-out"])
def test_one_that_is_gone(manager: Browser, act: str) -> None:
    answer = manager.post(f"/set-aside/77/{act}", htmx=True)
    assert answer.status_code == 404
    assert "no longer set aside" in answer.text


def test_acts_are_posted(manager: Browser, aside: Quarantined) -> None:
    assert manager.get(f"/set-aside/{aside.id}/again").status_code == 405


# --- both versions, and one decision for many -----------------------------------------------------

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])


def put_aside(database: Database, **values: object) -> int:
    with database.writing() as session:
        first = session.get_one(Quarantined, 1)
        columns = {column.key for column in Quarantined.__mapper__.column_attrs} - {"id"}
        row = Quarantined(**{name: getattr(first, name) for name in columns} | values)
        # The record that is here has number 1.
        session.get_one(ChangeSequence, 1).seq = 1
        session.add(row)
        session.flush()
        return row.id


@either
def test_both_versions_stand_side_by_side_with_differences_marked(
    viewer: Browser, database: Database, aside: Quarantined, htmx: bool
) -> None:
    with database.writing() as session:
        session.get_one(Record, 1).data = '{"name": "Lau", "packs": 2, "size": 1}'
        session.get_one(Quarantined, aside.id).data = '{"name": "Lau <b>", "packs": 2}'
    page = viewer.get(f"/set-aside/{aside.id}", htmx=htmx).text
    assert ("<html" in page) is not htmx
    assert "<mark>Lau</mark></td><td><mark>Lau &lt;b&gt;</mark>" in page
    assert "<td>packs</td><td>2</td><td>2</td>" in page
    assert "<td>size ≠</td><td><mark>1</mark></td><td>—</td>" in page
    # What differs comes first.
    assert page.index("size ≠") < page.index("<td>packs")


def test_a_version_is_shown_within_bounds(
    viewer: Browser, database: Database, aside: Quarantined
) -> None:
    many = {str(number): "x" * 300 for number in range(70)}
    with database.writing() as session:
        session.get_one(Quarantined, aside.id).data = json.dumps(many)
    page = viewer.get(f"/set-aside/{aside.id}").text
    assert "and 10 more fields" in page
    assert "x" * 201 not in page
    with database.writing() as session:
        session.get_one(Quarantined, aside.id).data = json.dumps({"a": "x" * 300_000})
    page = viewer.get(f"/set-aside/{aside.id}").text
    assert "Too large to be shown here." in page
    assert viewer.get("/set-aside/77").status_code == 404


@either
def test_those_selected_are_decided_on_together(
    manager: Browser,
    database: Database,
    aside: Quarantined,
    happened: Callable[..., list[Activity]],
    htmx: bool,
) -> None:
    fits, own = put_aside(database, record_id="b"), put_aside(database, record_id="c", source=7)
    ids = [str(one) for one in (aside.id, fits, own, 77)]
    answer = manager.post("/set-aside", {"ids": ids, "act": "again"}, htmx=htmx)
    if htmx:
        words_there = words(answer.text)
        assert "Taken: 1. Still not taken: 1. With the next sync: 1." in words_there
    else:
        assert (answer.status_code, answer.location) == (303, "/set-aside")
    with database.reading() as session:
        assert session.get(Quarantined, fits) is None
        assert session.get(Quarantined, aside.id) is not None
    labels = {row.label for row in happened("set_aside_retried")}
    assert labels == {"item/a", "item/b", "item/c"}


@pytest.mark.usefixtures("aside")
def test_all_of_a_reason_are_left_out_at_one_press(
    manager: Browser,
    database: Database,
    happened: Callable[..., list[Activity]],
) -> None:
    other = put_aside(database, record_id="b", reason="not_the_owner")
    put_aside(database, record_id="c")
    assert "all 2: There is a record of this name" in words(manager.get("/set-aside").text)
    sent = {"reason": "owned_by_another", "act": "leave-out"}
    assert "2 records left out." in words(manager.post("/set-aside", sent, htmx=True).text)
    with database.reading() as session:
        rows = session.scalars(select(Quarantined).where(Quarantined.left_out_at.is_(None)))
        assert [row.id for row in rows] == [other]
    assert len(happened("set_aside_left_out")) == 2


def test_so_many_at_once_and_no_more(
    manager: Browser, database: Database, aside: Quarantined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine_acts, "MOST_AT_ONCE", 2)
    others = [put_aside(database, record_id=name) for name in "bcd"]
    ids = [str(one) for one in (aside.id, *others)]
    answer = manager.post("/set-aside", {"ids": ids, "act": "again"}, htmx=True)
    assert "Not tried yet: 2." in words(answer.text)
    with database.reading() as session:
        assert session.get(Quarantined, others[-1]) is not None


def test_who_may_not_decide_on_many(
    viewer: Browser, database: Database, aside: Quarantined
) -> None:
    assert 'id="many"' not in viewer.get("/set-aside").text
    sent = {"ids": str(aside.id), "act": "leave-out"}
    assert viewer.post("/set-aside", sent).status_code == 403
    row = find(database, aside)
    assert row is not None
    assert row.left_out_at is None
