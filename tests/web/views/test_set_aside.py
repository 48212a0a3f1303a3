"""Records set aside: the reason, Try again, Leave out; they stay until they fit."""

from collections.abc import Callable

import pytest
from sqlalchemy import delete, select

from panel.config import Config
from panel.db import Database
from panel.models.people import Activity
from panel.models.records import Quarantined, Record
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
    assert "item/a 1 National Store" in page
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
