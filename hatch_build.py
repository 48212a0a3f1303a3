"""The build hook: makes the files for the browser, the translations and the known passwords.

Three sources in `panel/static/` become `panel/static/built/` (ignored by git, packed in the wheel):

    panel.js   -> app.<hash>.js   htmx 2 and our own script in one file, so that a first visit takes
                                  one request; the name changes with the content, so browsers may
                                  cache it for ever
    panel.css  -> panel.css       without comments and blanks; every page contains it; the manifest
                                  holds its hash for the Content-Security-Policy
    embed.js   -> embed.js        the name stays, because pages of other sites hold it

Scripts get a `.br` and a `.gz` beside them. `manifest.json` says what was made:

    {"htmx": "2.0.10",
     "files": {"app.js": "app.0123456789abcdef.js", "panel.css": "panel.css", …},
     "csp": {"panel.css": "sha256-…="}}

The 10 000 commonest passwords, which the panel refuses, become `panel/security/known_passwords.br`:
one a line, sorted, out of the lists of zxcvbn, which itself never reaches an installation.

`python hatch_build.py` does the same outside a build, where the build requirements are installed:
`make build` runs it after a source has changed.
"""

import base64
import gzip
import hashlib
import json
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import brotli
import minify
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
HTMX_VERSION = "2.0.10"
MOST_KNOWN_PASSWORDS = 10_000


class AssetsHook(BuildHookInterface[Any]):
    """The hook of hatchling, for ordinary and editable wheels."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before the wheel is packed."""
        build(Path(self.root))


def build(root: Path) -> None:
    """Build the static files and the catalogues of the source tree at ``root``."""
    pack_known_passwords(root / "panel" / "security")
    make_assets(root / "panel" / "static")
    compile_catalogues(root / "panel" / "translations")


def pack_known_passwords(folder: Path) -> None:
    """Write the commonest passwords into ``folder``; without one, as in some tests, do nothing."""
    if not folder.is_dir():
        return
    # Of the build requirements, like the ones above, but of no use for a script alone.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    commonest = sorted(FREQUENCY_LISTS["passwords"][:MOST_KNOWN_PASSWORDS])
    text = "\n".join(("", *commonest, "")).encode()
    write_whole(folder / "known_passwords.br", brotli.compress(text, quality=11))


def make_assets(static: Path) -> None:
    """Write ``built/`` in the folder ``static``, and delete older files from it."""
    built = static / "built"
    built.mkdir(exist_ok=True)
    own_script = (static / "panel.js").read_text("utf-8")
    # A semicolon between the two, because htmx may end without one.
    app = minified("text/javascript", read_htmx() + "\n;" + own_script)
    style = minified("text/css", (static / "panel.css").read_text("utf-8"))
    app_name = f"app.{hashlib.sha256(app).hexdigest()[:16]}.js"
    wanted = {app_name: app, "panel.css": style}
    files = {"app.js": app_name, "panel.css": "panel.css"}
    if (static / "embed.js").exists():
        wanted["embed.js"] = minified("text/javascript", (static / "embed.js").read_text("utf-8"))
        files["embed.js"] = "embed.js"
    for name, content in list(wanted.items()):
        if name.endswith(".js"):
            wanted[name + ".br"] = brotli.compress(content, quality=11)
            # Without a time stamp, so that the same sources make the same bytes.
            wanted[name + ".gz"] = gzip.compress(content, 9, mtime=0)
    manifest = {
        "htmx": HTMX_VERSION,
        "files": files,
        "csp": {"panel.css": csp_hash(style)},
    }
    for name, content in wanted.items():
        write_whole(built / name, content)
    # Last, because Make compares its time stamp with the sources'.
    write_whole(built / "manifest.json", json.dumps(manifest, indent=1).encode() + b"\n")
    for path in built.iterdir():
        if path.name not in wanted and path.name != "manifest.json":
            path.unlink()


def read_htmx() -> str:
    """Return htmx's minified script. Raise SystemExit if it is not :data:`HTMX_VERSION`."""
    # Found in the wheel's list of files, so that Django is not imported.
    path = distribution("django-htmx").locate_file("django_htmx/static/django_htmx/htmx-2.min.js")
    script = Path(str(path)).read_text("utf-8").strip()
    found = re.search(r'version:\s*"([^"]*)"', script)
    if found is None or found[1] != HTMX_VERSION:
        raise SystemExit(f"htmx {HTMX_VERSION} was expected, found {found and found[1]}: {path}")
    return script


def minified(media_type: str, source: str) -> bytes:
    """Return ``source`` without comments and blanks.

    The names of a script's own variables are shortened too.
    """
    return str(minify.string(media_type, source)).encode()


def csp_hash(content: bytes) -> str:
    """Return the hash source of ``content``, without quotes (CSP Level 3, 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()


def compile_catalogues(translations: Path) -> None:
    """Write a .mo file beside each .po file below ``translations``."""
    for source in sorted(translations.glob("*/LC_MESSAGES/*.po")):
        with source.open("rb") as po:
            catalogue = read_po(po, locale=source.parent.parent.name)
        temporary = source.with_suffix(".mo.new")
        with temporary.open("wb") as mo:
            write_mo(mo, catalogue)
        temporary.replace(source.with_suffix(".mo"))


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` at once, so that a running server never reads half a file."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    temporary.replace(path)


if __name__ == "__main__":
    build(ROOT)
    print(f"built {(ROOT / 'panel' / 'static' / 'built').relative_to(ROOT)}")
