"""``python -m tests.soak``: the crash test with as many kills as ``KILLS`` says, seen at work.

Half of them are over SQLite and half over PostgreSQL. The last lines say what came of it; the exit
code is 0 if nothing was lost or doubled. ``SEED`` repeats the choices of an earlier run.
"""

import os
import sys
from pathlib import Path

import pytest

USUAL_KILLS = "1000"


def main() -> int:
    """Run the crash test and return its exit code."""
    os.environ.setdefault("KILLS", USUAL_KILLS)
    test = str(Path(__file__).parents[1] / "real" / "test_crashes.py")
    return pytest.main([test, "-q", "-s", "-p", "no:cacheprovider", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
