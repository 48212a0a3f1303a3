"""Finds the Firefox that Playwright can drive, where the machine has one."""

import os
import sys
from pathlib import Path

_CACHES = {"darwin": "~/Library/Caches", "win32": "~/AppData/Local"}
_NAMES = ("firefox", "firefox.exe")


def find() -> Path | None:
    """Playwright's own build: it cannot drive a system's Firefox."""
    cache = Path(_CACHES.get(sys.platform, "~/.cache"), "ms-playwright").expanduser()
    browsers = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or cache)
    found = (path for name in _NAMES for path in browsers.glob(f"firefox-*/**/{name}"))
    return max((path for path in found if path.is_file()), default=None)
