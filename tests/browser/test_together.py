"""Two people at once, a bad line, a hand that presses twice: nothing lost, nothing done twice."""

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import NewPage, forgive_lost_line
from tests.browser.serving import Panel
from tests.browser.steps import begin, fill, open_new_row, row, save, sign_in, sync_ids, unlock
from tests.support.cast import CODE, OTHER, PASSWORD, USER

ROWS = [(7, "Kadavu Health Centre", "KDV-01"), (8, "Rotuma Hospital", "ROT-01")]
UNSAVED = "Not saved: no connection. Try again."
# Presses of Sign in that are let through: of two, and with one more after coming back to it.
PRESSES = """() => {
  const form = document.querySelector('form.alone')
  let sent = 0
  addEventListener('submit', (event) => {
    sent += !event.defaultPrevented
    event.preventDefault()
  })
  const press = () => (form.requestSubmit(), sent)
  press()
  const twice = press()
  dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))
  return [twice, press()]
}"""


# --- two people -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "kept"), [("Take theirs", "Rotuma"), ("Save mine over it", "Rotuma General")]
)
def test_the_second_to_save_is_told_and_chooses(
    either_page: Page, new_page: NewPage, panel: Panel, choice: str, kept: str
) -> None:
    panel.become_primary(ROWS)
    second, first = either_page, new_page()
    begin(second, panel)
    row(second, 8).get_by_role("link", name="Edit").click()
    fill(second.locator("#rows form").first, {"Name": "Rotuma General"})
    sign_in(first, panel, OTHER)
    unlock(first)
    row(first, 8).get_by_role("link", name="Edit").click()
    fill(first.locator("#rows form").first, {"Name": "Rotuma"})
    save(first.locator("#rows form").first)
    expect(row(first, 8)).to_contain_text("Rotuma")
    form = second.locator("#rows form").first
    save(form)
    told = form.get_by_role("alert")
    expect(told).to_contain_text("Somebody changed this while you were typing.")
    expect(told).to_contain_text(f"{OTHER},")
    expect(told).to_contain_text("Name Rotuma Hospital → Rotuma")
    expect(form.get_by_label("Name", exact=True)).to_have_value("Rotuma General")
    form.get_by_text(choice).click()
    if choice == "Take theirs":
        expect(form.get_by_label("Name", exact=True)).to_have_value("Rotuma")
    else:
        expect(row(second, 8)).to_contain_text("Rotuma General")
    assert panel.servers()[1].name == kept


@pytest.mark.parametrize(("choice", "kept"), [("Take theirs", 45), ("Save mine over it", 20)])
def test_two_change_the_interval(either_page: Page, panel: Panel, choice: str, kept: int) -> None:
    panel.become_primary()
    page = either_page
    sign_in(page, panel)
    page.get_by_label("Sync time interval", exact=True).fill("20")
    panel.change_interval(45, OTHER)
    save(page.locator("#interval"))
    expect(page.locator("#interval")).to_contain_text(f"{OTHER},")
    expect(page.get_by_label("Sync time interval", exact=True)).to_have_value("20")
    page.locator("#interval").get_by_text(choice).click()
    expect(page.get_by_text(choice)).to_be_hidden()
    expect(page.get_by_label("Sync time interval", exact=True)).to_have_value(str(kept))
    assert panel.settings().interval_minutes == kept


# --- sent twice -----------------------------------------------------------------------------------


