"""Finds a Chromium or Chrome for the browser tests, or gets one.

`python -m tests.browser.chromium` does it and says which; the tests themselves only look.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "msedge")
ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)


def find() -> Path | None:
    """The first browser that starts; `CHROMIUM` in the environment goes before all others."""
    candidates = [os.environ.get("CHROMIUM"), *(shutil.which(name) for name in NAMES), *ELSEWHERE]
    candidates.append(_playwrights_own())
    return next((Path(c) for c in candidates if c and version(Path(c))), None)


def version(browser: Path) -> str:
    """What the browser says of itself, or nothing if it cannot start (Ubuntu's name is a stub)."""
    if not browser.is_file():
        return ""
    if sys.platform == "win32":
        return "found"  # Chrome for Windows has no --version; it would open a window.
    try:
        answer = subprocess.run(
            [browser, "--version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip().splitlines()[-1] if answer.stdout.strip() else ""


def get() -> None:
    """Debian's package where packages may be installed, else the build that Playwright brings."""
    if not (_is_debian() and _install_debians()):
        _install_playwrights()


def _playwrights_own() -> str:
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def _is_debian() -> bool:
    # Not Ubuntu: there the package is an empty shell around a snap, which needs snapd.
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return "ID=debian" in lines and shutil.which("apt-get") is not None


def _install_debians() -> bool:
    rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if rights and shutil.which("sudo") is None:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print("Installing Debian's chromium")
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run(
            [*rights, "apt-get", "-q", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
            return False
    return True


def _install_playwrights() -> None:
    print("Installing Playwright's chromium")
    root = sys.platform == "linux" and os.geteuid() == 0
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    subprocess.run([*command, "--with-deps"] if root else command, check=True)


def main() -> None:
    browser = find()
    if browser is None:
        get()
        browser = find()
    if browser is None:
        raise SystemExit("No Chromium or Chrome was found or could be installed; set CHROMIUM.")
    print(f"Browser tests use {browser} ({version(browser)})")


if __name__ == "__main__":
    main()
