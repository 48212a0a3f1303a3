"""On a primary: how one satellite stands, and those who wait to be added."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from panel.config import Config
from panel.db import Database
from panel.models.runs import Applicant, Peer
from panel.models.settings import Server
from panel.sync.primary.run_log import Contacts
from panel.sync.store.records import put_record
from tests.support.cast import CODE
from tests.support.clock import Clock
from tests.support.web_sites import make_primary, words
from tests.web.conftest import Browser


@pytest.fixture
def kadavu(database: Database, config: Config) -> int:
    """The id of the row of satellite 7; two central records and one for it wait for it."""
    kadavu, _rotuma = make_primary(database, config)
    with database.writing() as session:
        put_record(session, 1, "item", "a", {})
        put_record(session, 1, "item", "b", {})
        put_record(session, 1, "transfer", "c", {}, to=7)
        put_record(session, 1, "transfer", "d", {}, to=8)
    return kadavu


def know(database: Database, server_id: int, **values: object) -> None:
    with database.writing() as session:
        session.add(Peer(server_id=server_id, site_uuid="u", **values))


def test_before_its_first_contact(viewer: Browser, kadavu: int) -> None:
    page = words(viewer.get(f"/servers/{kadavu}/sync").text)
    assert "Not yet seen." in page
    assert "Last contact none yet" in page
    assert "Records waiting for it 3" in page


def test_what_it_has_does_not_wait(
    viewer: Browser, database: Database, kadavu: int, time: Clock
) -> None:
    know(
        database,
        kadavu,
        **{"central_cursor": 1, "addressed_cursor": 3, "waiting_there": 12},
        **{"app_name": "Sync Panel", "app_version": "0.1.0", "protocol": "own"},
    )
    with database.writing() as session:
        server = session.get_one(Server, kadavu)
        server.hardware_id = "9f2c0000000011ab"
        server.last_contact_at = server.last_success_at = time() - timedelta(days=2)
    page = words(viewer.get(f"/servers/{kadavu}/sync").text)
    assert "Late." in page
    assert "Records waiting for it 1" in page
    assert "Records waiting there 12" in page
    assert "9f2c0000000011ab" in page
    assert "Sync Panel 0.1.0" in page


def test_the_list_leads_there(viewer: Browser, kadavu: int) -> None:
    assert f'href="/servers/{kadavu}/sync"' in viewer.get("/").text


def test_the_list_shows_a_refusal(
    viewer: Browser, database: Database, kadavu: int, time: Clock
) -> None:
    mark = viewer.get("/").headers["ETag"]
    know(database, kadavu, refusal="site_incorrect_hardware_id")
    time.pass_by(minutes=1)
    page = viewer.get("/", If_None_Match=mark)
    assert page.status_code == 200
    assert "7 Kadavu KDV-01 — refused" in words(page.text)


def test_a_refusal_is_said_in_words(viewer: Browser, database: Database, kadavu: int) -> None:
    know(database, kadavu, refusal="site_incorrect_hardware_id")
    page = words(viewer.get(f"/servers/{kadavu}/sync").text)
    assert "belongs to another machine" in page
    assert "clear the Hardware ID" in page


def differ(database: Database, server_id: int, *found: list[object]) -> None:
    values = {"differences": list(found)}
    know(database, server_id, refusal="identity_differs", refusal_values=values)


def test_theirs_is_taken_after_unlocking(manager: Browser, database: Database, kadavu: int) -> None:
    differ(database, kadavu, ["store", "KDV-01", "KDV-10"])
    page = words(manager.get(f"/servers/{kadavu}/sync").text)
    assert "Store: here KDV-01, there KDV-10" in page
    url = f"/servers/{kadavu}/theirs"
    assert manager.post(url, htmx=True).status_code == 403
    assert 'name="authorisation_code"' in manager.post(url).text
    asked = manager.post(url, {"authorisation_code": CODE}, htmx=True)
    assert asked.status_code == 422
    assert "Is this the same store?" in asked.text
    assert manager.post(url, {"confirmed": "records=keep"}, htmx=True).status_code == 200
    with database.reading() as session:
        assert session.get_one(Server, kadavu).store == "KDV-10"
        assert session.get_one(Peer, kadavu).refusal == ""


def test_what_the_satellite_calls_its_primary_is_changed_there(
    manager: Browser, database: Database, kadavu: int
) -> None:
    differ(database, kadavu, ["primary_name", "National Store", "NMS"])
    page = manager.get(f"/servers/{kadavu}/sync").text
    assert "Name of the primary: here National Store, there NMS" in words(page)
    assert "Use what" not in page


def test_theirs_that_cannot_stand_is_refused_with_the_reason(
    unlocked: Browser, database: Database, kadavu: int
) -> None:
    differ(database, kadavu, ["sync_id", 7, 8])
    answer = unlocked.post(f"/servers/{kadavu}/theirs", htmx=True)
    assert answer.status_code == 422
    assert 'class="bad"' in answer.text
    with database.reading() as session:
        assert session.get_one(Server, kadavu).sync_id == 7


def test_what_another_server_sent_cannot_break_the_page(
    viewer: Browser, database: Database, kadavu: int
) -> None:
    differ(database, kadavu, ["store"], ["no_field", "a", "b"], ["name", {"a": 1}, []])
    assert viewer.get(f"/servers/{kadavu}/sync").status_code == 200


def test_who_may_not(viewer: Browser, nobody: Browser, database: Database, kadavu: int) -> None:
    differ(database, kadavu, ["store", "KDV-01", "KDV-10"])
    sent = {"authorisation_code": CODE}
    assert viewer.post(f"/servers/{kadavu}/theirs", sent).status_code == 403
    assert nobody.post(f"/servers/{kadavu}/theirs", sent).status_code in (303, 401)
    assert nobody.get(f"/servers/{kadavu}/sync").status_code == 303
    with database.reading() as session:
        assert session.get_one(Server, kadavu).store == "KDV-01"


@pytest.mark.usefixtures("kadavu")
def test_a_server_that_is_not_in_the_list(manager: Browser) -> None:
    assert manager.get("/servers/99/sync").status_code == 404
    assert manager.post("/servers/99/theirs", {"authorisation_code": CODE}).status_code == 404


# --- waiting to be added --------------------------------------------------------------------------

MACHINE = "abcd000000000012"


@pytest.fixture
def applicant(database: Database, config: Config, time: Clock) -> None:
    make_primary(database, config)
    with database.writing() as session:
        session.add(
            Applicant(
                **{"sync_id": 12, "name": "Nabouwalu", "store": "NBW-01"},
                **{"hardware_id": MACHINE, "address": "10.0.0.9"},
                **{"first_at": time(), "last_at": time()},
            )
        )


def added(database: Database) -> Server | None:
    with database.reading() as session:
        return session.scalar(select(Server).where(Server.sync_id == 12))


@pytest.mark.usefixtures("applicant")
class TestApplicant:
    def test_it_is_shown_and_gets_nothing(self, viewer: Browser, database: Database) -> None:
        page = words(viewer.get("/").text)
        assert "Waiting to be added" in page
        assert "12 Nabouwalu NBW-01" in page
        assert added(database) is None

    def test_one_click_when_unlocked(self, unlocked: Browser, database: Database) -> None:
        answer = unlocked.post("/applicants/12/add", {"hardware_id": MACHINE}, htmx=True)
        assert answer.status_code == 200
        assert "Nabouwalu" in answer.text
        assert "Waiting to be added" not in answer.text
        # This is the next change, after which nothing can be undone.
        assert '<div id="undo" hx-swap-oob="true">' in answer.text
        server = added(database)
        assert server is not None
        assert (server.name, server.hardware_id) == ("Nabouwalu", MACHINE)

    def test_locked_it_asks_for_the_code(self, manager: Browser, database: Database) -> None:
        answer = manager.post("/applicants/12/add", {"hardware_id": MACHINE})
        assert answer.status_code == 403
        assert 'name="authorisation_code"' in answer.text
        assert added(database) is None
        sent = {"hardware_id": MACHINE, "authorisation_code": CODE}
        assert manager.post("/applicants/12/add", sent).status_code == 303
        assert added(database) is not None

    @pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
    def test_one_that_is_gone(self, unlocked: Browser, database: Database, htmx: bool) -> None:
        page = unlocked.get("/").text
        assert f'name="hardware_id" value="{MACHINE}"' in page
        with database.writing() as session:
            session.get_one(Applicant, (12, MACHINE)).hardware_id = "dddd000000000099"
        answer = unlocked.post("/applicants/12/add", {"hardware_id": MACHINE}, htmx=htmx)
        assert answer.status_code == 404
        assert "This machine does not wait to be added any more." in answer.text
        assert added(database) is None

    def test_two_machines_under_one_number_are_told_apart(
        self, manager: Browser, database: Database
    ) -> None:
        another = "dddd00000000009"
        with database.writing() as session:
            one = session.get_one(Applicant, (12, MACHINE))
            values = {"sync_id": 12, "name": one.name, "store": one.store, "first_at": one.last_at}
            later = one.last_at + timedelta(minutes=1)
            session.add(
                Applicant(**values, hardware_id=another, address="192.0.2.99", last_at=later)
            )
        page = words(manager.get("/").text)
        # The whole of it, in fours, with the address; who called last comes first.
        newer, older = "dddd 0000 0000 009", "abcd 0000 0000 0012"
        assert page.index(newer) < page.index("192.0.2.99") < page.index(older)
        asked = manager.post("/applicants/12/add", {"hardware_id": MACHINE})
        # The code is asked for in the row of the one that was meant.
        assert asked.text.count('name="authorisation_code"') == 1
        assert asked.text.index("0012<") < asked.text.index('name="authorisation_code"')
        sent = {"hardware_id": MACHINE, "authorisation_code": CODE}
        assert manager.post("/applicants/12/add", sent).status_code == 303
        server = added(database)
        assert server is not None
        assert server.hardware_id == MACHINE
        assert "Waiting to be added" not in manager.get("/").text

    def test_they_are_paged_and_the_newest_come_first(
        self, unlocked: Browser, database: Database, time: Clock
    ) -> None:
        with database.writing() as session:
            for number in range(20, 33):
                at = time() + timedelta(minutes=number)
                session.add(
                    Applicant(
                        **{"sync_id": number, "name": f"Invented {number}", "store": "X"},
                        **{"hardware_id": "x" * 16, "address": "192.0.2.1"},
                        **{"first_at": at, "last_at": at},
                    )
                )
        first = words(unlocked.get("/").text)
        assert first.index("Invented 32") < first.index("Invented 23")
        assert "Invented 22" not in first
        assert "Nabouwalu" not in first
        second = unlocked.get("/applicants?waiting=2", htmx=True).text
        assert "Nabouwalu" in words(second)
        assert "<html" not in second
        # Without script it is the page, and the act leads back to it.
        assert "Nabouwalu" in words(unlocked.get("/applicants?waiting=2").text)
        assert "/applicants/12/add?waiting=2" in second
        # No page beyond the last.
        assert "Nabouwalu" in words(unlocked.get("/?waiting=99").text)

    def test_what_runs_from_right_to_left_is_named(
        self, unlocked: Browser, database: Database
    ) -> None:
        with database.writing() as session:
            one = session.get_one(Applicant, (12, MACHINE))
            one.name, one.store, one.address = "Lau\u202eikubaN", "N\u200bBW", "10.0.0.9\u2066"
        page = unlocked.get("/").text
        assert not set(page) & set("\u202e\u200b\u2066")
        for shown in ("Lau⟨U+202E⟩ikubaN", "N⟨U+200B⟩BW", "10.0.0.9⟨U+2066⟩"):
            assert shown in page
        answer = unlocked.post("/applicants/12/add", {"hardware_id": MACHINE}, htmx=True)
        assert answer.status_code == 422
        assert added(database) is None

    def test_who_may_not(self, viewer: Browser, nobody: Browser, database: Database) -> None:
        sent = {"authorisation_code": CODE}
        assert viewer.post("/applicants/12/add", sent).status_code == 403
        assert nobody.post("/applicants/12/add", sent).status_code in (303, 401)
        assert added(database) is None


@pytest.mark.usefixtures("kadavu")
def test_one_that_does_not_wait(unlocked: Browser) -> None:
    assert unlocked.post("/applicants/13/add", htmx=True).status_code == 404


def test_a_page_shows_a_contact_that_is_not_written_yet(
    viewer: Browser, database: Database, kadavu: int
) -> None:
    Contacts(database).note(kadavu)
    page = words(viewer.get(f"/servers/{kadavu}/sync").text)
    assert "Up to date." in page
    assert "Last contact none yet" not in page