def test_a_double_press_sends_once(page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    begin(page, panel)
    held: list[Route] = []
    page.route("**/servers", lambda route: held.append(route))
    form = open_new_row(page)
    fill(form, {"Sync ID": "9", "Name": "Lau Clinic", "Store": "LAU-01"})
    form.get_by_role("button", name="Save").dblclick()
    form.get_by_label("Store", exact=True).press("Enter")
    assert len(held) == 1
    held[0].continue_()
    expect(sync_ids(page)).to_have_count(3)
    assert [server.sync_id for server in panel.servers()] == [7, 8, 9]


def test_a_press_that_only_asks_is_not_sent_again_either(page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    sign_in(page, panel)
    held: list[Route] = []
    page.route("**/unlock?*", lambda route: held.append(route))
    page.get_by_role("button", name="Click to un-lock").dblclick()
    expect(page.get_by_role("button", name="Click to un-lock")).to_be_focused()
    assert len(held) == 1
    held[0].continue_()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_a_plain_form_is_sent_once_and_again_after_going_back(page: Page, panel: Panel) -> None:
    page.goto(panel.url)
    fill(page.locator("main"), {"Name": USER, "Password": PASSWORD})
    assert page.evaluate(PRESSES) == [1, 2]


def test_what_was_locked_again_is_not_offered(page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    begin(page, panel)
    add, remove = (page.locator(f"#toolbar {one}") for one in ("#add", "#remove button"))
    expect(add).to_be_enabled()
    page.get_by_role("button", name="Lock now").click()
    for button in (add, remove):
        expect(button).to_be_disabled()
    expect(page.locator("#toolbar .help")).to_have_count(0)
    unlock(page)
    for button in (add, remove):
        expect(button).to_be_enabled()


def test_an_answer_that_is_lost_adds_no_second_row(
    page: Page, panel: Panel, complaints: list[str]
) -> None:
    panel.become_primary(ROWS)
    begin(page, panel)

    def lose_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/servers", lose_answer, times=1)
    form = open_new_row(page)
    fill(form, {"Sync ID": "9", "Name": "Lau Clinic", "Store": "LAU-01"})
    save(form)
    expect(page.get_by_text(UNSAVED)).to_be_visible()
    assert len(panel.servers()) == 3
    save(form)
    expect(row(page, 9)).to_contain_text("Lau Clinic")
    expect(form).to_have_count(0)
    assert len(panel.servers()) == 3
    forgive_lost_line(complaints)


def test_back_and_save_again_adds_no_second_row(plain_page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    begin(plain_page, panel)
    typed = {"Sync ID": "9", "Name": "Lau Clinic", "Store": "LAU-01"}
    form = open_new_row(plain_page)
    fill(form, typed)
    save(form)
    expect(row(plain_page, 9)).to_be_visible()
    plain_page.go_back()
    fill(form, typed)
    save(form)
    expect(row(plain_page, 9)).to_be_visible()
    expect(sync_ids(plain_page)).to_have_text(["7", "8", "9"])
    assert len(panel.servers()) == 3


# --- a line that breaks, a session that ends ------------------------------------------------------


def test_typed_text_outlives_the_server(page: Page, panel: Panel, complaints: list[str]) -> None:
    panel.become_primary(ROWS)
    begin(page, panel)
    form = open_new_row(page)
    typed = {"Sync ID": "9", "Name": "Lau Clinic", "Store": "LAU-01", "User name": "lau"}
    fill(form, {**typed, "Password": "kava bowls"})
    panel.stop()
    save(form)
    expect(form.get_by_role("alert")).to_have_text(UNSAVED)
    for label, text in typed.items():
        expect(form.get_by_label(label, exact=True)).to_have_value(text)
    panel.start()
    save(form)
    expect(row(page, 9)).to_contain_text("Lau Clinic")
    expect(page.get_by_text(UNSAVED)).to_have_count(0)
    server = panel.servers()[2]
    assert server.user_name == "lau"
    assert server.password_hash
    forgive_lost_line(complaints)


def test_signed_out_while_typing(page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    begin(page, panel)
    form = open_new_row(page)
    fill(form, {"Sync ID": "9", "Name": "Lau Clinic", "Store": "LAU-01"})
    page.context.clear_cookies()
    save(form)
    expect(page.get_by_role("alert").filter(has_text="You were signed out")).to_be_visible()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Sign in").click()
    other = opened.value
    fill(other.locator("main"), {"Name": USER, "Password": PASSWORD})
    other.get_by_role("button", name="Sign in").click()
    expect(other.locator("#servers")).to_be_visible()
    other.close()
    save(form)
    expect(form.get_by_text("Locked. Give the authorisation code")).to_be_visible()
    form.get_by_label("Authorisation code", exact=True).fill(CODE)
    form.get_by_role("button", name="OK").click()
    expect(row(page, 9)).to_contain_text("Lau Clinic")


def test_lock_now_in_another_browser_ends_this_unlock(either_page: Page, panel: Panel) -> None:
    panel.become_primary(ROWS)
    begin(either_page, panel)
    panel.lock(USER)
    fill(either_page.locator("#parameters-form"), {"Name": "Central Store"})
    save(either_page.locator("#parameters-form"))
    expect(either_page.get_by_text("Locked. Give the authorisation code")).to_be_visible()
    assert panel.settings().name == "National Store"
    expect(either_page.get_by_label("Name", exact=True)).to_have_value("Central Store")
