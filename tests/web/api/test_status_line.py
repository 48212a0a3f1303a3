"""The status line: for whoever knows its address, and about nobody in particular."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import event
from werkzeug.test import TestResponse

from panel.accounts.tokens import make_status_key, revoke_status_key
from panel.config import Config
from panel.db import Database
from panel.models.runs import InitialiseState, Link, Loop
from panel.models.settings import Server, Settings
from panel.preferences.interval import set_interval
from tests.support.cast import ASHA
from tests.support.clock import Clock
from tests.support.web_sites import make_primary, make_satellite, words
from tests.web.conftest import Browser
from tests.web.page.test_weight import weight

FORMS = ("", "status.json", "status.svg")
# What a page around the line has no business to know.
NAMES = ("National Store", "NAT-01", "Kadavu", "KDV-01", "asha", "fiji", "127.0.0.1")


@pytest.fixture
def address(database: Database) -> str:
    """The address of the line."""
    with database.writing() as session:
        return f"/status/{make_status_key(session, ASHA)}/"


def in_step(database: Database, config: Config, time: Clock) -> None:
    make_satellite(database, config)
    with database.writing() as session:
        link = session.get_one(Link, 1)
        link.initialise, link.last_success_at = InitialiseState.DONE, time()


def refused(database: Database, config: Config, time: Clock) -> None:
    in_step(database, config, time)
    with database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.refusal, loop.refused_at = "identity_differs", time()
        loop.refusal_values = {"differences": [["store", "KDV-01", "KDV-9"]]}


def paused(database: Database, config: Config, time: Clock) -> None:
    in_step(database, config, time)
    with database.writing() as session:
        set_interval(session, ASHA, 0, session.get_one(Settings, 1).interval_version)


def a_primary(database: Database, config: Config, time: Clock) -> None:
    kadavu, _rotuma = make_primary(database, config)
    with database.writing() as session:
        session.get_one(Server, kadavu).last_success_at = time() - timedelta(days=2)


def disabled(database: Database, config: Config, _time: Clock) -> None:
    kadavu, _rotuma = make_primary(database, config)
    with database.writing() as session:
        session.get_one(Server, kadavu).url = "https://x.example.org"


STATES: dict[Callable[[Database, Config, Clock], None], tuple[str, str, str]] = {
    in_step: ("up_to_date", "up to date", "#175"),
    refused: ("refused", "refused", "#b11"),
    paused: ("paused", "paused", "#567"),
    a_primary: ("open", "0 of 2 satellites up to date. 1 late · 1 not yet seen", "#850"),
    disabled: ("disabled", "disabled", "#b11"),
}


@pytest.mark.parametrize("state", STATES)
def test_the_line_says_the_state_and_names_nobody(
    nobody: Browser,
    database: Database,
    config: Config,
    time: Clock,
    address: str,
    state: Callable[[Database, Config, Clock], None],
) -> None:
    state(database, config, time)
    kind, said, colour = STATES[state]
    line, facts, picture = (nobody.get(address + form) for form in FORMS)
    assert f"Synchronisation: {said}" in words(line.text)
    assert f"b{{color:{colour}}}" in line.text
    assert facts.json is not None
    assert (facts.json["state"], facts.json["words"]) == (kind, said)
    assert f"<title>Synchronisation: {said}</title>" in picture.text
    assert f'fill="{colour}"' in picture.text
    together = line.text + facts.text + picture.text
    assert [name for name in NAMES if name in together] == []


@pytest.mark.parametrize("language", ["en", "ar"])
def test_it_is_light_and_needs_no_session(
    nobody: Browser, database: Database, config: Config, time: Clock, address: str, language: str
) -> None:
    a_primary(database, config, time)
    for form in FORMS:
        answer = nobody.get(address + form, Accept_Encoding="br", Accept_Language=language)
        assert weight(answer) <= 1_200
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("form", FORMS)
def test_any_page_may_show_it_and_caches_may_keep_it_for_a_minute(
    nobody: Browser, database: Database, config: Config, time: Clock, address: str, form: str
) -> None:
    in_step(database, config, time)
    answer = nobody.get(address + form)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert {"Accept-Language", "Cookie"} <= set(answer.headers["Vary"].split(", "))
    assert "frame-ancestors *" in answer.headers.get("Content-Security-Policy", "frame-ancestors *")
    same = nobody.get(address + form, If_None_Match=answer.headers["ETag"])
    assert (same.status_code, same.data) == (304, b"")
    time.pass_by(days=2)
    assert nobody.get(address + form, If_None_Match=answer.headers["ETag"]).status_code == 200


def test_without_an_address_there_is_nothing(
    nobody: Browser, database: Database, config: Config, time: Clock
) -> None:
    in_step(database, config, time)
    for form in FORMS:
        assert _is_nothing(nobody.get(f"/status/guessed/{form}"))


def test_a_new_address_ends_the_old_one_and_a_revoked_one_is_gone(
    nobody: Browser, database: Database, config: Config, time: Clock, address: str
) -> None:
    in_step(database, config, time)
    with database.writing() as session:
        newer = f"/status/{make_status_key(session, ASHA)}/"
    assert _is_nothing(nobody.get(address))
    assert nobody.get(newer).status_code == 200
    with database.writing() as session:
        revoke_status_key(session, ASHA)
    assert all(_is_nothing(nobody.get(newer + form)) for form in FORMS)


def _is_nothing(answer: TestResponse) -> bool:
    assert "Set-Cookie" not in answer.headers
    return answer.status_code == 404 and answer.text == "There is nothing at this address."


def test_however_many_ask_the_state_is_read_once_in_some_seconds(
    nobody: Browser, database: Database, config: Config, time: Clock, address: str
) -> None:
    in_step(database, config, time)
    statements: list[str] = []
    event.listen(
        database.engine, "before_cursor_execute", lambda *heard: statements.append(heard[2])
    )
    nobody.get(address)
    statements.clear()
    for form in FORMS:
        nobody.get(address + form)
    assert len([one for one in statements if not one.startswith("BEGIN")]) == len(FORMS)
    time.pass_by(days=4)
    assert "very late" in nobody.get(address).text


@pytest.mark.parametrize(
    ("look", "style"),
    [
        ("dark", "b{color:#5c8}"),
        ("auto", "@media(prefers-color-scheme:dark){body{color:#eee}b{color:#5c8}}"),
        ("light,,Noto Sans", '"Noto Sans",system-ui'),
        ("light,,a;}b{", "1rem/1.5 system-ui"),
    ],
)
def test_the_page_around_chooses_the_look(
    nobody: Browser,
    database: Database,
    config: Config,
    time: Clock,
    address: str,
    look: str,
    style: str,
) -> None:
    in_step(database, config, time)
    assert style in nobody.get(f"{address}?look={look}").text
