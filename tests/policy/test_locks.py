"""The lock files: exact, hashed, tied to pyproject.toml, silent about where packages are from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PINNED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)")
Pins = dict[str, str]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: Path) -> list[str]:
    """Each requirement with its hashes on one line."""
    joined = lock.read_text("utf-8").replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def pins(requirements: list[str]) -> Pins:
    found = {}
    for requirement in requirements:
        pin = PINNED.match(requirement)
        assert pin, f"not an exact version: {requirement[:80]}"
        found[normal(pin[1])] = pin[2]
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, list[str]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    run = table["project"]["dependencies"]
    postgresql = run + table["project"]["optional-dependencies"]["postgresql"]
    return {
        "run": run,
        "postgresql": postgresql,
        "test": postgresql + table["dependency-groups"]["test"],
        "build": table["build-system"]["requires"],
        "bench": table["dependency-groups"]["bench"],
        "audit": table["dependency-groups"]["audit"],
        "lock": table["dependency-groups"]["lock"],
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_entry_is_exact_and_hashed(lock: Path) -> None:
    assert pins(entries(lock))
    assert [line for line in entries(lock) if "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_no_lock_names_an_index_or_a_host(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert re.findall(r"(?i)\w+://\S*|--(?:extra-)?index-url.*|--find-links.*|\s@\s.*", text) == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_what_pyproject_asks_for_is_what_is_locked(
    lock: Path, project: dict[str, list[str]]
) -> None:
    asked = pins(project[lock.stem])
    locked = pins(entries(lock))
    assert {name: locked.get(name) for name in asked} == asked


@pytest.mark.parametrize("name", ["run", "postgresql"])
def test_the_tests_run_with_the_versions_that_are_shipped(name: str) -> None:
    shipped = pins(entries(ROOT / "requirements" / f"{name}.txt"))
    tested = pins(entries(ROOT / "requirements" / "test.txt"))
    assert {name: tested.get(name) for name in shipped} == shipped


@pytest.mark.parametrize("name", ["run", "postgresql", "test"])
def test_django_and_the_peers_stay_out(name: str) -> None:
    locked = pins(entries(ROOT / "requirements" / f"{name}.txt"))
    assert not {"django", "django-htmx", "flask-admin"} & locked.keys()
