"""The paths of data files, and a file that is written only once.

Templates and migrations stand beside ``panel/`` in the source tree and inside it in a wheel.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
STATIC = PACKAGE / "static"
# What hatch_build.py makes, and the manifest that lists it.
BUILT = STATIC / "built"
MANIFEST = BUILT / "manifest.json"
# The commonest passwords, which nobody may set; compressed with brotli.
KNOWN_PASSWORDS = PACKAGE / "security" / "known_passwords.br"
TRANSLATIONS = PACKAGE / "translations"


def _data_folder(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


TEMPLATES = _data_folder("templates")
MIGRATIONS = _data_folder("migrations")


def write_once(path: Path, make: Callable[[], str]) -> str:
    """Return the text of the file ``path``, stripped of white space around it.

    If the file is missing, the text that ``make`` returns is written to it first. The file is ASCII
    and readable by its owner only. It is complete before it gets its name, so a power cut leaves
    all of it or nothing. Raise OSError if the folder or the file is unusable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create(path, make())
    return path.read_text(encoding="ascii").strip()


def _create(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # link() fails if the name exists: of two processes that start together, one text wins.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
