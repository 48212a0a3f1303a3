"""Asks the advisory database about each package of the lock files that are named (pip-audit).

The exit code is 1 only for a known weakness. A database that does not answer is no fault of a
change, so that is said and is no failure.
"""

import json
import subprocess
import sys
from typing import Any

TIMEOUT_SECONDS = 60


def main(locks: list[str]) -> int:
    """Print what is known, and return the exit code."""
    return max([_audit(lock) for lock in locks], default=0)


def _audit(lock: str) -> int:
    packages = _ask(lock)
    asked = [package for package in packages if "skip_reason" not in package]
    print(f"{lock}: {len(asked)} of {len(packages)} packages could be asked about")
    weak = [package for package in asked if package["vulns"]]
    for package in weak:
        for found in package["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "no version"
            print(f"  {package['name']} {package['version']}: {found['id']}, mended in {fixed}")
    return 1 if weak else 0


def _ask(lock: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "pip_audit", "-r", lock, "--require-hashes", "--disable-pip"]
    more = ["--progress-spinner", "off", "--timeout", "5", "--format", "json"]
    try:
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        return []
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
