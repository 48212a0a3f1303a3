"""Set-ups on the screen: issued and revoked on a satellite's page, and taken by the satellite."""

import html
import io
import re
from typing import Any

import pytest
from sqlalchemy import select

from panel.activity.log import EventKind
from panel.config import Config
from panel.db import Database
from panel.models.settings import IssuedSetup, Settings
from panel.setups.setup_text import Setup, read_setup
from panel.web.views import parameters
from tests.support.cast import CODE
from tests.support.web_sites import make_primary, words
from tests.web.conftest import Browser, Happened

URL = "https://central.example.org"
SECRET = re.compile(r"\b[0-9A-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{5}\b")


@pytest.fixture
def kadavu(database: Database, config: Config) -> int:
    """The id of the row of satellite 7."""
    return make_primary(database, config)[0]


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found
    return html.unescape(found[1])


@pytest.mark.parametrize("htmx", [True, False])
def test_a_set_up_is_shown_once(unlocked: Browser, kadavu: int, htmx: bool) -> None:
    answer = unlocked.post(f"/servers/{kadavu}/setups", {"url": URL}, htmx=htmx)
    found = SECRET.search(words(answer.text))
    assert found
    assert answer.headers["Cache-Control"] == "no-store"
    link = html.unescape(re.search(r'value="(sync-panel:[^"]+)"', answer.text)[1])  # type: ignore[index]
    assert read_setup(link).code == found[0].replace("-", "")
    assert not SECRET.search(words(unlocked.get(f"/servers/{kadavu}/sync").text))


@pytest.mark.parametrize("htmx", [True, False])
def test_its_file_and_its_picture(unlocked: Browser, kadavu: int, htmx: bool) -> None:
    page = unlocked.post(f"/servers/{kadavu}/setups", {"url": URL}, htmx=htmx).text
    typed = {"typed": hidden(page, "typed")}
    assert hidden(page, "_c"), "a form that htmx does not send has its token"
    file = unlocked.post(f"/servers/{kadavu}/setups/file", typed)
    assert file.headers["Content-Disposition"] == 'attachment; filename="kadavu.setup"'
    assert read_setup(file.text).sync_id == 7
    assert "<svg" in unlocked.post(f"/servers/{kadavu}/setups/picture", typed).text


def test_nobody_else_opens_what_was_shown(unlocked: Browser, viewer: Browser, kadavu: int) -> None:
    page = unlocked.post(f"/servers/{kadavu}/setups", {"url": URL}).text
    typed = {"typed": hidden(page, "typed")}
    assert viewer.post(f"/servers/{kadavu}/setups/file", typed).status_code == 403
    assert unlocked.post(f"/servers/{kadavu}/setups/file", {"typed": "x"}).status_code == 404


@pytest.mark.parametrize("htmx", [True, False])
def test_it_needs_the_code(manager: Browser, kadavu: int, htmx: bool) -> None:
    refused = manager.post(f"/servers/{kadavu}/setups", {"url": URL}, htmx=htmx)
    assert refused.status_code == 403
    assert "Give the authorisation code" in words(refused.text)
    sent = {"url": URL, "authorisation_code": CODE}
    assert SECRET.search(words(manager.post(f"/servers/{kadavu}/setups", sent, htmx=htmx).text))


@pytest.mark.parametrize("htmx", [True, False])
def test_a_wrong_url_is_told_beside_it(unlocked: Browser, kadavu: int, htmx: bool) -> None:
    answer = unlocked.post(f"/servers/{kadavu}/setups", {"url": "https://a b"}, htmx=htmx)
    assert answer.status_code == 422
    assert 'value="https://a b"' in answer.text
    assert "This is no URL" in words(answer.text)


def test_the_next_one_offers_the_same_url(unlocked: Browser, kadavu: int) -> None:
    assert 'value="http://localhost/"' in unlocked.get(f"/servers/{kadavu}/sync").text
    unlocked.post(f"/servers/{kadavu}/setups", {"url": URL})
    assert f'value="{URL}"' in unlocked.get(f"/servers/{kadavu}/sync").text


