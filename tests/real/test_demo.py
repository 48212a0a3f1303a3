"""The demo as somebody sees it who types the command: three servers at work, and nothing left."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import build_opener

import pytest

PATIENCE_SECONDS = 120


@pytest.fixture
def demo(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "panel.cli", "demo"],
        # The demo must not care about the panel that really runs on this machine.
        env={**os.environ, "TMPDIR": str(tmp_path), "SYNC_PANEL_PORT": "no number"},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    with suppress(ProcessLookupError):
        process.terminate()
    process.communicate(timeout=PATIENCE_SECONDS)


def read_greeting(demo: "subprocess.Popen[str]") -> str:
    assert demo.stdout is not None
    lines = ""
    for line in demo.stdout:
        lines += line
        if line.startswith("Stock changes"):
            return lines
    raise AssertionError(f"the demo ended: {lines}")


def status(folder: Path) -> dict[str, object]:
    """Return what ``sync-panel status`` says of the server in ``folder``."""
    ours = {name: text for name, text in os.environ.items() if "SYNC_PANEL" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "panel.cli", "status", "--json"],
        env={**ours, "SYNC_PANEL_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    facts: dict[str, object] = json.loads(done.stdout)
    return facts


def wait_for_success(folders: Sequence[Path]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(status(folder)["last_success_at"] for folder in folders):
        assert time.monotonic() < deadline, [status(folder) for folder in folders]


def answers(url: str) -> bool:
    try:
        with build_opener().open(f"{url}healthz", timeout=10) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


def test_three_servers_synchronise_and_leave_nothing_behind(
    demo: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    greeting = read_greeting(demo)
    urls = re.findall(r"http://127\.\S+/", greeting)
    assert len(set(urls)) == 3
    secrets = re.findall(r"(?:Password|code) +(\w{4}(?:-\w{4}){3})$", greeting, re.MULTILINE)
    assert len(set(secrets)) == 2
    assert all(answers(url) for url in urls)
    (folder,) = tmp_path.iterdir()
    wait_for_success([folder / "server-7", folder / "server-8"])

    demo.send_signal(signal.SIGINT)
    assert demo.wait(PATIENCE_SECONDS) == 0
    assert list(tmp_path.iterdir()) == []
    assert not any(answers(url) for url in urls)
