"""How the sync stands and goes on a satellite's screen, and what a person may ask of it."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, select
from werkzeug.test import TestResponse

from panel import clock
from panel.config import Config
from panel.db import Database
from panel.models.people import Activity
from panel.models.records import Record
from panel.models.runs import InitialiseState, Link, Loop, Run, RunResult, RunStep
from panel.models.settings import Server, Settings
from panel.sync.store.records import put_record
from tests.support.cast import CODE
from tests.support.clock import Clock
from tests.support.web_sites import URL, make_satellite, words
from tests.web.conftest import Browser
from tests.web.page.test_weight import weight

# What the script reads where it asks how a run goes: the address, and every so many seconds.
POLL, SELDOM = 'data-due="/sync/run 5"', 'data-due="/sync/run 30"'
# What one answer of the poll may weigh, headers and all.
MOST_POLL_BYTES = 300
# And one with a new sentence, and what to do.
MOST_CHANGED_BYTES = 480
# Field, what the primary says, what this satellite says.
DIFFERENCES = [["store", "KDV-10", "KDV-01"], ["primary_name", "NMS", "National Store"]]


@pytest.fixture(autouse=True)
def satellite(database: Database, config: Config) -> None:
    make_satellite(database, config)
    with database.writing() as session:
        put_record(session, 7, "stock", "a", {"packs": 1})


@pytest.fixture
def run(database: Database, time: Clock) -> Run:
    """A run that goes on."""
    run = Run(other=1, started_at=time(), step="pushing", pushed=120, to_push=400)
    with database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.holder, loop.held_until = "here", time() + timedelta(minutes=1)
        session.add(run)
    return run


@pytest.fixture
def differing(database: Database, time: Clock) -> None:
    """The primary refused because of what the two are called."""
    with database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.refusal, loop.refusal_values = "identity_differs", {"differences": DIFFERENCES}
        loop.refused_at = time()


def asked(database: Database) -> bool:
    with database.reading() as session:
        return session.get_one(Loop, 1).asked_at is not None


# --- Sync now and the run that follows ------------------------------------------------------------


def test_sync_now_asks_the_loop_and_the_page_begins_to_poll(
    manager: Browser, database: Database, happened: Callable[..., list[Activity]]
) -> None:
    answer = manager.post("/sync/now", htmx=True)
    assert answer.status_code == 200
    assert POLL in answer.text
    assert "begins in a moment" in words(answer.text)
    assert asked(database)
    assert happened("sync_asked")


def test_sync_now_without_scripting_goes_back_to_the_page(
    manager: Browser, database: Database
) -> None:
    answer = manager.post("/sync/now")
    assert (answer.status_code, answer.location) == (303, "/#status")
    assert asked(database)


def test_who_may_not_edit_asks_for_no_sync(viewer: Browser, database: Database) -> None:
    assert viewer.post("/sync/now").status_code == 403
    assert not asked(database)
    assert "Sync now" not in viewer.get("/").text


def test_nobody_asks_for_no_sync(nobody: Browser, database: Database) -> None:
    assert nobody.post("/sync/now").status_code in (401, 303)
    assert nobody.get("/sync/run", htmx=True).status_code == 401
    assert not asked(database)


def test_sync_now_waits_for_an_address_on_the_page_that_stands(
    unlocked: Browser, database: Database
) -> None:
    def save(url: str) -> str:
        with database.reading() as session:
            version = session.get_one(Settings, 1).parameters_version
        sent = {"url": url, "version": version}
        return unlocked.post("/parameters", sent, htmx=True).text

    assert "disabled>Sync now" in save("")
    assert '"now">Sync now' in save(URL)


def test_a_page_at_rest_does_not_poll(manager: Browser) -> None:
    assert POLL not in manager.get("/").text


@pytest.mark.usefixtures("run")
def test_a_run_is_shown_with_its_step_and_counts(manager: Browser) -> None:
    page = manager.get("/").text
    assert POLL in page
    assert "Syncing now: 120 of 400 records sent" in words(page)
    assert '<progress value="120" max="400">' in page


@pytest.mark.usefixtures("run")
def test_a_run_whose_loop_died_is_not_shown_until_the_minute_is_over(
    manager: Browser, database: Database, time: Clock
) -> None:
    with database.writing() as session:
        session.get_one(Loop, 1).held_until = time() + timedelta(seconds=20)
    assert "Syncing now" in manager.get("/").text
    time.pass_by(seconds=25)
    assert "Syncing now" not in manager.get("/").text


@pytest.mark.usefixtures("run")
def test_a_browser_that_saves_data_asks_less_often(manager: Browser) -> None:
    assert SELDOM in manager.get("/", Save_Data="on").text
    # Neither page is taken for the other.
    assert POLL in manager.get("/").text


def test_the_poll_moves_and_is_light(manager: Browser, run: Run, database: Database) -> None:
    with database.writing() as session:
        row = session.get_one(Run, run.id)
        row.step, row.pulled, row.to_pull = RunStep.PULLING_CENTRAL, 1_500, 4_000
    answer = manager.get("/sync/run", htmx=True)
    assert words(answer.text) == "Syncing now: 1,500 of 4,000 records received."
    assert weight(answer) <= MOST_POLL_BYTES


def test_a_primary_that_answers_nothing_can_be_stopped(
    manager: Browser,
    run: Run,
    database: Database,
    time: Clock,
    happened: Callable[..., list[Activity]],
) -> None:
    assert ">Stop<" not in manager.get("/").text
    with database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.started_at, loop.silent_since = time(), time() - timedelta(seconds=21)
    # The page that was open gets the button with its next question, and once.
    answer = manager.get("/sync/run", htmx=True)
    assert answer.headers["HX-Retarget"] == "#status"
    assert "No answer from National Store for 21 s. Trying until 09:01" in words(answer.text)
    assert 'action="/sync/stop"' in answer.text
    assert "next try" not in answer.text
    assert ">Stop<" in answer.text
    assert 'data-due="/sync/run?silent=True 5"' in answer.text
    again = manager.get("/sync/run?silent=True", htmx=True)
    assert "HX-Retarget" not in again.headers
    assert words(again.text).startswith("No answer from National Store for 21 s.")
    stopping = manager.post("/sync/stop", htmx=True)
    assert "Stopping." in words(stopping.text)
    assert ">Stop<" not in stopping.text
    assert happened("sync_stopped")
    with database.writing() as session:
        row = session.get_one(Run, run.id)
        row.ended_at, row.result, row.reason = time(), RunResult.CUT_OFF, "stopped_by_hand"
    assert "It was stopped here" in words(manager.get("/runs").text)


@pytest.mark.usefixtures("run")
def test_stop_without_scripting_goes_back_to_the_page(manager: Browser) -> None:
    answer = manager.post("/sync/stop")
    assert (answer.status_code, answer.location) == (303, "/#status")
    assert "Stopping." in words(manager.get("/").text)


@pytest.mark.usefixtures("run")
def test_who_may_not_edit_stops_nothing(viewer: Browser, database: Database) -> None:
    assert viewer.post("/sync/stop").status_code == 403
    with database.reading() as session:
        assert session.get_one(Loop, 1).stop_asked_at is None


def test_the_poll_ends_with_the_run(manager: Browser, run: Run, database: Database) -> None:
    with database.writing() as session:
        row = session.get_one(Run, run.id)
        row.ended_at, row.result = row.started_at, RunResult.WELL
    answer = manager.get("/sync/run", htmx=True)
    assert answer.headers["HX-Retarget"] == "#status"
    assert POLL not in answer.text
    assert "Sync: not yet synchronised." in answer.text


def test_a_question_that_no_loop_hears_is_said_and_no_longer_polled(
    manager: Browser, time: Clock
) -> None:
    manager.post("/sync/now")
    assert POLL in manager.get("/").text
    time.pass_by(minutes=1)
    page = manager.get("/").text
    assert POLL not in page
    assert "no sync process seems to run" in words(page)


def test_the_page_is_a_new_one_while_a_run_moves(
    manager: Browser, run: Run, database: Database
) -> None:
    mark = manager.get("/").headers["ETag"]
    assert manager.get("/", If_None_Match=mark).status_code == 304
    with database.writing() as session:
        session.get_one(Run, run.id).pushed += 10
    assert manager.get("/", If_None_Match=mark).status_code == 200


def test_why_the_primary_cannot_be_reached_is_said(
    manager: Browser, database: Database, time: Clock
) -> None:
    values = {"host": "central.example.org"}
    with database.writing() as session:
        session.get_one(Loop, 1).failures = 1
        session.add(
            Run(
                **{"other": 1, "started_at": time(), "ended_at": time(), "result": "failed"},
                **{"reason": "name_not_found", "reason_values": values},
            )
        )
    page = words(manager.get("/").text)
    assert "The name central.example.org was not found. Check the URL" in page


# --- a page that stays open -----------------------------------------------------------------------


def synchronised(database: Database, at: datetime) -> None:
    """Let a run begin and succeed at that time, with everything sent."""
    with database.writing() as session:
        link, loop = session.get_one(Link, 1), session.get_one(Loop, 1)
        link.last_success_at = link.last_attempt_at = loop.started_at = at
        session.add(Run(other=1, started_at=at, ended_at=at, result="well"))


def next_question(answer: TestResponse) -> tuple[str, int]:
    """Return the address that the script asks by itself, "" if none, and in how many seconds."""
    found = re.search(r'<span data-due="(\S*) (\d+)', answer.text)
    assert found
    return found[1], int(found[2])


def test_a_page_asks_once_a_run_was_due_and_the_usual_answer_is_light(
    manager: Browser, database: Database, time: Clock
) -> None:
    synchronised(database, time())
    for language in ("en", "ar"):
        path, seconds = next_question(manager.get("/", Accept_Language=language))
        assert 9 * 60 < seconds < 12 * 60
        synchronised(database, time.pass_by(seconds=seconds))
        answer = manager.get(path, htmx=True, Accept_Language=language, Accept_Encoding="br")
        assert weight(answer) <= MOST_POLL_BYTES
        # The last success, in the verdict and in the row; and when to ask next.
        assert answer.text.count(f"datetime={time():%Y-%m-%dT%H:%MZ}") == 2
        assert next_question(answer)[0] == path
        assert 9 * 60 < next_question(answer)[1] < 12 * 60


def test_a_verdict_that_changed_comes_alone_with_the_rows_word(
    manager: Browser, database: Database, time: Clock
) -> None:
    synchronised(database, time())
    path, _ = next_question(manager.get("/"))
    with database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.refusal, loop.refused_at = "site_incorrect_password", time()
    answer = manager.get(path, htmx=True)
    assert "does not accept the Password" in answer.text
    assert '<span class="very_late">refused</span>' in answer.text
    assert not {"HX-Retarget", "HX-Reswap"} & set(answer.headers)
    assert weight(manager.get(path, htmx=True, Accept_Encoding="br")) < MOST_CHANGED_BYTES
    # The script finds its place by this.
    assert answer.text.strip().startswith("<h2")


def test_what_stands_beside_the_verdict_comes_once_it_changed(
    manager: Browser, database: Database, time: Clock
) -> None:
    synchronised(database, time())
    path, _ = next_question(manager.get("/"))
    with database.writing() as session:
        session.get_one(Settings, 1).interval_minutes = 0
    answer = manager.get(path, htmx=True)
    assert answer.headers["HX-Retarget"] == "#status"
    assert '<button id="now" disabled>' in answer.text


def test_a_run_that_is_due_and_lasts_is_shown(manager: Browser, run: Run) -> None:
    assert run.ended_at is None
    answer = manager.get("/sync/run/old", htmx=True)
    assert answer.headers["HX-Retarget"] == "#status"
    assert POLL in answer.text


def test_a_browser_that_saves_data_asks_nothing_by_itself(
    manager: Browser, database: Database, time: Clock
) -> None:
    synchronised(database, time())
    saving, other = manager.get("/", Save_Data="on"), manager.get("/")
    assert next_question(saving)[0] == ""
    assert saving.headers["ETag"] != other.headers["ETag"]


def test_while_nothing_is_due_nothing_is_asked(manager: Browser, database: Database) -> None:
    with database.writing() as session:
        session.get_one(Settings, 1).interval_minutes = 0
    assert "data-due" not in manager.get("/").text


def test_to_ask_is_no_use_of_the_session(manager: Browser, time: Clock) -> None:
    path, _ = next_question(manager.get("/"))
    for _ in range(5):
        time.pass_by(minutes=20)
        answer = manager.get(path, htmx=True)
    assert answer.status_code == 401


# --- initialise -----------------------------------------------------------------------------------


def initialise_of(database: Database) -> str:
    with database.reading() as session:
        return session.get_one(Link, 1).initialise


@pytest.fixture
def initialised(database: Database) -> None:
    with database.writing() as session:
        session.get_one(Link, 1).initialise = InitialiseState.DONE


@pytest.mark.usefixtures("initialised")
class TestInitialise:
    def test_a_server_with_records_asks_for_the_code(
        self, manager: Browser, database: Database, happened: Callable[..., list[Activity]]
    ) -> None:
        answer = manager.post("/sync/initialise", {"confirmed": "1"})
        assert answer.status_code == 403
        assert 'name="authorisation_code"' in answer.text
        assert happened("refused_locked")
        assert initialise_of(database) == "done"

    def test_unlocked_it_asks_once_more(self, unlocked: Browser, database: Database) -> None:
        answer = unlocked.post("/sync/initialise", htmx=True)
        assert "Initialise?" in answer.text
        assert initialise_of(database) == "done"

    def test_confirmed_it_begins(
        self, unlocked: Browser, database: Database, happened: Callable[..., list[Activity]]
    ) -> None:
        answer = unlocked.post("/sync/initialise", {"confirmed": "1"}, htmx=True)
        assert answer.status_code == 200
        assert initialise_of(database) == "needed"
        assert asked(database)
        assert happened("initialise_asked")

    def test_sent_again_while_it_runs_it_goes_on(
        self, unlocked: Browser, database: Database, happened: Callable[..., list[Activity]]
    ) -> None:
        with database.writing() as session:
            session.get_one(Link, 1).initialise = InitialiseState.RUNNING
            session.add(Run(other=1, started_at=clock.now()))
        answer = unlocked.post("/sync/initialise", {"confirmed": "1"}, htmx=True)
        assert answer.status_code == 200
        assert initialise_of(database) == "running"
        assert not happened("initialise_asked")

    def test_one_that_was_cut_off_begins_anew(self, unlocked: Browser, database: Database) -> None:
        with database.writing() as session:
            session.get_one(Link, 1).initialise = InitialiseState.RUNNING
        unlocked.post("/sync/initialise", {"confirmed": "1"}, htmx=True)
        assert initialise_of(database) == "needed"

    def test_the_code_in_the_form_is_enough(self, manager: Browser, database: Database) -> None:
        sent = {"confirmed": "1", "authorisation_code": CODE}
        assert manager.post("/sync/initialise", sent).status_code == 303
        assert initialise_of(database) == "needed"

    def test_who_may_not_edit_may_not(self, viewer: Browser, database: Database) -> None:
        sent = {"confirmed": "1", "authorisation_code": CODE}
        assert viewer.post("/sync/initialise", sent).status_code == 403
        assert initialise_of(database) == "done"

    def test_an_empty_server_offers_it_without_the_code(
        self, manager: Browser, database: Database
    ) -> None:
        with database.writing() as session:
            session.execute(delete(Record))
        assert "This server has no records." in manager.get("/").text
        assert manager.post("/sync/initialise").status_code == 303
        assert initialise_of(database) == "needed"

    def test_it_is_not_offered_where_no_records_are_all_there_is(
        self, manager: Browser, database: Database, time: Clock
    ) -> None:
        with database.writing() as session:
            session.execute(delete(Record))
            link = session.get_one(Link, 1)
            link.device_token_sealed, link.last_success_at = "token", time()
        page = manager.get("/").text
        assert "All well." in page
        assert "This server has no records." not in page


# --- who is who -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("differing")
class TestDifference:
    def test_it_is_named_field_by_field(self, viewer: Browser) -> None:
        page = words(viewer.get("/").text)
        assert "National Store has this store as KDV-10, here it is KDV-01." in page
        assert "National Store calls itself NMS, here it is National Store." in page
        assert "Use what" not in page

    def test_theirs_needs_the_code(self, manager: Browser, database: Database) -> None:
        answer = manager.post("/sync/theirs", htmx=True)
        assert answer.status_code == 403
        assert answer.headers["HX-Retarget"] == "find .prompt"
        with database.reading() as session:
            assert session.get_one(Settings, 1).store == "KDV-01"

    def test_theirs_is_saved_and_tried_at_once(self, unlocked: Browser, database: Database) -> None:
        assert unlocked.post("/sync/theirs", htmx=True).status_code == 200
        with database.reading() as session:
            assert session.get_one(Settings, 1).store == "KDV-10"
            assert session.scalars(select(Server)).one().name == "NMS"
        assert asked(database)

    def test_without_scripting_too(self, manager: Browser, database: Database) -> None:
        answer = manager.post("/sync/theirs")
        assert 'name="authorisation_code"' in answer.text
        assert manager.post("/sync/theirs", {"authorisation_code": CODE}).status_code == 303
        with database.reading() as session:
            assert session.get_one(Settings, 1).store == "KDV-10"

    def test_who_may_not_edit_may_not(self, viewer: Browser, database: Database) -> None:
        assert viewer.post("/sync/theirs", {"authorisation_code": CODE}).status_code == 403

    @pytest.mark.parametrize(
        "differences",
        [5, True, "store", {"store": 1}, [["name", 5, "x"]], [["store", None, "x"]],
         [["sync_id", "nine", 7]], [["url", "a", "b"]]],
    )  # fmt: skip
    def test_what_is_not_understood_of_it_is_left_alone(
        self, unlocked: Browser, database: Database, differences: object
    ) -> None:
        with database.writing() as session:
            session.get_one(Loop, 1).refusal_values = {"differences": differences}
        assert unlocked.get("/").status_code == 200
        assert unlocked.post("/sync/theirs").status_code == 404

    def test_another_sync_id_is_confirmed_first(
        self, unlocked: Browser, database: Database, run: Run
    ) -> None:
        with database.writing() as session:
            session.get_one(Loop, 1).refusal_values = {"differences": [["sync_id", 9, 7]]}
        answer = unlocked.post("/sync/theirs", htmx=True)
        assert answer.status_code == 422
        assert 'name="confirmed" value="sync_id"' in answer.text
        assert unlocked.post("/sync/theirs", {"confirmed": "sync_id"}).status_code == 303
        with database.reading() as session:
            assert session.get_one(Settings, 1).sync_id == 9


def test_theirs_of_a_difference_that_is_gone(unlocked: Browser) -> None:
    answer = unlocked.post("/sync/theirs", htmx=True)
    assert answer.status_code == 404
    assert "do not differ any more" in answer.text
