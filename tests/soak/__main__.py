"""``python -m tests.soak``: servers are killed, then properties are tried with new examples.

The environment says how long: ``KILLS`` of servers in all (half over SQLite, half over PostgreSQL);
``EXAMPLES`` for each property; ``SECONDS`` of rounds with that many each, one round if it is not
said. ``SEED`` repeats the choices of an earlier run. The exit code is 0 if nothing was found.
"""

import os
import secrets
import subprocess
import sys
import time

CRASHES = "tests/real/test_crashes.py"


def main() -> int:
    """Run both parts; return the exit code of the first that found something."""
    return kill() or search()


def kill() -> int:
    """Run the crash test with as many kills as ``KILLS`` says."""
    if not int(os.environ.setdefault("KILLS", "1000")):
        return 0
    return _pytest(CRASHES, "-s", seed=_seed(10**6))


def search() -> int:
    """Try new examples, one round after the other; say how to repeat the round that failed."""
    examples = os.environ.setdefault("EXAMPLES", "200")
    end = time.monotonic() + float(os.environ.get("SECONDS") or 0)
    while True:
        seed = _seed(2**32)
        print(f"{examples} new examples for each property, SEED={seed}", flush=True)
        if code := _pytest("-m", "search", f"--hypothesis-seed={seed}", seed=seed):
            print(f"To repeat it: make soak KILLS=0 EXAMPLES={examples} SEED={seed}", flush=True)
            return code
        if time.monotonic() >= end:
            return 0


def _seed(below: int) -> str:
    return os.environ.get("SEED") or str(secrets.randbelow(below))


def _pytest(*arguments: str, seed: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "SEED": seed}
    done = subprocess.run([*command, *arguments, *sys.argv[1:]], env=environment, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
