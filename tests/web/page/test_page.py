"""The page: what it shows to whom, its list, and when it has not changed."""

import random
import re
from datetime import timedelta

import pytest
from sqlalchemy import event, select

from panel.config import Config
from panel.db import Database
from panel.models.base import searchable
from panel.models.runs import Run
from panel.models.settings import Server, Settings
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from tests.support.cast import MANAGER, OPERATOR, SECRET_KEY, VIEWER
from tests.support.clock import Clock
from tests.support.web_sites import make_primary, make_satellite, words
from tests.web.conftest import Browser, MakeApp, signed_in

HERE = {"HX_Current_URL": "http://localhost/"}


def add_many(database: Database, count: int) -> None:
    """Rows straight into the table: the rules of adding are tested elsewhere."""
    with database.writing() as session:
        for sync_id in range(100, 100 + count):
            name, store = f"Clinic {sync_id}", f"C-{sync_id}"
            session.add(
                Server(
                    sync_id=sync_id,
                    name=name,
                    store=store,
                    name_key=searchable(name),
                    store_key=searchable(store),
                    user_name_key="",
                )
            )


def sync_ids(html: str) -> list[int]:
    """The Sync IDs of the rows, in the order of the list."""
    rows = re.findall(r'<tr id="s\d+">.*?</tr>', html, re.DOTALL)
    return [int(re.findall(r"<td>(\d+)</td>", row)[0]) for row in rows]


class TestStandAlone:
    def test_it_says_that_the_preferences_can_be_ignored_and_how_to_start(
        self, manager: Browser
    ) -> None:
        page = words(manager.get("/").text)
        assert "These preferences can be ignored." in page
        assert "give this server a Sync ID: 1 for the primary" in page

    def test_its_interval_and_plus_cannot_be_used(self, unlocked: Browser) -> None:
        page = unlocked.get("/").text
        assert re.search(r'name="interval_minutes"[^>]* disabled', page)
        assert re.search(r'id="add"[^>]* disabled', page)


class TestPrimary:
    @pytest.fixture(autouse=True)
    def rows(self, database: Database, config: Config) -> list[int]:
        return make_primary(database, config)

    def test_it_lists_itself_first_and_unremovable(self, unlocked: Browser) -> None:
        page = unlocked.get("/").text
        own = re.search(r'<tbody id="self">(.*?)</tbody>', page, re.DOTALL)
        assert own is not None
        assert "National Store" in own[1]
        assert "checkbox" not in own[1]
        assert sync_ids(page) == [7, 8]

    def test_its_sentence_counts_the_satellites(self, manager: Browser) -> None:
        assert "0 of 2 satellites up to date. 2 not yet seen" in words(manager.get("/").text)

    def test_how_late_a_satellite_is_stands_in_a_word(
        self, manager: Browser, database: Database, rows: list[int], time: Clock
    ) -> None:
        with database.writing() as session:
            session.get_one(Server, rows[0]).last_success_at = time() - timedelta(days=2)
        page = manager.get("/").text
        at = "<time datetime=2026-11-21T09:00Z>21 Nov 2026, 09:00</time>"
        assert f'class="late">late</a> {at}' in page
        assert 'class="not_seen">not yet seen' in page

    def test_plus_and_minus_are_disabled_while_locked(
        self, manager: Browser, unlocked: Browser
    ) -> None:
        assert not re.search(r'id="add"[^>]* disabled', unlocked.get("/").text)
        unlocked.post("/lock")
        page = manager.get("/").text
        assert re.search(r'id="add"[^>]* disabled', page)
        assert re.search(r'aria-label="Remove the selected servers" disabled', page)

    def test_who_may_not_edit_gets_nothing_to_press(self, viewer: Browser) -> None:
        page = viewer.get("/").text
        assert "Click to un-lock" not in page
        assert 'class="edit"' not in page
        assert re.search(r'name="interval_minutes"[^>]* disabled', page)

    def test_a_url_disables_sync_and_its_culprit_can_be_cleared(
        self, manager: Browser, database: Database
    ) -> None:
        with database.writing() as session:
            session.get_one(Settings, 1).url = "https://elsewhere.example.org"
        page = manager.get("/").text
        assert "Sync is disabled: this server is a primary and has a URL." in page
        assert "URL of this server" in page
        assert 'action="/parameters/url/clear"' in page

    def test_the_last_runs_are_drawn(
        self, manager: Browser, database: Database, time: Clock
    ) -> None:
        with database.writing() as session:
            session.add(Run(other=7, started_at=time(), pushed=99, result="well"))
            later = time() + timedelta(minutes=10)
            session.add(Run(other=7, started_at=later, result="failed"))
        page = manager.get("/").text
        assert 'aria-label="the last 2 runs"' in page
        assert '<path class="bad" d="M3 9v3h2V9"/>' in page

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", [7, 8]),
            ("?sort=name", [7, 8]),
            ("?sort=name&dir=down", [8, 7]),
            ("?sort=store&dir=down", [8, 7]),
            ("?sort=hardware_id", [7, 8]),
            ("?sort=last_success_at&dir=down", [7, 8]),
            ("?sort=nonsense&page=-3", [7, 8]),
            ("?page=999999999999999999999", [7, 8]),
            ("?find=rot", [8]),
            ("?find=8", [8]),
            ("?find=KDV", [7]),
        ],
    )
    @pytest.mark.parametrize("htmx", [False, True])
    def test_the_list_is_sorted_and_searched(
        self, manager: Browser, query: str, expected: list[int], htmx: bool
    ) -> None:
        answer = manager.get(f"/{query}", htmx=htmx)
        assert sorted(sync_ids(answer.text)) == sorted(expected)
        if "sort=name" in query or "sort=store" in query:
            assert sync_ids(answer.text) == expected

    def test_finding_nothing_says_so(self, manager: Browser) -> None:
        answer = manager.get("/?find=zzz", htmx=True)
        assert "No server has a word that begins with “zzz”." in answer.text
        assert "0 of 2" in answer.text

    def test_a_fragment_is_the_list_alone_and_its_address_is_shown(self, manager: Browser) -> None:
        answer = manager.get("/?find=rot&sort=name", htmx=True)
        assert "<html" not in answer.text
        assert answer.text.startswith('<tbody id="rows">')
        assert answer.headers["HX-Replace-Url"] == "/?find=rot&sort=name"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "HX-Request" in manager.get("/?find=rot&sort=name").headers["Vary"]

    def test_the_order_goes_along_with_the_next_search(self, manager: Browser) -> None:
        page = manager.get("/?sort=name&dir=down").text
        assert '<input type="hidden" form="find" name="sort" value="name">' in page
        assert '<input type="hidden" form="find" name="dir" value="down">' in page
        assert 'aria-sort="descending"' in page


