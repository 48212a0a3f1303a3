"""A page that stays open: it is never wrong, and asks little."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from panel import clock
from panel.models.runs import Link, Loop, Run
from panel.models.settings import Settings
from tests.browser.conftest import forgive_lost_line
from tests.browser.serving import Panel
from tests.browser.steps import begin, fill, save, sign_in
from tests.browser.test_sync import POLL_MILLISECONDS, begin_run, count_polls, move_run
from tests.support.faulty_line import Cut, FaultyLine

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

# More than an interval, which varies at random, and less than two.
LATER_MINUTES = 12
GREY = "rgb(85, 102, 119)"


@dataclass
class Through:
    """The panel behind a line."""

    url: str


def synchronise(panel: Panel) -> None:
    """Let a run begin and succeed at this moment."""
    now = clock.now()
    with panel.database.writing() as session:
        link, loop = session.get_one(Link, 1), session.get_one(Loop, 1)
        link.last_success_at = link.last_attempt_at = loop.started_at = now
        session.add(Run(other=1, started_at=now, ended_at=now, result="well"))


def refuse(panel: Panel) -> None:
    """Let the primary refuse at this moment."""
    with panel.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.refusal, loop.refused_at = "site_incorrect_password", clock.now()


def pass_by(page: Page, panel: Panel, minutes: int) -> None:
    """Let time pass, at the server and in the browser."""
    panel.clock.pass_by(minutes=minutes)
    page.clock.run_for(minutes * 60_000)


def hide(page: Page, hidden: bool) -> None:
    """Show another tab, or this one again."""
    page.evaluate(
        """hidden => {
          Object.defineProperty(document, 'hidden', {value: hidden, configurable: true})
          document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))
        }""",
        hidden,
    )


def colour(page: Page) -> str:
    """Return the colour of the verdict's box."""
    found = page.locator("#status").evaluate("box => getComputedStyle(box).borderInlineStartColor")
    return str(found)


@pytest.fixture
def satellite(panel: Panel) -> Panel:
    """A satellite that has synchronised just now."""
    panel.become_satellite()
    synchronise(panel)
    return panel


def test_a_page_asks_once_when_a_run_was_due(page: Page, satellite: Panel) -> None:
    page.clock.install()
    polls = count_polls(page)
    sign_in(page, satellite)
    times = page.locator("#state time, #rows time")
    expect(times).to_have_text(["this minute", "this minute"])
    pass_by(page, satellite, 5)
    expect(times).to_have_text(["5 min ago", "5 min ago"])
    assert polls == []
    satellite.clock.pass_by(minutes=LATER_MINUTES - 5)
    synchronise(satellite)
    with page.expect_response("**/sync/run/*"):
        page.clock.run_for((LATER_MINUTES - 5) * 60_000)
    expect(times).to_have_text(["this minute", "this minute"])
    assert len(polls) == 1
    assert colour(page) != GREY


def test_a_page_that_is_shown_again_asks(page: Page, satellite: Panel) -> None:
    page.clock.install()
    polls = count_polls(page)
    sign_in(page, satellite)
    hide(page, True)
    refuse(satellite)
    pass_by(page, satellite, 2)
    assert polls == []
    hide(page, False)
    expect(page.locator("#state")).to_contain_text("does not accept the Password")
    expect(page.locator("#rows")).to_contain_text("refused")
    expect(page.locator("#said")).to_be_empty()
    assert len(polls) == 1


def test_a_hidden_page_asks_nothing_and_says_how_old_it_is(page: Page, satellite: Panel) -> None:
    page.clock.install()
    polls = count_polls(page)
    sign_in(page, satellite)
    loaded = page.evaluate("new Date().toLocaleString('en-GB', {timeStyle: 'short'})")
    hide(page, True)
    pass_by(page, satellite, LATER_MINUTES)
    expect(page.locator("#state")).to_contain_text(f"as of {loaded}")
    assert polls == []
    assert colour(page) == GREY
    hide(page, False)
    expect(page.locator("#state")).not_to_contain_text("as of")
    assert colour(page) != GREY


