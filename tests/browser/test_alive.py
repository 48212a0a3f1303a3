"""A page that stays open: it is never wrong, and asks little."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

from panel import clock
from panel.models.runs import Link, Loop, Run
from tests.browser.conftest import forgive_lost_line
from tests.browser.serving import Panel
from tests.browser.steps import sign_in
from tests.browser.test_sync import count_polls

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

# More than an interval, which varies at random, and less than two.
LATER_MINUTES = 12
GREY = "rgb(85, 102, 119)"


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
    # What answers in the panel's place is no answer.
    page.context.set_offline(False)
    portal = "<html>Sign in to this network"
    page.route("**/sync/run/*", lambda route: route.fulfill(content_type="text/html", body=portal))
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
