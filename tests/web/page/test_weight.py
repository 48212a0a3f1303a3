"""What each act costs on a slow line: the whole answer, headers too, brotli as browsers take it."""

from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from panel.config import Config
from panel.db import Database
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from tests.support.cast import CODE, OPERATOR
from tests.support.web_sites import make_primary, make_satellite
from tests.web.conftest import Browser

Acts = dict[str, tuple[str, dict[str, str] | None]]

# The status line, and Date, which the server adds.
LINE_AND_DATE = len("HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 22:00:00 GMT\r\n\r\n")
USUAL = 600
# The unlock brings all the fields, and the lock all that stands in their place: more of it on a
# satellite, and in Arabic, whose letters are two bytes each.
LIMITS = {"unlock": 2_000, "lock": 820}

EVERYWHERE: Acts = {
    "dialog": ("/unlock", None),
    "wrong code": ("/unlock", {"authorisation_code": "no such code", "parameters": "text"}),
    "cancel": ("/bar", None),
    "unlock": ("/unlock", {"authorisation_code": CODE, "parameters": "text"}),
    "interval": ("/interval", {"interval_minutes": "30", "version": "1"}),
}
ROW = {"name": "Labasa Hospital", "store": "LAB-01"}
ON_A_PRIMARY: Acts = {
    "new": ("/servers/new", None),
    "add": ("/servers", {"key": "abc", "sync_id": "99", **ROW}),
    "edit": ("/servers/5/edit", None),
    "save": ("/servers/5", {"version": "1", "sync_id": "12", **ROW}),
    "ask": ("/servers/remove", {"ids": "7"}),
    "remove": ("/servers/remove", {"ids": "7", "confirmed": "1"}),
    "undo": ("/servers/undo", {"ids": "7", "gone": "7"}),
}
LAST: Acts = {"lock": ("/lock", {})}


def primary(database: Database, config: Config) -> None:
    make_primary(database, config)
    with database.writing() as session:
        for sync_id in range(10, 28):
            fields = ServerFields(sync_id, f"Health Centre {sync_id}", f"HC-{sync_id:02}")
            add_server(session, OPERATOR, fields)


def satellite(database: Database, config: Config) -> None:
    make_satellite(database, config)


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("become", [primary, satellite])
def test_every_act_is_one_light_answer(
    manager: Browser,
    database: Database,
    config: Config,
    become: Callable[[Database, Config], None],
    language: str,
) -> None:
    become(database, config)
    acts = EVERYWHERE | (ON_A_PRIMARY if become is primary else {}) | LAST
    too_heavy = {}
    for act, (path, form) in acts.items():
        headers = {"Accept_Encoding": "br", "Accept_Language": language}
        if form is None:
            answer = manager.get(path, htmx=True, **headers)
        else:
            answer = manager.post(path, form, htmx=True, **headers)
        assert answer.status_code == (422 if act == "wrong code" else 200), act
        limit = LIMITS.get(act, USUAL)
        if act == "lock" and language == "en" and become is primary:
            limit = USUAL
        if weight(answer) > limit:
            too_heavy[act] = weight(answer)
    assert too_heavy == {}


# The masked token compresses to some bytes more or less each time; Arabic letters take two.
@pytest.mark.parametrize(("language", "limit"), [("en", 4_500), ("ar", 4_900)])
def test_the_page_is_light(
    manager: Browser, database: Database, config: Config, language: str, limit: int
) -> None:
    primary(database, config)
    page = manager.get("/", Accept_Encoding="br", Accept_Language=language)
    assert weight(page) <= limit


def weight(answer: TestResponse) -> int:
    lines = (len(f"{name}: {value}\r\n") for name, value in answer.headers)
    return LINE_AND_DATE + sum(lines) + len(answer.data)
