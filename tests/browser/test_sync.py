"""The sync on the screen: a run seen moving, a difference settled, a record left out."""

from datetime import timedelta

from playwright.sync_api import Page, expect

from panel import clock
from panel.models.records import Quarantined
from panel.models.runs import Link, Loop, Run
from tests.browser.serving import Panel
from tests.browser.steps import sign_in
from tests.support.cast import CODE

POLL_MILLISECONDS = 5_000


def begin_run(panel: Panel) -> int:
    """Let a run go on, as the loop writes it down; return its id."""
    now = clock.now()
    run = Run(other=1, started_at=now, step="pushing", pushed=0, to_push=400)
    with panel.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.holder, loop.held_until = "elsewhere:1:a", now + timedelta(minutes=5)
        loop.started_at = now
        session.add(run)
    return run.id


def move_run(panel: Panel, run_id: int, **values: object) -> None:
    with panel.database.writing() as session:
        run = session.get_one(Run, run_id)
        for name, value in values.items():
            setattr(run, name, value)


def count_polls(page: Page) -> list[str]:
    """Return a list that grows with every question of how the run goes."""
    polls: list[str] = []
    page.on("request", lambda sent: polls.append(sent.url) if "/sync/run" in sent.url else None)
    return polls


def test_a_run_is_seen_moving_and_the_page_rests_after_it(page: Page, panel: Panel) -> None:
    panel.become_satellite()
    run_id = begin_run(panel)
    page.clock.install()
    polls = count_polls(page)
    sign_in(page, panel)
    run = page.locator("#run")
    expect(run).to_contain_text("Syncing now: 0 of 400 records sent")
    move_run(panel, run_id, pushed=200)
    page.clock.run_for(POLL_MILLISECONDS)
    expect(run).to_contain_text("Syncing now: 200 of 400 records sent")
    move_run(panel, run_id, step="pulling_central", pushed=400, pulled=10, to_pull=2_000)
    page.clock.run_for(POLL_MILLISECONDS)
    expect(run).to_contain_text("Syncing now: 10 of 2,000 records received")
    move_run(panel, run_id, ended_at=clock.now(), result="well")
    with panel.database.writing() as session:
        session.get_one(Link, 1).last_success_at = clock.now()
    page.clock.run_for(POLL_MILLISECONDS)
    expect(run).to_have_count(0)
    expect(page.locator("#said")).to_contain_text("Sync: up to date.")
    asked = len(polls)
    page.clock.run_for(10 * POLL_MILLISECONDS)
    assert len(polls) == asked


def fall_silent(panel: Panel, seconds: int) -> None:
    """Let the primary answer nothing, as the loop writes it down after a while."""
    with panel.database.writing() as session:
        session.get_one(Loop, 1).silent_since = clock.now() - timedelta(seconds=seconds)


def test_an_open_page_tells_that_nothing_is_answered_and_offers_to_stop(
    page: Page, panel: Panel
) -> None:
    panel.become_satellite()
    run_id = begin_run(panel)
    page.clock.install()
    sign_in(page, panel)
    stop, run = page.get_by_role("button", name="Stop"), page.locator("#run")
    expect(run).to_contain_text("Syncing now")
    expect(stop).to_have_count(0)
    fall_silent(panel, 21)
    page.clock.run_for(POLL_MILLISECONDS)
    expect(run).to_contain_text("No answer from National Store for 2")
    expect(stop).to_be_visible()
    fall_silent(panel, 41)
    page.clock.run_for(POLL_MILLISECONDS)
    expect(run).to_contain_text("No answer from National Store for 4")
    stop.click()
    expect(run).to_contain_text("Stopping.")
    move_run(panel, run_id, ended_at=clock.now(), result="cut_off", reason="stopped_by_hand")
    page.clock.run_for(POLL_MILLISECONDS)
    expect(page.get_by_role("button", name="Sync now")).to_be_enabled()


def test_what_is_not_answered_is_stopped_with_and_without_scripting(
    either_page: Page, panel: Panel
) -> None:
    panel.become_satellite()
    begin_run(panel)
    fall_silent(panel, 21)
    sign_in(either_page, panel)
    expect(either_page.locator("#run")).to_contain_text("Trying until")
    either_page.get_by_role("button", name="Stop").click()
    expect(either_page.locator("#run")).to_contain_text("Stopping.")


def test_a_page_that_nobody_sees_does_not_ask(page: Page, panel: Panel) -> None:
    panel.become_satellite()
    run_id = begin_run(panel)
    page.clock.install()
    polls = count_polls(page)
    sign_in(page, panel)
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.clock.run_for(4 * POLL_MILLISECONDS)
    assert polls == []
    move_run(panel, run_id, pushed=300)
    page.evaluate("delete document.hidden")
    page.clock.run_for(POLL_MILLISECONDS)
    expect(page.locator("#run")).to_contain_text("Syncing now: 300 of 400 records sent")


def test_sync_now_shows_that_it_was_heard(either_page: Page, panel: Panel) -> None:
    panel.become_satellite()
    sign_in(either_page, panel)
    either_page.get_by_role("button", name="Sync now").click()
    expect(either_page.locator("#run")).to_contain_text("it begins in a moment")
    expect(either_page.get_by_role("button", name="Sync now")).to_be_disabled()


def test_theirs_is_used_with_the_code_given_in_place(either_page: Page, panel: Panel) -> None:
    page = either_page
    panel.become_satellite()
    with panel.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.refusal = "identity_differs"
        loop.refusal_values = {"differences": [["store", "KDV-10", "KDV-01"]]}
    sign_in(page, panel)
    state = page.locator("#state")
    expect(state).to_contain_text("has this store as KDV-10, here it is KDV-01.")
    state.get_by_role("button", name="Use what National Store says").click()
    state.get_by_label("Authorisation code", exact=True).fill(CODE)
    state.get_by_role("button", name="OK").click()
    expect(page.locator("#run")).to_contain_text("it begins in a moment")
    assert panel.settings().store == "KDV-10"


def test_a_record_is_left_out_and_stays_in_sight(either_page: Page, panel: Panel) -> None:
    page, now = either_page, clock.now()
    panel.become_satellite()
    with panel.database.writing() as session:
        session.add(
            Quarantined(
                **{"source": 1, "table_name": "item", "record_id": "a", "owner": 1, "version": 1},
                **{"deleted": False, "data": "{}", "reason": "owned_by_another"},
                **{"reason_values": {"owner": 9}, "first_at": now, "last_at": now},
            )
        )
    sign_in(page, panel)
    page.get_by_role("link", name="1 record needs a decision").click()
    row = page.locator("tr", has_text="item/a")
    row.get_by_role("button", name="Leave out").click()
    expect(row).to_contain_text("left out")
    expect(row.get_by_role("button", name="Leave out")).to_have_count(0)
    expect(row.get_by_role("button", name="Try again")).to_be_visible()
