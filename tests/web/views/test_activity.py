"""The Activity page: who did what, found by person, kind and day, and downloaded."""

import csv
import re
from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import text

from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.db import Database
from tests.support.cast import MANAGER, VIEWER
from tests.support.clock import Clock
from tests.support.web_sites import words
from tests.web.conftest import Browser

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])


@pytest.fixture
def two_days(database: Database, time: Clock) -> None:
    """Somebody's change on the 20th and a satellite's refusal on the 21st, before the sign-ins."""
    with database.writing() as session:
        time.now = datetime.fromisoformat("2026-11-20T23:59:59.5+00:00")
        log.add_entry(
            session,
            Actor("maya", "192.0.2.4", "web"),
            EventKind.INTERVAL_CHANGED,
            subject="interval",
            was={"interval_minutes": 10, "password": "changed", "url": ""},
            became={"interval_minutes": 25, "password": "changed", "url": "https://x.example.org"},
        )
        time.now = datetime.fromisoformat("2026-11-21T00:00+00:00")
        log.add_entry(session, Actor("7 Kadavu", via="sync"), EventKind.SYNC_REFUSED, label="7")
    time.now = datetime.fromisoformat("2026-11-23T09:00+00:00")


def _words(html: str) -> str:
    body = re.sub(r"(?s)^.*?</form>(?=\s*<(table|p))", "", html)
    return re.sub(r"<[^>]*>|\s+", " ", body)


@either
@pytest.mark.usefixtures("two_days")
def test_everybody_who_may_look_reads_it(viewer: Browser, htmx: bool) -> None:
    words = re.sub(r" +", " ", _words(viewer.get("/activity", htmx=htmx).text))
    assert "20 Nov 2026, 23:59 maya changed the sync time interval" in words
    assert "Sync time interval: 10 → 25" in words
    assert "Password: changed" in words
    assert "URL: empty → https://x.example.org" in words
    assert "192.0.2.4" in words
    assert words.index("vito signed in") < words.index("was refused a sync: 7 sync")


def test_nobody_else_does(nobody: Browser) -> None:
    assert nobody.get("/activity").status_code == 303
    assert nobody.get("/activity.csv").status_code == 303
    assert nobody.get("/activity", htmx=True).status_code == 401


@either
@pytest.mark.usefixtures("two_days")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("person=maya", ["maya"]),
        ("person=%20maya%20", ["maya"]),
        ("person=Nobody", []),
        ("what=sync_refused", ["7 Kadavu"]),
        ("begin=2026-11-21&end=2026-11-22", ["7 Kadavu"]),
        ("end=2026-11-20", ["maya"]),
        ("begin=2026-11-23", ["asha"]),
        ("end=9999-12-31&what=interval_changed", ["maya"]),
        ("begin=0001-01-01&what=interval_changed", ["maya"]),
        ("what=nonsense", []),
    ],
)
def test_it_is_found_by_person_kind_and_day(
    manager: Browser, query: str, found: list[str], htmx: bool
) -> None:
    with_people = manager.get(f"/activity?{query}", htmx=htmx).text
    names = re.findall(r"<tr>\s*<td>.*?</td>\s*<td>(.*?)</td>", with_people)
    assert [name for name in names if name != "operator"] == found
    assert ("Nothing that fits." in with_people) is (not names)


@either
def test_a_date_that_is_none_is_refused_beside_its_field(manager: Browser, htmx: bool) -> None:
    response = manager.get("/activity?begin=yesterday&person=maya", htmx=htmx)
    assert response.status_code == 422
    assert "A date as year-month-day" in response.text
    assert 'value="yesterday"' in response.text
    assert 'value="maya"' in response.text
    assert manager.get("/activity.csv?begin=yesterday").status_code == 422


def test_older_pages_follow_one_another_without_gap_or_overlap(
    database: Database, manager: Browser
) -> None:
    with database.writing() as session:
        for number in range(120):
            log.add_entry(session, Actor("maya"), EventKind.SYNC_ASKED, label=f"number {number}.")
    seen: list[str] = []
    address: str | None = "/activity?person=maya"
    while address:
        page = manager.get(address).text
        seen += re.findall(r"number (\d+)\.", page)
        # Rows that come meanwhile push nothing onto the next page.
        manager.get("/nowhere")
        older = re.search(r'href="([^"]*)">Older<', page)
        address = older[1].replace("&amp;", "&") if older else None
    assert seen == [str(number) for number in reversed(range(120))]


