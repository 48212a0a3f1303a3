"""The rooms of `panel/` and their order: an import goes only to a room that stands above its own.

ARCHITECTURE.md says what each room is for. A new room gets its place in `ROOMS`.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from panel.models import runs, settings
from panel.setups import issued
from panel.status import sentences

ROOT = Path(__file__).resolve().parents[2]

# From the bottom up. A file that stands alone in panel/ or panel/sync/ is a room of its own.
ROOMS = (
    "panel.clock",
    "panel.i18n",
    "panel.errors",
    "panel.paths",
    "panel.db",
    "panel.migrate",
    "panel.security",
    "panel.config",
    "panel.models",
    "panel.activity",
    "panel.sync.protocol",
    "panel.sync.store",
    "panel.installation",
    "panel.preferences",
    "panel.site_file",
    "panel.accounts",
    "panel.setups",
    "panel.sync.transport",
    "panel.sync.primary",
    "panel.sync.satellite",
    "panel.sync.msupply_v5",
    "panel.sync.run",
    "panel.sync.loop",
    "panel.status",
    "panel.operations",
    "panel.web.base",
    "panel.web.auth",
    "panel.web.page",
    "panel.web.views",
    "panel.web.api",
    "panel.web.app",
    "panel.server",
    "panel.demo",
    "panel.cli",
)
MOST_MODULES = 12
MOST_MODULES_IN_ALL = 130
WEB_PACKAGES = {"flask", "flask_babel", "flask_wtf", "htmx_flask", "werkzeug"}
WEB_PACKAGES |= {"jinja2", "whitenoise", "wtforms"}
# The one module that may know mSupply Sync v5 beside its own room and the web's address of it.
KNOWS_V5 = {"panel.sync.run", "panel.web.api.server_endpoints"}

STATES: tuple[type[StrEnum], ...] = (
    *(runs.RunResult, runs.RunStep, runs.InitialiseState, runs.SiteInitialisation),
    *(issued.SetupState, settings.SyncProtocol, sentences.StateKind, sentences.Severity),
)
STATE_ATTRIBUTES = {
    *("result", "step", "protocol", "initialise", "initialisation", "kind", "severity"),
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted((ROOT / "panel").rglob("*.py"))}
MODULES = {name: path for name, path in FILES.items() if path.name != "__init__.py"}


def room_of(module: str) -> str:
    """Return the longest name in ROOMS that ``module`` is, or is in; "" for the root."""
    within = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return max(within, key=len, default="")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, by its full name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else str(node.module) for name in names)


def arrows() -> Iterator[tuple[str, str]]:
    for name, path in MODULES.items():
        yield from ((name, other) for other in imported(path) if other in MODULES)


def test_every_module_is_in_a_room() -> None:
    assert [name for name in MODULES if not room_of(name)] == []
    assert [room for room in ROOMS if not any(room_of(name) == room for name in MODULES)] == []


def test_an_import_goes_only_to_a_room_below() -> None:
    order = {room: number for number, room in enumerate(ROOMS)}
    up = [(name, other) for name, other in arrows() if order[room_of(other)] > order[room_of(name)]]
    assert up == []


def test_no_two_modules_of_a_room_import_each_other() -> None:
    within = {(name, other) for name, other in arrows() if room_of(name) == room_of(other)}
    assert [arrow for arrow in within if arrow[::-1] in within] == []


def test_a_room_can_be_kept_in_mind() -> None:
    counts = Counter(room_of(name) for name in MODULES if not name.endswith("__main__"))
    assert {room: count for room, count in counts.items() if count > MOST_MODULES} == {}
    assert sum(counts.values()) <= MOST_MODULES_IN_ALL


def test_every_room_says_in_a_line_what_it_is() -> None:
    folders = [path for path in FILES.values() if path.name == "__init__.py"]
    silent = [str(path) for path in folders if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_only_the_web_imports_flask_and_its_kin() -> None:
    found = [
        (name, other)
        for name, path in MODULES.items()
        if not name.startswith("panel.web.")
        for other in imported(path)
        if other.split(".")[0] in WEB_PACKAGES
    ]
    assert found == []


def test_msupply_v5_is_known_in_one_place() -> None:
    knowing = {name for name, other in arrows() if room_of(other) == "panel.sync.msupply_v5"}
    assert {name for name in knowing if room_of(name) != "panel.sync.msupply_v5"} == KNOWS_V5


def test_migrations_import_nothing_of_the_panel() -> None:
    # They describe the tables of their day; panel/ describes those of today.
    migrations = sorted((ROOT / "migrations").rglob("*.py"))
    assert [path for path in migrations if any(n.startswith("panel") for n in imported(path))] == []


def test_nothing_shipped_imports_the_tests() -> None:
    found = [
        (name, other)
        for name, path in FILES.items()
        for other in imported(path)
        if other.split(".")[0] in ("tests", "pytest")
    ]
    assert found == []


def test_a_state_is_never_a_bare_string() -> None:
    values = {str(member.value) for kind in STATES for member in kind if member.value}
    found = [
        f"{name}:{line}: {value}"
        for name, path in MODULES.items()
        for line, value in _strings_beside_states(ast.parse(path.read_text("utf-8")))
        if value in values
    ]
    assert found == []


def _strings_beside_states(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the strings that a state is compared with, set to, or given as."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=ast.Attribute(attr=attribute), comparators=others):
                beside: list[ast.expr] = others if attribute in STATE_ATTRIBUTES else []
            case ast.Assign(targets=[ast.Attribute(attr=attribute)], value=value):
                beside = [value] if attribute in STATE_ATTRIBUTES else []
            case ast.keyword(arg=str(name), value=value):
                beside = [value] if name in STATE_ATTRIBUTES else []
            case _:
                continue
        for one in (inner for expression in beside for inner in ast.walk(expression)):
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                yield one.lineno, one.value
