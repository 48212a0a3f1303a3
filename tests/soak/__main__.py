"""``python -m tests.soak``: servers are broken in every way, then properties are tried anew.

The environment says how long: ``CASES`` that are told one by one, before the rest; ``EVENTS``
(kill -9, restores, copied disks, broken lines) on each kind of database, or on ``DATABASE``;
``EXAMPLES`` for each property; ``SECONDS`` of rounds with that many each, one round if it is not
said. 0 leaves a part out. ``SEED`` repeats the choices of an
earlier run. The exit code is 0 if nothing was found.
"""

import os
import secrets
import subprocess
import sys
import time

CASES, STORM = "tests/real/cases.py", "tests/real/test_crashes.py"


def main() -> int:
    """Run the parts; return the exit code of the first that found something."""
    return cases() or storm() or search()


def cases() -> int:
    """Try the cases that need real servers and are too many for every change."""
    if os.environ.get("CASES") == "0":
        return 0
    return _pytest(CASES, *_wanted())


def storm() -> int:
    """Let ``EVENTS`` events happen; say how to repeat them."""
    events = os.environ.setdefault("EVENTS", "1000")
    if not int(events):
        return 0
    seed = _seed(10**6)
    print(f"{events} events on each database, SEED={seed}", flush=True)
    if code := _pytest(STORM, "-s", *_wanted(), seed=seed):
        print(
            f"To repeat it: make soak CASES=0 EXAMPLES=0 EVENTS={events}{_database()} SEED={seed}"
        )
        return code
    return 0


def search() -> int:
    """Try new examples, one round after the other; say how to repeat the round that failed."""
    examples = os.environ.setdefault("EXAMPLES", "200")
    if not int(examples):
        return 0
    end = time.monotonic() + float(os.environ.get("SECONDS") or 0)
    while True:
        seed = _seed(2**32)
        print(f"{examples} new examples for each property, SEED={seed}", flush=True)
        if code := _pytest("-m", "search", f"--hypothesis-seed={seed}", seed=seed):
            print(
                f"To repeat it: make soak CASES=0 EVENTS=0 EXAMPLES={examples} SEED={seed}",
                flush=True,
            )
            return code
        if time.monotonic() >= end:
            return 0


def _wanted() -> list[str]:
    return ["-k", os.environ["DATABASE"]] if os.environ.get("DATABASE") else []


def _database() -> str:
    database = os.environ.get("DATABASE")
    return f" DATABASE={database}" if database else ""


def _seed(below: int) -> str:
    return os.environ.get("SEED") or str(secrets.randbelow(below))


def _pytest(*arguments: str, seed: str = "") -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "SEED": seed}
    if arguments[0] in (CASES, STORM):
        # They make up no examples.
        environment.pop("EXAMPLES", None)
    done = subprocess.run([*command, *arguments, *sys.argv[1:]], env=environment, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