def test_the_download_holds_every_row_that_fits(database: Database, manager: Browser) -> None:
    with database.writing() as session:
        for number in range(1100):
            log.add_entry(session, Actor("maya"), EventKind.SYNC_ASKED, label=str(number))
    response = manager.get("/activity.csv?person=maya")
    assert response.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in response.headers["Content-Disposition"]
    rows = list(csv.DictReader(response.data.decode("utf-8-sig").splitlines()))
    assert [row["label"] for row in rows] == [str(number) for number in reversed(range(1100))]
    assert rows[0]["at"] == "2026-11-23T09:00:00+00:00"
    assert rows[0]["what"] == "sync_asked"


def test_what_many_forbidden_requests_leave_is_one_row(
    viewer: Browser, manager: Browser, database: Database
) -> None:
    for number in range(30):
        assert viewer.get(f"/servers/{number}/edit").status_code == 403
    with database.reading() as session:
        (row,) = log.search(session, what="refused_permission")
    assert row.count == 30
    page = words(manager.get("/activity?what=refused_permission").text)
    assert "30 times, until" in page
    (told,) = csv.DictReader(
        manager.get("/activity.csv?what=refused_permission").data.decode("utf-8-sig").splitlines()
    )
    assert (told["count"], told["last_at"]) == ("30", "2026-11-23T09:00:00+00:00")


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("name", ["a;=1+1", 'a;"=1+1', "a; @SUM(A1)", "a\n=1", "a;+1;-2", "=1;=2"])
def test_no_cell_is_a_formula_however_cells_are_separated(
    database: Database, manager: Browser, name: str, separator: str
) -> None:
    with database.writing() as session:
        became = {"name": name}
        log.add_entry(session, Actor(name), EventKind.SYNC_ASKED, label=f'" {name}', became=became)
    content = manager.get("/activity.csv?what=sync_asked").data.decode("utf-8-sig")
    cells = list(csv.reader(content.splitlines(keepends=True), delimiter=separator))
    assert [cell for line in cells for cell in line if re.match(r'[\s"]*[=+@-]', cell)] == []


def test_characters_that_nobody_sees_are_named_in_the_download(
    database: Database, manager: Browser
) -> None:
    with database.writing() as session:
        log.add_entry(session, Actor("asha\u202e"), EventKind.SYNC_ASKED, became={"a": "\u200b"})
    content = manager.get("/activity.csv?what=sync_asked").data.decode("utf-8-sig")
    assert "asha⟨U+202E⟩" in content
    assert '{""a"": ""⟨U+200B⟩""}' in content
    assert "asha⟨U+202E⟩" in manager.get("/activity?what=sync_asked").text


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t1"])
def test_no_cell_of_the_download_is_a_formula(
    database: Database, manager: Browser, name: str
) -> None:
    with database.writing() as session:
        log.add_entry(session, Actor(name), EventKind.SYNC_ASKED, label=name)
    content = manager.get("/activity.csv?what=sync_asked").data.decode("utf-8-sig")
    row = next(csv.DictReader(content.splitlines(keepends=True)))
    assert (row["person"], row["label"]) == (f"'{name}", f"'{name}")


def test_nothing_in_the_panel_alters_it(app: Flask, database: Database) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/activity"):
            assert rule.methods == {"GET", "HEAD", "OPTIONS"}
    for statement in ("UPDATE activity SET person = 'eve'", "DELETE FROM activity"):
        with pytest.raises(Exception, match="activity"), database.writing() as session:
            session.execute(text(statement))


def test_the_names_of_others_do_no_harm(database: Database, manager: Browser) -> None:
    with database.writing() as session:
        log.add_entry(session, Actor("<i>eve</i>"), EventKind.SYNC_ASKED, label="<script>alert(1)")
    page = manager.get("/activity").text
    assert "&lt;i&gt;eve&lt;/i&gt;" in page
    assert "<script>alert" not in page


@pytest.mark.usefixtures("viewer")
def test_signed_in_people_are_in_it(manager: Browser) -> None:
    page = manager.get("/activity?what=signed_in").text
    assert MANAGER in page
    assert VIEWER in page
