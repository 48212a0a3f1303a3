"""``python -m tests.fuzz``: send spoilt messages to every form and to every program's address.

The environment says how many, and which: ``MESSAGES``, ``SEED``. The exit code is 0 if each was
answered, in time and with no 5xx, and the memory did not grow.
"""

import gc
import os
import random
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from argon2 import PasswordHasher

from panel import clock
from panel.security import hashes
from tests.fuzz.judge import Judge
from tests.fuzz.raw import send_raw
from tests.fuzz.senders import Programs, Screens
from tests.fuzz.spoil import Spoiler
from tests.support.clock import Clock

# A round begins with the databases as they were, so that it can be repeated by itself.
ROUND = 500
SCREENS_SHARE = 0.4
# One of so many is sent to a real server, spoilt in its bytes.
RAW_SHARE = 25
MOST_GROWTH_BYTES = 40 * 2**20
# Caches are full by then.
WARM_ROUNDS = 20


def main() -> int:
    """Send the messages, print what was found, and return the exit code."""
    count = int(os.environ.get("MESSAGES") or 50_000)
    seed = int(os.environ.get("SEED") or secrets.randbelow(10**6))
    _be_quick()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        bad = _in_process(Path(name), count, seed)
        for found in send_raw(Path(name) / "raw", _chance(seed), count // RAW_SHARE):
            bad += 1
            print(f"{found}\nTo repeat it: make fuzz MESSAGES={count} SEED={seed}", flush=True)
    print("Nothing was found." if not bad else f"{bad} found.")
    return 1 if bad else 0


def _in_process(folder: Path, count: int, seed: int) -> int:
    standing = Clock()
    clock.now = standing
    judge = Judge(standing)
    screens, programs = Screens.make(folder, standing), Programs.make(folder)
    judge.listen()
    began, told = time.monotonic(), 0
    memory = [_memory()]
    for number in range(max(1, count // ROUND)):
        _round(judge, screens, programs, seed + number)
        for finding in list(judge.findings.values())[told:]:
            print(f"{finding.what}\nafter {finding.message.curl()}")
            print(f"To repeat it: make fuzz MESSAGES={ROUND} SEED={seed + number}\n", flush=True)
        told = len(judge.findings)
        memory.append(_memory())
        if number % 20 == 19:
            print(f"{judge.sent} messages, {memory[-1] / 2**20:.0f} MiB", flush=True)
    growth = memory[-1] - memory[min(WARM_ROUNDS, len(memory) - 1)]
    print(
        f"{judge.sent} messages in {time.monotonic() - began:.0f} s, SEED={seed}, "
        f"memory {memory[-1] / 2**20:.0f} MiB ({growth / 2**20:+.0f} since round {WARM_ROUNDS}), "
        f"answers {dict(sorted(judge.statuses.items()))}"
    )
    if growth > MOST_GROWTH_BYTES:
        print("The memory grows.")
    return len(judge.findings) + (growth > MOST_GROWTH_BYTES)


def _round(judge: Judge, screens: Screens, programs: Programs, seed: int) -> None:
    chance = _chance(seed)
    spoiler = Spoiler(chance)
    pages = round(SCREENS_SHARE * ROUND)
    screens.send(judge, spoiler, chance, pages)
    programs.send(judge, spoiler, chance, ROUND - pages)


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - no secret


def _be_quick() -> None:
    """Hash secrets in no time, and reach nothing outside of this process."""
    hashes._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    socket.getaddrinfo = _look_up_nothing


_look_up = socket.getaddrinfo


def _look_up_nothing(host: Any, *arguments: Any, **options: Any) -> Any:
    if host != "127.0.0.1":
        raise socket.gaierror(socket.EAI_NONAME, "nothing is looked up here")
    return _look_up(host, *arguments, **options)


def _memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    sys.exit(main())