class TestManyServers:
    @pytest.fixture(autouse=True)
    def primary(self, database: Database, config: Config) -> None:
        make_primary(database, config)

    def test_pages_hold_fifty(self, manager: Browser, database: Database) -> None:
        add_many(database, 60)
        first, second = manager.get("/").text, manager.get("/?page=2").text
        assert len(sync_ids(first)) == 50
        assert len(sync_ids(second)) == 12
        assert "page 1 of 2" in first
        assert 'href="/?page=2"' in first
        assert "62 of 62" in second

    def test_queries_do_not_grow_with_rows(self, manager: Browser, database: Database) -> None:
        asked: list[str] = []
        event.listen(database.engine, "before_cursor_execute", lambda *a: asked.append(str(a[2])))
        manager.get("/")
        few = len(asked)
        add_many(database, 45)
        asked.clear()
        manager.get("/")
        assert len(asked) <= few


class TestSatellite:
    @pytest.fixture(autouse=True)
    def satellite(self, database: Database, config: Config) -> None:
        make_satellite(database, config)

    def test_its_one_row_shows_the_url_of_the_parameters(self, manager: Browser) -> None:
        page = words(manager.get("/").text)
        assert "1 National Store NAT-01 http://127.0.0.1:9" in page
        assert "Kadavu · satellite 7" in page

    def test_it_takes_no_second_server(self, unlocked: Browser) -> None:
        assert re.search(r'id="add"[^>]* disabled', unlocked.get("/").text)


class TestWeight:
    """A list of 50 rows as they are after some weeks, each with a machine and a last success."""

    ISLANDS = ("Kadavu", "Rotuma", "Lau", "Ba", "Taveuni", "Vunidawa", "Levuka", "Lomaloma")
    KINDS = ("Hospital", "Health Centre", "Clinic", "Nursing Station")

    @pytest.fixture(autouse=True)
    def primary(self, database: Database, config: Config, time: Clock) -> None:
        make_primary(database, config)
        add_many(database, 60)
        chance = random.Random(50)  # noqa: S311 - not for secrets
        with database.writing() as session:
            for row in session.scalars(select(Server)):
                row.name = f"{chance.choice(self.ISLANDS)} {chance.choice(self.KINDS)}"
                row.store = f"{row.name[:3].upper()}-{row.sync_id}"
                row.hardware_id = f"{chance.getrandbits(64):016x}"
                row.last_success_at = time() - timedelta(minutes=chance.randrange(5000))

    def test_a_list_swapped_is_light(self, manager: Browser) -> None:
        for query in ("sort=name", "sort=store&dir=down", "page=2"):
            answer = manager.get(f"/?{query}", htmx=True, Accept_Encoding="br")
            assert len(answer.data) < 2000

    def test_the_page_is_light(self, manager: Browser) -> None:
        assert len(manager.get("/", Accept_Encoding="br").data) < 5500


