"""Where the files are that are no Python: beside panel/ in the source, inside it in a wheel."""

import os
import secrets
from collections.abc import Callable
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


def write_once(path: Path, make: Callable[[], str]) -> str:
    """Return what ``path`` holds; where it is not there yet, keep what ``make`` returns in it.

    Only the owner may read it. It is whole before it has its name, so that a power cut leaves all
    of it or nothing. Raise OSError where the folder or the file cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _make(path, make())
    return path.read_text(encoding="ascii").strip()


def _make(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name exists: of two processes starting at once, one text wins.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
