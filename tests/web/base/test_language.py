"""In which language the panel speaks to whom, and who remembers it."""

import pytest

from panel.db import Database
from panel.models.people import Person
from tests.support.cast import MANAGER, PASSWORD
from tests.web.conftest import Browser


def tag(browser: Browser, path: str = "/", **headers: str) -> str:
    """Return what the page's ``<html>`` says of its language."""
    page = browser.get(path, htmx=False, **headers).text
    return page.partition('<html lang="')[2].partition(">")[0].replace('"', "")


@pytest.mark.parametrize(
    ("wanted", "spoken"),
    [
        ("fr-CM,fr;q=0.9,en;q=0.5", "fr"),
        ("pt-MZ", "pt-PT"),
        ("fr-FR,en;q=0.8", "fr"),
        ("en-US,fr;q=0.5", "en-GB"),
        ("es;q=0.4, fj, fr-CH;q=0.9, *;q=0.1", "fr"),
        ("es", "es"),
        ("de, fr;q=0", "en-GB"),
        ("ar-SD", "ar-u-nu-latn dir=rtl"),
        ("fj, sw;q=0.8", "en-GB"),
        ("", "en-GB"),
    ],
)
def test_the_browser_says_what_its_reader_understands(
    nobody: Browser, manager: Browser, wanted: str, spoken: str
) -> None:
    assert tag(nobody, "/sign-in", Accept_Language=wanted) == spoken
    assert tag(manager, Accept_Language=wanted) == spoken


def test_who_is_not_signed_in_chooses_for_the_browser(nobody: Browser) -> None:
    answer = nobody.post("/language", {"language": "es"})
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    assert tag(nobody, "/sign-in", Accept_Language="fr") == "es"


def test_a_person_chooses_once_for_every_browser(manager: Browser, nobody: Browser) -> None:
    answer = manager.post("/language", {"language": "ar"})
    assert (answer.status_code, answer.location) == (303, "/")
    assert tag(manager).startswith("ar")
    elsewhere = nobody
    elsewhere.post("/language", {"language": "pt"})
    elsewhere.sign_in(MANAGER, PASSWORD)
    assert tag(elsewhere, Accept_Language="fr").startswith("ar")


def test_the_sign_in_page_keeps_the_language_of_who_left(manager: Browser) -> None:
    manager.post("/language", {"language": "fr"})
    manager.post("/sign-out")
    assert tag(manager, "/sign-in") == "fr"


def test_a_choice_makes_nobody_elses_form_too_old(manager: Browser, database: Database) -> None:
    def version() -> int:
        with database.reading() as session:
            return session.query(Person).filter_by(name=MANAGER).one().version

    before = version()
    manager.post("/language", {"language": "es"})
    assert version() == before


def test_a_page_in_another_language_is_another_page(manager: Browser) -> None:
    english = manager.get("/").headers["ETag"]
    assert manager.get("/", If_None_Match=english).status_code == 304
    assert manager.get("/", If_None_Match=english, Accept_Language="es").status_code == 200


def test_a_language_that_is_not_spoken(manager: Browser) -> None:
    assert manager.post("/language", {"language": "tlh"}).status_code == 404
    assert tag(manager) == "en-GB"


def test_portuguese_is_that_of_mozambique_and_angola(manager: Browser) -> None:
    activity = manager.get("/activity", Accept_Language="pt-MZ").text
    assert ">23/11/2026, 09:00</time>" in activity


def test_choosing_a_language_loses_nothing_of_where_one_was_going(nobody: Browser) -> None:
    page = nobody.get("/sign-in?next=/activity").text
    languages = page.partition('action="/language"')[2]
    assert '<input type="hidden" name="next" value="/activity">' in languages
    answer = nobody.post("/language", {"language": "fr", "next": "/activity"})
    assert answer.location == "/sign-in?next=/activity"


def test_dates_and_amounts_are_the_readers(manager: Browser) -> None:
    activity = manager.get("/activity", Accept_Language="es").text
    assert '<time class="full" datetime=2026-11-23T09:00Z>23 nov 2026, 9:00</time>' in activity