def test_a_page_that_gets_no_answer_loses_its_colour(
    page: Page, satellite: Panel, complaints: list[str]
) -> None:
    page.clock.install()
    sign_in(page, satellite)
    page.context.set_offline(True)
    pass_by(page, satellite, LATER_MINUTES)
    expect(page.locator("#state .old")).to_have_count(1)
    assert colour(page) == GREY
    # What answers in the panel's place is no answer. It does so before the line is back, since the
    # page asks at once.
    portal = "<html>Sign in to this network"
    page.route("**/sync/run/*", lambda route: route.fulfill(content_type="text/html", body=portal))
    with page.expect_response("**/sync/run/*"):
        page.context.set_offline(False)
        pass_by(page, satellite, LATER_MINUTES)
    expect(page.locator("#state .old")).to_have_count(1)
    page.unroute_all()
    pass_by(page, satellite, LATER_MINUTES)
    expect(page.locator("#state .old")).to_have_count(0)
    assert colour(page) != GREY
    forgive_lost_line(complaints)


def test_a_browser_that_saves_data_asks_nothing(page: Page, satellite: Panel) -> None:
    # Chromium does not let a test set this header.
    inner = satellite.app.wsgi_app

    def saving(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        return inner({**environ, "HTTP_SAVE_DATA": "on"}, start_response)

    satellite.app.wsgi_app = saving  # type: ignore[method-assign]
    page.clock.install()
    polls = count_polls(page)
    sign_in(page, satellite)
    pass_by(page, satellite, LATER_MINUTES)
    expect(page.locator("#state")).to_contain_text("as of")
    hide(page, True)
    hide(page, False)
    assert colour(page) == GREY
    assert polls == []


def test_a_code_that_is_typed_is_not_lost_to_an_answer(page: Page, panel: Panel) -> None:
    panel.become_satellite()
    with panel.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.refusal = "identity_differs"
        loop.refusal_values = {"differences": [["store", "KDV-10", "KDV-01"]]}
        loop.started_at = clock.now() - timedelta(minutes=1)
    page.clock.install()
    sign_in(page, panel)
    state = page.locator("#state")
    state.get_by_role("button", name="Use what National Store says").click()
    state.get_by_label("Authorisation code", exact=True).fill("half a co")
    with panel.database.writing() as session:
        session.get_one(Loop, 1).refusal = ""
    pass_by(page, panel, 2 * LATER_MINUTES)
    expect(state).to_contain_text("as of")
    expect(state.get_by_label("Authorisation code", exact=True)).to_have_value("half a co")


# --- what a press sets off ------------------------------------------------------------------------


def test_after_a_correction_the_old_reason_is_gone_and_it_is_tried(
    page: Page, satellite: Panel
) -> None:
    refuse(satellite)
    page.clock.install()
    begin(page, satellite)
    state, said = page.locator("#state"), page.locator("#said")
    expect(state).to_contain_text("does not accept the Password")
    form = page.locator("#parameters-form")
    form.get_by_label("Password", exact=True).fill("shells and corals")
    save(form)
    expect(said).to_have_text("Saved. Trying now…")
    expect(state).to_contain_text("it begins in a moment")
    expect(state).not_to_contain_text("Password")
    expect(page.locator("#rows")).not_to_contain_text("refused")
    # It is tried, and the page follows that until it is decided.
    run_id = begin_run(satellite)
    page.clock.run_for(POLL_MILLISECONDS)
    expect(state).to_contain_text("Syncing now")
    move_run(satellite, run_id, ended_at=clock.now(), result="well")
    with satellite.database.writing() as session:
        session.get_one(Loop, 1).asked_at = None
        session.get_one(Link, 1).last_success_at = clock.now()
    page.clock.run_for(POLL_MILLISECONDS)
    expect(state).to_contain_text("All well. Everything is safe")
    expect(said).to_have_text("Sync: up to date.")
    page.clock.run_for(4_000)
    expect(said).to_have_text("Sync: up to date.")
    page.clock.run_for(3_000)
    expect(said).to_be_empty()


def test_after_a_correction_without_scripting(plain_page: Page, satellite: Panel) -> None:
    refuse(satellite)
    begin(plain_page, satellite)
    form = plain_page.locator("#parameters-form")
    form.get_by_label("URL", exact=True).fill("https://stores.example.org")
    save(form)
    expect(plain_page.locator("#state")).to_contain_text("it begins in a moment")
    expect(plain_page.locator("#state")).not_to_contain_text("Password")


def gap(page: Page, button: Locator) -> float:
    """Return how far below a button it stands what it did, in pixels."""
    said, pressed = page.locator("#said").bounding_box(), button.bounding_box()
    width = page.evaluate("innerWidth")
    assert said
    assert pressed
    assert 0 <= said["x"] <= said["x"] + said["width"] <= width
    return said["y"] - pressed["y"] - pressed["height"]


@pytest.mark.parametrize("width", [1100, 360])
def test_what_a_press_did_is_said_beside_it(page: Page, satellite: Panel, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    begin(page, satellite)
    said = page.locator("#said")
    page.get_by_label("Sync time interval", exact=True).fill("15")
    interval = page.locator("#interval").get_by_role("button", name="Save interval")
    interval.click()
    expect(said).to_have_text("Saved.")
    assert 0 < gap(page, interval) < 8
    parameters = page.locator("#parameters-form")
    fill(parameters, {"Store": "KDV-02"})
    save(parameters)
    expect(said).to_have_text("Saved. Trying now…")
    assert 0 < gap(page, parameters.get_by_role("button", name="Save")) < 8


def test_what_an_earlier_press_did_does_not_lie_over_a_reason(page: Page, satellite: Panel) -> None:
    begin(page, satellite)
    said = page.locator("#said")
    expect(said).to_have_text("Unlocked.")
    parameters = page.locator("#parameters-form")
    fill(parameters, {"URL": "no address"})
    save(parameters)
    expect(parameters.locator("[aria-invalid]")).to_have_value("no address")
    # Not only after a while.
    assert said.text_content() == ""


# --- an answer that does not come -----------------------------------------------------------------


def test_what_may_have_been_saved_is_not_called_unsaved(
    page: Page, panel: Panel, complaints: list[str]
) -> None:
    panel.become_satellite()
    with closing(FaultyLine(panel.port)) as line:
        sign_in(page, Through(f"http://127.0.0.1:{line.port}/"))
        form = page.locator("#interval")
        field = form.get_by_label("Sync time interval", exact=True)
        # The answer is lost on its way.
        line.spoil(Cut(1))
        field.fill("15")
        save(form)
        alert = form.get_by_role("alert")
        expect(alert).to_have_text("No answer: it may have been saved. Look")
        assert panel.settings().interval_minutes == 15
        line.mend()
        with page.expect_popup() as popup:
            alert.get_by_role("link", name="Look").click()
        expect(popup.value.get_by_label("Sync time interval", exact=True)).to_have_value("15")
        expect(field).to_have_value("15")
        # Nobody is there to take it.
        line.refuse()
        save(form)
        expect(alert).to_have_text("Not saved: no connection. Try again.")
    forgive_lost_line(complaints)


# --- a connection test, and what was typed --------------------------------------------------------


@pytest.mark.parametrize("width", [1100, 360])
def test_the_answer_of_a_test_stands_below_its_button_until_the_next_press(
    page: Page, satellite: Panel, nowhere: str, width: int
) -> None:
    with satellite.database.writing() as session:
        session.get_one(Settings, 1).url = nowhere
    page.set_viewport_size({"width": width, "height": 740})
    begin(page, satellite)
    test = page.get_by_role("button", name="Test connection")
    test.click()
    answer = page.locator("#tested .bad")
    expect(answer).to_contain_text("nothing listens there")
    told, pressed = answer.bounding_box(), test.bounding_box()
    assert told
    assert pressed
    assert 0 <= told["y"] - pressed["y"] - pressed["height"] < 20
    assert told["x"] + told["width"] > pressed["x"]
    page.get_by_role("link", name="Edit National Store").click()
    expect(answer).to_have_count(0)


def test_a_page_with_typed_text_asks_before_it_is_left(page: Page, satellite: Panel) -> None:
    begin(page, satellite)
    questions: list[str] = []

    def answer(dialog: Dialog) -> None:
        questions.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    store = page.get_by_label("Store", exact=True)
    saved = store.input_value()
    fill(page.locator("#parameters-form"), {"Store": "KDV-02"})
    page.reload()
    assert questions == ["beforeunload"]
    # As it was saved, or saved: nothing is lost.
    store.fill("KDV-02")
    store.fill(saved)
    page.reload()
    fill(page.locator("#parameters-form"), {"Store": "KDV-02"})
    save(page.locator("#parameters-form"))
    expect(page.locator("#said")).to_have_text("Saved. Trying now…")
    page.reload()
    assert questions == ["beforeunload"]
    # What was refused is not saved.
    fill(page.locator("#parameters-form"), {"URL": "no address"})
    save(page.locator("#parameters-form"))
    expect(page.locator("[aria-invalid]")).to_be_visible()
    page.reload()
    assert questions == ["beforeunload"] * 2
