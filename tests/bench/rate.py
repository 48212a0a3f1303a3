"""How many requests a second one server answers, and how much memory it has."""

import time
from http.client import HTTPConnection
from multiprocessing import get_context

import psutil

CLIENTS = 2
SECONDS = 4.0
MEBIBYTE = 1024 * 1024
START_SECONDS = 60
POLL_SECONDS = 0.1


# As Chromium says it to this machine.
ACCEPTED = "gzip, deflate, br"


def requests_per_second(port: int, path: str, cookies: str) -> float:
    """Ask for ``path`` over kept connections for a few seconds, from processes of their own."""
    headers = {"Cookie": cookies, "Accept-Encoding": ACCEPTED}
    with get_context("spawn").Pool(CLIENTS) as pool:
        answered = pool.starmap(_ask, [(port, path, headers)] * CLIENTS)
    return sum(answered) / SECONDS


def _ask(port: int, path: str, headers: dict[str, str]) -> int:
    connection = HTTPConnection("127.0.0.1", port)
    answered = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (200, 304), f"{path} answered {answer.status}"
        answered += 1
    connection.close()
    return answered


def resident_mebibytes(pid: int) -> float:
    """Return the resident memory of a process, its children included."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return float(sum(member.memory_info().rss for member in family)) / MEBIBYTE


def wait_for(port: int) -> None:
    """Return once somebody listens on ``port``; give up after a minute."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            HTTPConnection("127.0.0.1", port, timeout=1).connect()
        except OSError:
            assert time.monotonic() < end, f"nobody listens on {port}"
            time.sleep(POLL_SECONDS)
        else:
            return
