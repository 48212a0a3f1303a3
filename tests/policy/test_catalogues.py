"""Every sentence is in every catalogue, translated, with the same places for values."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from panel.i18n import reveal
from panel.paths import TRANSLATIONS
from panel.web.base.language import LANGUAGES

ROOT = Path(__file__).resolve().parents[2]
TRANSLATED = sorted(set(LANGUAGES) - {"en"})
PLACE = re.compile(r"%\(\w+\)s|%.")


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """What `make catalogues` finds in the source now."""
    template = tmp_path_factory.mktemp("catalogues") / "panel.pot"
    command = [sys.executable, "-m", "babel.messages.frontend", "--quiet", "extract"]
    options = [
        "-F",
        "pyproject.toml",
        "-k",
        "say say_count:1,2 lazy_gettext",
        "-o",
        str(template),
        ".",
    ]
    subprocess.run([*command, *options], cwd=ROOT, check=True)
    with template.open("rb") as file:
        return read_po(file)


@pytest.fixture(params=TRANSLATED)
def catalogue(request: pytest.FixtureRequest) -> Catalog:
    with _path(request.param).open("rb") as file:
        return read_po(file, locale=request.param)


def _path(language: str) -> Path:
    return TRANSLATIONS / language / "LC_MESSAGES" / "messages.po"


def _messages(catalogue: Catalog) -> Iterator[Message]:
    """All but the header, which is the translation of nothing."""
    return (message for message in catalogue if message.id)


def _texts(texts: str | list[str] | tuple[str, ...] | None) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts or ())


def _places(text: str) -> set[str]:
    return set(PLACE.findall(text))


def test_there_is_a_catalogue_for_every_language() -> None:
    assert sorted(path.parent.parent.name for path in TRANSLATIONS.rglob("*.po")) == TRANSLATED


def test_it_holds_every_sentence_and_no_other(sentences: Catalog, catalogue: Catalog) -> None:
    wanted, there = ({str(one.id) for one in _messages(each)} for each in (sentences, catalogue))
    assert there - wanted == set(), "`make catalogues` takes out what is gone"
    assert wanted - there == set(), "`make catalogues` puts in what is new"


def test_all_is_translated(catalogue: Catalog) -> None:
    for message in _messages(catalogue):
        forms = catalogue.num_plurals if message.pluralizable else 1
        assert len(list(filter(None, _texts(message.string)))) == forms, message.id
        assert not message.fuzzy, message.id


def test_values_keep_their_places(catalogue: Catalog) -> None:
    for message in _messages(catalogue):
        places = _places(_texts(message.id)[-1])
        found = [_places(text) for text in _texts(message.string)]
        if message.pluralizable:
            # "One record" and "two records" are words of their own in some languages.
            assert set().union(*found) == places, message.id
        else:
            assert found == [places], message.id


def test_a_sentence_is_no_markup(catalogue: Catalog) -> None:
    found = [text for message in _messages(catalogue) for text in _texts(message.string)]
    assert [text for text in found if re.search(r"[<>]|&\w+;", text)] == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_it_names_nobody_and_no_lines(language: str) -> None:
    text = _path(language).read_text("utf-8")
    assert re.findall(r"@|^#: .*:\d+|^#~.*", text, re.MULTILINE) == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_it_has_no_character_that_nobody_sees(language: str) -> None:
    """The page shows such ones as their numbers, whoever wrote them (panel.i18n.reveal)."""
    text = _path(language).read_text("utf-8")
    assert reveal(text) == text
