"""Rows of the list: added, edited, refused and disputed in their place; nothing typed is lost."""

import re

import pytest
from sqlalchemy import select

from panel.config import Config
from panel.db import Database
from panel.models.settings import Server, Settings
from tests.support.cast import CODE
from tests.support.clock import Clock
from tests.support.web_sites import make_primary, make_satellite, words
from tests.web.conftest import Browser, Happened

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
LAU = {"key": "one form", "sync_id": "9", "name": "Lau", "store": "LAU-01"}


def listed(database: Database) -> dict[int, Server]:
    with database.reading() as session:
        rows = session.scalars(select(Server).where(Server.removed_at.is_(None)))
        return {row.sync_id: row for row in rows}


def hidden(html: str, name: str) -> str:
    """The value of a hidden field of the row that stands open as a form."""
    form = html[re.search(r'<td colspan="8">', html).end() :]  # type: ignore[union-attr]
    found = re.search(rf'name="{name}" value="([^"]*)"', form)
    assert found is not None, form
    return found[1]


class TestPrimary:
    @pytest.fixture(autouse=True)
    def rows(self, database: Database, config: Config) -> list[int]:
        return make_primary(database, config)

    @either
    def test_plus_opens_a_row_of_fields(self, unlocked: Browser, htmx: bool) -> None:
        answer = unlocked.get("/servers/new", htmx=htmx)
        new = answer.text[answer.text.index('<tbody id="new">') :]
        for name in ("sync_id", "name", "store", "url", "user_name", "password"):
            assert f'name="{name}"' in new
        assert ("<html" in answer.text) != htmx

    def test_a_row_that_is_open_already_is_left_alone(self, unlocked: Browser) -> None:
        assert unlocked.get("/servers/new?key=abc", htmx=True).status_code == 204

    def test_cancel_takes_the_fields_away(self, unlocked: Browser) -> None:
        assert "<input" not in unlocked.get("/servers/none", htmx=True).text
        assert unlocked.get("/servers/none").headers["Location"] == "/#servers"

    def test_added_it_is_a_row_with_the_focus_on_edit(
        self, unlocked: Browser, database: Database
    ) -> None:
        answer = unlocked.post("/servers", LAU, htmx=True)
        assert answer.status_code == 200
        assert '<tbody hx-swap-oob="afterbegin:#rows">' in answer.text
        assert re.search(r"<a[^>]* autofocus>Edit</a>", answer.text)
        assert "3 of 3" in answer.text
        assert "0 of 3 satellites up to date." in answer.text
        assert listed(database)[9].name == "Lau"

    def test_without_script_it_leads_back_to_the_row(
        self, unlocked: Browser, database: Database
    ) -> None:
        answer = unlocked.post("/servers?find=l", LAU)
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"/?find=l#s{listed(database)[9].id}"

    @either
    def test_the_same_form_sent_twice_adds_one_row(
        self, unlocked: Browser, database: Database, happened: Happened, htmx: bool
    ) -> None:
        for _ in range(2):
            answer = unlocked.post("/servers", LAU, htmx=htmx)
            assert answer.status_code == (200 if htmx else 303)
        assert len(listed(database)) == 3
        assert len(happened("server_added")) == 3

    @either
    def test_a_sync_id_that_is_no_number_comes_back_with_all_other_reasons(
        self, unlocked: Browser, database: Database, htmx: bool
    ) -> None:
        sent = {**LAU, "sync_id": "nine", "store": ""}
        answer = unlocked.post("/servers", sent, htmx=htmx)
        assert answer.status_code == 422
        assert "A whole number, in digits." in answer.text
        assert "A server needs a Store." in answer.text
        assert "A server needs a Sync ID." not in answer.text
        answer = unlocked.post("/servers", {**LAU, "sync_id": "nine"}, htmx=htmx)
        assert answer.status_code == 422
        assert len(listed(database)) == 2

    def test_without_script_a_form_reached_by_back_adds_the_other_server_typed(
        self, unlocked: Browser, database: Database
    ) -> None:
        for sent in (LAU, {**LAU, "sync_id": "10", "name": "Ba"}):
            assert unlocked.post("/servers", sent).status_code == 303
        assert listed(database)[10].name == "Ba"

    @either
    def test_a_duplicate_is_refused_in_place_and_nothing_is_lost(
        self, unlocked: Browser, database: Database, htmx: bool
    ) -> None:
        sent = {
            **LAU,
            "sync_id": "8",
            "user_name": "lau",
            "password": "lau's own reef",
            "store": "",
        }
        answer = unlocked.post("/servers", sent, htmx=htmx)
        assert answer.status_code == 422
        assert "8 Rotuma has this Sync ID already." in answer.text
        assert "A server needs a Store." in answer.text
        assert 'aria-describedby="new-sync_id"' in answer.text
        for value in ("8", "Lau", "lau"):
            assert f'value="{value}"' in answer.text
        assert "lau&#39;s own reef" not in answer.text
        assert hidden(answer.text, "key") == "one form"
        typed = {**LAU, "user_name": "lau", "typed": hidden(answer.text, "typed")}
        unlocked.post("/servers", typed, htmx=htmx)
        assert listed(database)[9].password_hash is not None

    @either
    def test_edit_turns_the_row_into_fields(
        self, unlocked: Browser, rows: list[int], htmx: bool
    ) -> None:
        answer = unlocked.get(f"/servers/{rows[0]}/edit", htmx=htmx)
        assert 'value="KDV-01"' in answer.text
        assert ("Rotuma" in answer.text) != htmx

    def test_cancel_shows_the_row_again(self, unlocked: Browser, rows: list[int]) -> None:
        answer = unlocked.get(f"/servers/{rows[0]}", htmx=True)
        assert answer.text.count("<tr") == 1
        assert "<input" not in answer.text.replace('type="checkbox"', "").replace("<input ", "", 1)
        address = unlocked.get(f"/servers/{rows[0]}?sort=name").headers["Location"]
        assert address == f"/?sort=name#s{rows[0]}"

    @either
    def test_an_edited_row_is_saved(
        self, unlocked: Browser, database: Database, rows: list[int], htmx: bool
    ) -> None:
        sent = {"sync_id": "7", "name": "Vunisea", "store": "VUN-01", "version": "1"}
        answer = unlocked.post(f"/servers/{rows[0]}", sent, htmx=htmx)
        assert answer.status_code == (200 if htmx else 303)
        assert listed(database)[7].name == "Vunisea"
        if htmx:
            assert "Rotuma" not in answer.text

    @either
    def test_who_comes_second_chooses(
        self, unlocked: Browser, database: Database, rows: list[int], htmx: bool
    ) -> None:
        first = {"sync_id": "7", "name": "Vunisea", "store": "KDV-01", "version": "1"}
        unlocked.post(f"/servers/{rows[0]}", first)
        mine = {**first, "name": "Namalata"}
        answer = unlocked.post(f"/servers/{rows[0]}", mine, htmx=htmx)
        assert answer.status_code == 409
        assert re.search(r"asha, \S.{,30} : Name Kadavu → Vunisea", words(answer.text))
        assert "Save mine over it Take theirs" in words(answer.text)
        assert 'value="Namalata"' in answer.text
        over = {**mine, "version": hidden(answer.text, "version")}
        unlocked.post(f"/servers/{rows[0]}", over, htmx=htmx)
        assert listed(database)[7].name == "Namalata"

    def test_a_url_on_a_primary_is_warned_of(
        self, unlocked: Browser, database: Database, rows: list[int]
    ) -> None:
        sent = {"sync_id": "7", "name": "Kadavu", "store": "KDV-01", "version": "1"}
        sent["url"] = "https://kadavu.example.org"
        asked = unlocked.post(f"/servers/{rows[0]}", sent, htmx=True)
        assert asked.status_code == 422
        assert 'value="url_on_primary"' in asked.text
        done = unlocked.post(
            f"/servers/{rows[0]}", {**sent, "confirmed": "url_on_primary"}, htmx=True
        )
        assert "URL of 7 Kadavu" in done.text
        assert "Sync is disabled: row 7 Kadavu has a URL." in done.text

    @either
    def test_what_is_gone_is_said_to_be_gone(
        self, unlocked: Browser, rows: list[int], htmx: bool
    ) -> None:
        unlocked.post("/servers/remove", {"ids": str(rows[0]), "confirmed": "1"})
        for address in (f"/servers/{rows[0]}", f"/servers/{rows[0]}/edit"):
            answer = unlocked.get(address, htmx=htmx)
            assert answer.status_code == 404
            assert "This server is not in the list any more." in answer.text
        answer = unlocked.post(f"/servers/{rows[0]}", LAU, htmx=htmx)
        assert answer.status_code == 404

    @pytest.mark.parametrize("row", ["0", "99999", "99999999999999999999", "x"])
    def test_a_row_that_never_was_is_not_found(self, unlocked: Browser, row: str) -> None:
        assert unlocked.get(f"/servers/{row}/edit").status_code == 404

    @either
    def test_fields_are_not_opened_while_locked(
        self, manager: Browser, rows: list[int], htmx: bool
    ) -> None:
        for address in ("/servers/new", f"/servers/{rows[0]}/edit"):
            answer = manager.get(address, htmx=htmx)
            assert 'role="dialog"' in answer.text
            assert 'name="store"' not in answer.text

    @either
    def test_a_lock_that_ran_out_asks_and_then_saves_what_was_typed(
        self, unlocked: Browser, database: Database, time: Clock, rows: list[int], htmx: bool
    ) -> None:
        time.pass_by(minutes=16)
        sent = {"sync_id": "7", "name": "Vunisea", "store": "KDV-01", "version": "1"}
        asked = unlocked.post(f"/servers/{rows[0]}", sent, htmx=htmx)
        assert asked.status_code == 403
        assert 'name="authorisation_code"' in asked.text
        if not htmx:
            assert 'value="Vunisea"' in asked.text
        code = {"authorisation_code": CODE}
        unlocked.post(f"/servers/{rows[0]}", {**sent, **code}, htmx=htmx)
        assert listed(database)[7].name == "Vunisea"

    def test_who_may_only_look_opens_no_fields(self, viewer: Browser, rows: list[int]) -> None:
        assert viewer.get("/servers/new").status_code == 403
        assert viewer.get(f"/servers/{rows[0]}/edit").status_code == 403
        assert viewer.post("/servers", LAU).status_code == 403


