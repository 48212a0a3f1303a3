"""The synchronise parameters as fields: saved, refused, confirmed, disputed."""

import re

import pytest

from panel.config import Config
from panel.db import Database
from panel.models.settings import Server, Settings
from panel.preferences.shared_password import read_password
from panel.security.vault import Vault
from tests.support.cast import CODE, SECRET_KEY
from tests.support.clock import Clock
from tests.support.web_sites import make_primary, make_satellite, words
from tests.web.conftest import Browser, Happened

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
HERE = {"HX_Current_URL": "http://localhost/"}


def settings(database: Database) -> Settings:
    with database.reading() as session:
        return session.get_one(Settings, 1)


def hidden(html: str, name: str) -> str:
    found = re.search(
        rf'name="{name}" value="([^"]*)"', html[html.index('<form id="parameters-form"') :]
    )
    assert found is not None, html
    return found[1]


def version(database: Database) -> str:
    return str(settings(database).parameters_version)


class TestStandAlone:
    FIRST = {  # noqa: RUF012
        "sync_id": "7",
        "name": "Kadavu",
        "store": "KDV-01",
        "user_name": "kadavu",
        "password": "coral letters",
        "url": "central.example.org",
        "version": "1",
    }

    def test_a_sync_id_changes_what_the_whole_page_is_for(
        self, unlocked: Browser, database: Database
    ) -> None:
        answer = unlocked.post("/parameters", self.FIRST, htmx=True)
        assert answer.headers["HX-Retarget"] == "main"
        assert 'id="status"' in answer.text
        assert "Kadavu · satellite 7" in words(answer.text)
        assert settings(database).url == "https://central.example.org"

    def test_without_script_it_leads_back_to_the_page(self, unlocked: Browser) -> None:
        answer = unlocked.post("/parameters", self.FIRST)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/#parameters")
        assert "Kadavu · satellite 7" in words(unlocked.get("/").text)

    @either
    def test_every_bad_value_has_its_reason_and_loses_nothing(
        self, unlocked: Browser, database: Database, htmx: bool
    ) -> None:
        sent = {**self.FIRST, "url": "ftp://x", "request_size": "5", "name": "x" * 99}
        answer = unlocked.post("/parameters", sent, htmx=htmx)
        assert answer.status_code == 422
        assert "A URL begins with https:// or http://." in answer.text
        assert "Automatic (empty), or from 10 to 5000 records." in answer.text
        assert "At most 80 characters." in answer.text
        for name in ("url", "request_size", "name"):
            assert f'aria-describedby="p-{name}"' in answer.text
            assert f'value="{sent[name]}"' in answer.text
        assert settings(database).sync_id is None
        # The password waits in the form, and nobody can read it there.
        assert "coral letters" not in answer.text
        again = {**self.FIRST, "password": "", "typed": hidden(answer.text, "typed")}
        unlocked.post("/parameters", again, htmx=htmx)
        vault = Vault([SECRET_KEY])
        assert read_password(settings(database), vault) == "coral letters"

    def test_http_to_a_public_address_is_warned_of(
        self, unlocked: Browser, database: Database
    ) -> None:
        sent = {**self.FIRST, "url": "http://central.example.org"}
        answer = unlocked.post("/parameters", sent, htmx=True)
        assert answer.status_code == 422
        assert '<input type="checkbox" name="confirmed" value="url_http"' in answer.text
        unlocked.post("/parameters", {**sent, "confirmed": "url_http"}, htmx=True)
        assert settings(database).url == "http://central.example.org"


