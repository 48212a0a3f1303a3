"""The browser that the browser tests drive, and what Playwright's driver needs to start it.

`python -m tests.browser.chromium` gets what is missing where it may, and says which browser it is
or, in one line, what to install; the tests themselves only look.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "msedge")
ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)


def find() -> Path | None:
    """The first browser that starts; `CHROMIUM` in the environment goes before all others."""
    candidates = (os.environ.get("CHROMIUM"), *(shutil.which(name) for name in NAMES), *ELSEWHERE)
    for candidate in candidates:
        if candidate and version(Path(candidate)):
            return Path(candidate)
    own = _playwrights_own() if driver_starts() else ""
    return Path(own) if own and version(Path(own)) else None


def driver_starts() -> bool:
    """Say whether Playwright's own program runs here: a bare Debian lacks a library of it."""
    return _succeeds(sys.executable, "-m", "playwright", "--version")


def missing() -> list[str]:
    """Return the Debian packages without which no browser test runs."""
    needs = {"chromium": find() is not None, "libatomic1": driver_starts()}
    return [package for package, there in needs.items() if not there]


def advice(packages: list[str]) -> str:
    """Return the line that tells a person what to do about what is :func:`missing`."""
    install = f"apt-get install {' '.join(packages)}"
    return f"The browser tests need {' and '.join(packages)}: {install} (or set CHROMIUM)"


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


def get(packages: list[str]) -> None:
    """Debian's packages where they may be installed, else the build that Playwright brings."""
    if not (_is_debian() and _install(packages)) and "libatomic1" not in packages:
        _install_playwrights()


def _playwrights_own() -> str:
    try:
        with sync_playwright() as playwright:
            return playwright.chromium.executable_path
    except (Error, OSError):
        return ""


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _is_debian() -> bool:
    # Not Ubuntu: there the package is an empty shell around a snap, which needs snapd.
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return "ID=debian" in lines and shutil.which("apt-get") is not None


def _install(packages: list[str]) -> bool:
    rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if rights and shutil.which("sudo") is None:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print(f"Installing Debian's {' and '.join(packages)}", flush=True)
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
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
    print("Installing Playwright's chromium", flush=True)
    root = sys.platform == "linux" and os.geteuid() == 0
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    subprocess.run([*command, "--with-deps"] if root else command, check=False)


def main() -> None:
    if packages := missing():
        get(packages)
        packages = missing()
    if not packages:
        browser = find()
        assert browser is not None
        print(f"Browser tests use {browser} ({version(browser)})")
    elif "CI" in os.environ:
        raise SystemExit(advice(packages))
    else:
        print(f"Browser tests are left out. {advice(packages)}", file=sys.stderr)


if __name__ == "__main__":
    main()