class TestNotChanged:
    @pytest.fixture(autouse=True)
    def primary(self, database: Database, config: Config) -> None:
        make_primary(database, config)

    def test_a_page_that_did_not_change_is_not_sent_again(self, manager: Browser) -> None:
        mark = manager.get("/").headers["ETag"]
        answer = manager.get("/", If_None_Match=mark)
        assert answer.status_code == 304
        assert not answer.data

    def test_whatever_changes_is_sent(
        self, manager: Browser, viewer: Browser, database: Database, time: Clock
    ) -> None:
        marks = [manager.get("/").headers["ETag"]]

        def changed() -> bool:
            marks.append(manager.get("/").headers["ETag"])
            return marks[-1] != marks[-2]

        with database.writing() as session:
            add_server(session, OPERATOR, ServerFields(9, "Lau", "LAU"))
        assert changed()
        manager.post("/interval", {"interval_minutes": "20", "version": "1"})
        assert changed()
        manager.unlock()
        assert changed()
        time.pass_by(minutes=20)
        assert changed()
        with database.writing() as session:
            server = session.scalars(select(Server)).first()
            assert server is not None
            server.last_success_at = time()
        assert changed()
        # Longer than any session lasts.
        time.pass_by(days=2)
        manager.sign_in(MANAGER)
        viewer.sign_in(VIEWER)
        assert changed()
        assert viewer.get("/").headers["ETag"] not in marks

    def test_after_a_new_key_whoever_signs_in_again_gets_a_page_that_works(
        self, make_app: MakeApp, manager: Browser
    ) -> None:
        mark = manager.get("/").headers["ETag"]
        keys = ("a newer key of thirty-two letters or so", SECRET_KEY)
        again = signed_in(make_app(secret_keys=keys), MANAGER)
        assert again.get("/", If_None_Match=mark).status_code == 200

    def test_a_history_restore_gets_the_whole_page(self, manager: Browser) -> None:
        answer = manager.get("/", htmx=True, HX_History_Restore_Request="true")
        assert answer.text.startswith("<!doctype html>")


def test_an_address_that_is_none_is_the_beginning_of_the_list(viewer: Browser) -> None:
    assert viewer.get("/bar", htmx=True, HX_Current_URL="http://[::").status_code == 200


# --- whose it is ----------------------------------------------------------------------------------

TITLES = {
    "/": "Synchronisation",
    "/activity": "Activity",
    "/nowhere": "This did not work",
    "/people": "People",
    "/servers/1/sync": "7 Kadavu",
}


@pytest.mark.parametrize("path", TITLES)
def test_every_title_says_whose_page_it_is(
    manager: Browser, database: Database, config: Config, path: str
) -> None:
    make_primary(database, config)
    assert f"<title>National Store · {TITLES[path]}</title>" in manager.get(path).text


def test_the_sign_in_says_whose_it_is_but_not_under_a_name_of_another_site(
    make_app: MakeApp, database: Database, config: Config
) -> None:
    make_primary(database, config)
    stranger = Browser(make_app(allowed_hosts=("panel.example.org",)))
    assert "<title>National Store · Sign in</title>" in stranger.get("/sign-in").text
    refused = stranger.get("/sign-in", Host="rebound.example.com")
    assert refused.status_code == 400
    assert "National Store" not in refused.text


def test_a_server_without_a_name_has_a_title_without_one(manager: Browser) -> None:
    assert "<title>Synchronisation</title>" in manager.get("/").text


def test_a_new_name_is_in_the_title_at_once(
    manager: Browser, database: Database, config: Config
) -> None:
    make_primary(database, config)
    manager.unlock()
    with database.reading() as session:
        version = session.get_one(Settings, 1).parameters_version
    form = {"sync_id": "1", "name": "Central Store", "store": "NAT-01", "user_name": "fiji"}
    saved = manager.post("/parameters", {**form, "version": str(version)}, htmx=True, **HERE)
    assert "<title>Central Store · Synchronisation</title>" in saved.text