class TestSatellite:
    @pytest.fixture(autouse=True)
    def satellite(self, database: Database, config: Config) -> None:
        make_satellite(database, config)

    def test_while_locked_they_are_text_without_the_password(self, manager: Browser) -> None:
        page = words(manager.get("/").text)
        assert "Password set, changed 23 November 2026" in page
        assert "coral letters" not in page
        assert "URL http://127.0.0.1:9" in page

    def test_what_the_form_does_not_send_stays(self, unlocked: Browser, database: Database) -> None:
        sent = {"store": "KDV-02", "version": version(database)}
        answer = unlocked.post("/parameters", sent, htmx=True, **HERE)
        assert answer.status_code == 200
        kept = settings(database)
        assert (kept.store, kept.sync_id, kept.user_name) == ("KDV-02", 7, "fiji")
        assert kept.has_password

    def test_the_row_shows_a_new_url_at_once(self, unlocked: Browser, database: Database) -> None:
        sent = {"url": "https://new.example.org", "version": version(database)}
        answer = unlocked.post("/parameters", sent, htmx=True, **HERE)
        rows = answer.text[answer.text.index('<tbody id="rows"') :]
        assert "https://new.example.org" in rows

    def test_protocol_and_certificate_are_saved(
        self, unlocked: Browser, database: Database
    ) -> None:
        page = unlocked.get("/").text
        assert '<option value="ask" selected>' in page
        sent = {"protocol": "v5", "fingerprint": "ab:" * 31 + "ab", "version": version(database)}
        unlocked.post("/parameters", sent)
        assert settings(database).protocol == "v5"
        assert settings(database).fingerprint == "ab" * 32
        unlocked.post("/lock")
        assert "Certificate fingerprint abababab…" in words(unlocked.get("/").text)

    @pytest.mark.parametrize("field", ["url", "proxy"])
    @either
    def test_a_password_in_a_url_is_not_shown_again(
        self, manager: Browser, database: Database, htmx: bool, field: str
    ) -> None:
        sent = {field: "http://clinic:palm@x/y@proxy:3128", "version": version(database)}
        # Asked for the code, and refused.
        locked = manager.post("/parameters", sent, htmx=htmx)
        manager.unlock()
        refused = manager.post("/parameters", sent, htmx=htmx)
        assert refused.status_code == 422
        assert "No user name or password here" in refused.text
        assert 'value="http://clinic@proxy:3128"' in refused.text
        assert "palm" not in locked.text + refused.text

    def test_a_proxy_is_saved_and_its_password_is_nowhere(
        self, unlocked: Browser, database: Database
    ) -> None:
        sent = {"proxy": "proxy:3128", "proxy_user": "clinic", "proxy_password": "reef and palm"}
        unlocked.post("/parameters", {**sent, "version": version(database)})
        kept = settings(database)
        assert (kept.proxy, kept.proxy_user) == ("http://proxy:3128", "clinic")
        assert "reef" not in (kept.proxy_password_sealed or "reef")
        pages = [unlocked.get(path).text for path in ("/", "/activity")]
        assert "Password at the proxy: changed" in words(pages[1])
        unlocked.post("/lock")
        pages.append(unlocked.get("/").text)
        assert "Proxy http://proxy:3128" in words(pages[2])
        assert not any("reef" in page for page in pages)

    @pytest.mark.parametrize("ends", ["-----END RSA PRIVATE KEY-----", ""])
    @either
    def test_a_private_key_is_not_shown_again(
        self, manager: Browser, database: Database, htmx: bool, ends: str
    ) -> None:
        key = f"-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n{ends}"
        sent = {"private_ca": f"# ours\n{key}", "version": version(database)}
        # Asked for the code, and refused.
        locked = manager.post("/parameters", sent, htmx=htmx)
        manager.unlock()
        answer = manager.post("/parameters", sent, htmx=htmx)
        assert (locked.status_code, answer.status_code) == (403, 422)
        assert "There is a private key in it." in answer.text
        assert "# ours" in answer.text
        for shown in (locked, answer):
            assert "c2VjcmV0" not in shown.text
        assert settings(database).private_ca == ""

    @either
    def test_a_wrong_certificate_is_named_beside_its_field(
        self, unlocked: Browser, database: Database, htmx: bool
    ) -> None:
        sent = {"private_ca": "no certificate", "version": version(database)}
        answer = unlocked.post("/parameters", sent, htmx=htmx)
        assert answer.status_code == 422
        field = re.search(r'<textarea name="private_ca"[^>]*>', answer.text)
        assert field
        for flaw in ('aria-invalid="true"', 'aria-describedby="p-private_ca"', " autofocus"):
            assert flaw in field[0]
        assert 'id="p-private_ca"' in answer.text

    @either
    def test_who_comes_second_sees_field_by_field_who_changed_what(
        self, unlocked: Browser, database: Database, htmx: bool
    ) -> None:
        seen = version(database)
        unlocked.post("/parameters", {"name": "Kadavu East", "version": seen})
        sent = {"name": "Kadavu West", "request_size": "50", "version": seen}
        answer = unlocked.post("/parameters", sent, htmx=htmx)
        assert answer.status_code == 409
        told = words(answer.text)
        assert re.search(r"asha, \S.{,30} : Name Kadavu → Kadavu East", told)
        assert "Save mine over it Take theirs" in told
        assert 'value="Kadavu West"' in answer.text
        assert settings(database).name == "Kadavu East"
        over = {**sent, "version": hidden(answer.text, "version")}
        unlocked.post("/parameters", over, htmx=htmx)
        assert (settings(database).name, settings(database).request_size) == ("Kadavu West", 50)

    def test_theirs_can_be_taken(self, unlocked: Browser) -> None:
        assert 'value="Kadavu"' in unlocked.get("/parameters", htmx=True).text
        assert 'value="Kadavu"' in unlocked.get("/parameters").text

    @either
    def test_removing_the_password_asks_first(
        self, unlocked: Browser, database: Database, htmx: bool
    ) -> None:
        address = "/parameters/password/remove"
        asked = unlocked.post(address, {"version": version(database)}, htmx=htmx)
        assert "Sync stops until one is typed again." in asked.text
        assert settings(database).has_password
        assert "Sync stops" not in unlocked.get(address, htmx=htmx).text
        sent = {"version": version(database), "confirmed": "1"}
        done = unlocked.post(address, sent, htmx=htmx)
        assert not settings(database).has_password
        if htmx:
            # The form that stands open goes on from the new version, with all that is typed in it.
            assert f'name="version" value="{version(database)}"' in done.text
            assert 'name="name"' not in done.text
        else:
            assert done.status_code == 303

    def test_a_password_changed_meanwhile_is_not_removed_unseen(
        self, unlocked: Browser, database: Database
    ) -> None:
        sent = {"version": version(database), "confirmed": "1"}
        unlocked.post("/parameters", {"password": "another one", "version": version(database)})
        answer = unlocked.post("/parameters/password/remove", sent, htmx=True)
        assert answer.status_code == 409
        assert "Password changed → changed" in words(answer.text)
        assert settings(database).has_password

    @either
    def test_a_lock_that_ran_out_asks_and_then_saves_what_was_typed(
        self, unlocked: Browser, database: Database, time: Clock, htmx: bool
    ) -> None:
        time.pass_by(minutes=16)
        sent = {"store": "KDV-02", "password": "other letters", "version": version(database)}
        asked = unlocked.post("/parameters", sent, htmx=htmx)
        assert asked.status_code == 403
        assert 'name="authorisation_code"' in asked.text
        assert "other letters" not in asked.text
        assert settings(database).store == "KDV-01"
        if htmx:
            assert asked.headers["HX-Retarget"] == "find .prompt"
        else:
            assert 'value="KDV-02"' in asked.text
            sent = {**sent, "password": "", "typed": hidden(asked.text, "typed")}
        done = unlocked.post("/parameters", {**sent, "authorisation_code": CODE}, htmx=htmx)
        assert done.status_code == (200 if htmx else 303)
        assert settings(database).store == "KDV-02"
        if htmx:
            # The bar says anew until when.
            assert "Unlocked until 09:31" in words(done.text)


