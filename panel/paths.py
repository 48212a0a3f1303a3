"""Where the files are that are no Python: beside panel/ in the source, inside it in a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
STATIC = PACKAGE / "static"
BUILT = STATIC / "built"
MANIFEST = BUILT / "manifest.json"
TRANSLATIONS = PACKAGE / "translations"


def _place(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


TEMPLATES = _place("templates")
MIGRATIONS = _place("migrations")