@pytest.mark.parametrize("htmx", [True, False])
def test_it_is_listed_and_revoked(
    unlocked: Browser, kadavu: int, database: Database, happened: Happened, htmx: bool
) -> None:
    unlocked.post(f"/servers/{kadavu}/setups", {"url": URL})
    assert "Not used yet. Made by asha" in words(unlocked.get(f"/servers/{kadavu}/sync").text)
    with database.reading() as session:
        issued = session.scalars(select(IssuedSetup)).one()
    answer = unlocked.post(f"/servers/{kadavu}/setups/{issued.id}/revoke", htmx=htmx)
    assert answer.status_code == (200 if htmx else 303)
    assert "Revoked. Made by asha" in words(unlocked.get(f"/servers/{kadavu}/sync").text)
    assert [row.label for row in happened(EventKind.SETUP_REVOKED)] == ["7 Kadavu"]
    assert unlocked.post(f"/servers/{kadavu}/setups/99/revoke").status_code == 404


def test_who_may_only_look_makes_none(viewer: Browser, kadavu: int) -> None:
    page = viewer.get(f"/servers/{kadavu}/sync").text
    assert "Make a set-up" not in words(page)
    assert viewer.post(f"/servers/{kadavu}/setups", {"url": URL}).status_code == 403


# --- on the satellite -----------------------------------------------------------------------------

WHOLE = Setup(
    *(URL, "KDV0107PAPAYA5P", 7, "Kadavu Health Centre", "KDV-01"),
    *("National Store", "NAT-01"),
)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[Setup]:
    """What would have been sent to a primary."""
    setups: list[Setup] = []

    def join(_installation: Any, _actor: Any, setup: Setup, _confirmed: Any = ()) -> None:
        setups.append(setup)

    monkeypatch.setattr(parameters, "join_primary", join)
    return setups


def send(browser: Browser, **values: Any) -> Any:
    return browser.post("/parameters/join", values)


def test_the_file_is_chosen(unlocked: Browser, joined: list[Setup]) -> None:
    file = io.BytesIO(b"\xef\xbb\xbf" + WHOLE.as_file().encode()), "kadavu.setup"
    assert send(unlocked, file=file).status_code == 303
    assert joined == [WHOLE]


def test_the_characters_are_typed(unlocked: Browser, joined: list[Setup]) -> None:
    assert send(unlocked, text="kdv01 o7pap aya5p", url=URL).status_code == 303
    assert joined == [Setup(URL, WHOLE.code)]


def test_a_slip_is_told_before_anything_is_sent(unlocked: Browser, joined: list[Setup]) -> None:
    answer = send(unlocked, text="KDV01-07PAP-AYA5Q", url=URL)
    assert answer.status_code == 422
    assert "One of the characters is wrong" in words(answer.text)
    assert 'value="KDV01-07PAP-AYA5Q"' in answer.text
    assert joined == []


def test_the_code_is_asked_for_and_the_file_kept(manager: Browser, joined: list[Setup]) -> None:
    file = io.BytesIO(WHOLE.as_file().encode()), "kadavu.setup"
    asked = send(manager, file=file, authorisation_code="wrong")
    assert asked.status_code == 422
    assert WHOLE.code not in asked.text
    assert joined == []
    again = send(manager, typed=hidden(asked.text, "typed"), authorisation_code=CODE)
    assert again.status_code == 303
    assert joined == [WHOLE]


def test_a_primary_that_is_not_reached_is_told(
    unlocked: Browser, database: Database, nowhere: str
) -> None:
    answer = send(unlocked, text=WHOLE.code, url=nowhere)
    assert answer.status_code == 409
    assert "cannot be reached" in words(answer.text)
    assert WHOLE.code not in answer.text
    with database.reading() as session:
        assert session.get_one(Settings, 1).sync_id is None


def test_who_may_only_look_does_not_join(viewer: Browser) -> None:
    assert viewer.get("/parameters/join").status_code == 403
    assert send(viewer, text=WHOLE.code, url=URL).status_code == 403