class TestPrimary:
    @pytest.fixture(autouse=True)
    def rows(self, database: Database, config: Config) -> list[int]:
        return make_primary(database, config)

    def test_another_name_is_shown_wherever_it_stands(
        self, unlocked: Browser, database: Database
    ) -> None:
        sent = {"name": "Central Store", "version": version(database)}
        answer = unlocked.post("/parameters", sent, htmx=True)
        assert "Central Store · primary · Sync ID 1" in words(answer.text)
        assert re.search(r'id="self"[^>]*>\s*<tr>.*Central Store', answer.text)

    def test_a_sync_id_of_the_list_is_refused(self, unlocked: Browser, database: Database) -> None:
        sent = {"sync_id": "8", "version": version(database)}
        answer = unlocked.post("/parameters", sent, htmx=True)
        assert answer.status_code == 422
        assert "8 Rotuma" in answer.text

    def test_a_url_is_warned_of_and_then_disables_sync(
        self, unlocked: Browser, database: Database
    ) -> None:
        sent = {"url": "https://elsewhere.example.org", "version": version(database)}
        asked = unlocked.post("/parameters", sent, htmx=True)
        assert "a URL here disables sync for all" in asked.text
        answer = unlocked.post("/parameters", {**sent, "confirmed": "url_on_primary"}, htmx=True)
        assert "Sync is disabled: this server is a primary and has a URL." in answer.text
        assert "URL of this server" in answer.text

    @either
    def test_each_culprit_is_cleared_where_it_is_named(
        self, unlocked: Browser, database: Database, rows: list[int], htmx: bool
    ) -> None:
        with database.writing() as session:
            session.get_one(Settings, 1).url = "https://elsewhere.example.org"
            session.get_one(Server, rows[1]).url = "https://rotuma.example.org"
        own = unlocked.post("/parameters/url/clear", htmx=htmx)
        page = own.text if htmx else unlocked.get("/").text
        assert "URL of this server" not in page
        assert "URL of 8 Rotuma" in page
        last = unlocked.post(f"/servers/{rows[1]}/url/clear", htmx=htmx)
        page = last.text if htmx else unlocked.get("/").text
        assert "0 of 2 satellites up to date." in page

    def test_clearing_on_a_locked_page_unlocks_it_all(
        self, manager: Browser, database: Database, happened: Happened
    ) -> None:
        with database.writing() as session:
            session.get_one(Settings, 1).url = "https://elsewhere.example.org"
        asked = manager.post("/parameters/url/clear", {"parameters": "text"}, htmx=True)
        assert asked.status_code == 403
        assert happened("refused_locked")
        sent = {"parameters": "text", "authorisation_code": CODE}
        done = manager.post("/parameters/url/clear", sent, htmx=True)
        assert 'id="parameters-form"' in done.text
        assert "Unlocked until" in words(done.text)
        assert settings(database).url == ""
