"""The documents: links that resolve, one way to each of them, and names that the code still has."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from posixpath import normpath

import pytest

from panel.sync.protocol.error_codes import REASONS
from tests.policy.conftest import ROOT
from tests.policy.test_rooms import ROOMS

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# A file or a folder of the source, in backquotes.
PLACE = re.compile(r"`((?:panel|tests|templates|migrations|deploy|requirements|docs)/[\w./-]*)`")
ROOM_ROW = re.compile(r"^\| `(panel[\w.]*)` \|", re.MULTILINE)
WAY_ROW = re.compile(r"^\| `(panel/[\w/]+\.py)` \| `(\w+)` \|", re.MULTILINE)
# Made by make, so a fresh checkout has none of them.
BUILT = ("panel/static/built",)


@pytest.fixture(scope="module")
def documents(texts: dict[str, str]) -> dict[str, str]:
    return {name: FENCED.sub("", text) for name, text in texts.items() if name.endswith(".md")}


def links(documents: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield each relative link: the document it is in, the file and the section it leads to."""
    for name, text in documents.items():
        for target in LINK.findall(text):
            if "://" not in target:
                path, _, section = target.partition("#")
                folder = PurePosixPath(name).parent
                yield name, normpath(str(folder / path)) if path else name, section


def sections(text: str) -> set[str]:
    """Return the names by which a forge links to the headings of ``text``."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in kept}


def test_every_link_between_documents_resolves(documents: dict[str, str]) -> None:
    broken = [
        (name, path, section)
        for name, path, section in links(documents)
        if not (ROOT / path).exists() or (section and section not in sections(documents[path]))
    ]
    assert broken == []


def test_the_readme_leads_to_every_document(documents: dict[str, str]) -> None:
    linked = {path for name, path, _ in links(documents) if name == "README.md"}
    assert documents.keys() - linked == {"README.md"}


def test_a_document_names_no_file_that_does_not_exist(documents: dict[str, str]) -> None:
    missing = [
        (name, place)
        for name, text in documents.items()
        for place in PLACE.findall(text)
        if not place.startswith(BUILT) and not _exists(place)
    ]
    assert missing == []


def test_architecture_has_every_room_in_its_order(documents: dict[str, str]) -> None:
    assert tuple(ROOM_ROW.findall(documents["ARCHITECTURE.md"])) == ROOMS


def test_architecture_names_functions_that_exist(documents: dict[str, str]) -> None:
    ways = WAY_ROW.findall(documents["ARCHITECTURE.md"])
    assert [way for way in ways if way[1] not in _defined(way[0])] == []
    assert ways


def test_sync_explains_every_code_that_people_meet(documents: dict[str, str]) -> None:
    told = set(re.findall(r"`(\w+)`", documents["docs/sync.md"]))
    assert REASONS.keys() <= told


def _exists(place: str) -> bool:
    path = ROOT / place
    return path.exists() or path.with_suffix(".py").exists()


def _defined(place: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    tree = ast.parse((ROOT / place).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
