"""Which part may know which: the core can be read and tested without Flask."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB_PACKAGES = {"flask", "flask_babel", "flask_compress", "flask_wtf", "htmx_flask", "werkzeug"}
WEB_PACKAGES |= {"jinja2", "whitenoise", "wtforms"}


def is_web(path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return name.startswith("panel/web/")


def is_command(path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return name.startswith(("panel/cli/", "panel/cli"))


MODULES = sorted((ROOT / "panel").rglob("*.py"))
CORE = [path for path in MODULES if not is_web(path)]
BELOW_THE_COMMAND = [path for path in CORE if not is_command(path)]
MIGRATIONS = sorted((ROOT / "migrations").rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, by its full name."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield module
            # `from panel import web` names a module only in what it imports.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_only_the_web_layer_imports_flask_and_its_kin(path: Path) -> None:
    assert tops(path) & WEB_PACKAGES == set()


@pytest.mark.parametrize("path", BELOW_THE_COMMAND, ids=name_of)
def test_the_core_does_not_know_the_web_layer(path: Path) -> None:
    known = [name for name in imported(path) if f"{name}.".startswith("panel.web.")]
    assert known == []


@pytest.mark.parametrize("path", MIGRATIONS, ids=name_of)
def test_migrations_import_nothing_of_the_panel(path: Path) -> None:
    # They describe the tables of their day; panel/ describes those of today.
    assert "panel" not in tops(path)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_shipped_imports_the_tests(path: Path) -> None:
    assert tops(path) & {"tests", "pytest"} == set()