class TestSatellite:
    @pytest.fixture(autouse=True)
    def satellite(self, database: Database, config: Config) -> None:
        make_satellite(database, config)

    def test_a_second_server_is_refused(self, unlocked: Browser, database: Database) -> None:
        answer = unlocked.post("/servers", LAU, htmx=True)
        assert answer.status_code == 422
        assert "A satellite synchronises with the primary only" in answer.text
        assert len(listed(database)) == 1

    @either
    def test_an_emptied_url_is_cleared(
        self, unlocked: Browser, database: Database, happened: Happened, htmx: bool
    ) -> None:
        row = listed(database)[1]
        sent = {"sync_id": "1", "name": row.name, "store": row.store, "version": str(row.version)}
        unlocked.post(f"/servers/{row.id}", {**sent, "url": ""}, htmx=htmx)
        with database.reading() as session:
            assert session.get_one(Settings, 1).url == ""
        assert happened("parameters_changed")[0].became == {"url": ""}

    def test_the_url_of_the_row_is_that_of_the_parameters(
        self, unlocked: Browser, database: Database
    ) -> None:
        row = listed(database)[1]
        form = unlocked.get(f"/servers/{row.id}/edit", htmx=True).text
        assert 'value="http://127.0.0.1:9"' in form
        assert 'name="password"' not in form
        sent = {"sync_id": "1", "name": "NMS", "store": "NAT-01", "version": str(row.version)}
        sent["url"] = "https://new.example.org"
        answer = unlocked.post(f"/servers/{row.id}", sent, htmx=True)
        with database.reading() as session:
            settings = session.get_one(Settings, 1)
        assert settings.url == "https://new.example.org"
        # The parameters' form beside it goes on from there.
        assert '<div id="p-url" hx-swap-oob="true">' in answer.text
        version = settings.parameters_version
        assert f'id="p-version" name="version" value="{version}"' in answer.text
