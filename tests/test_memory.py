"""What a running process keeps: not the memory of every password that was ever checked."""

import subprocess
import sys
from pathlib import Path

import pytest

# As many threads as answer requests check a password each, one after another and together.
_CHECKS = """
import threading, psutil
from panel.server import tune_malloc
from panel.security.hashes import hash_secret
tune_malloc()
hash_secret("warm")
before = psutil.Process().memory_info().rss
for _ in range(2):
    threads = [threading.Thread(target=hash_secret, args=("x",)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print((psutil.Process().memory_info().rss - before) // 2**20)
"""

_LOADED = """
import os, sys
from panel.config import load
from panel.installation import open_installation
from panel.web.app import create_app
create_app(open_installation(load(os.environ)))
print(*sorted(name for name in ("alembic", "cryptography") if name in sys.modules))
"""


def said(program: str, **environment: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment or None,
    )
    return answer.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="what other systems keep is their affair")
def test_checking_passwords_keeps_no_memory() -> None:
    assert int(said(_CHECKS)) < 15


def test_what_only_some_servers_need_is_not_loaded_by_all(tmp_path: Path) -> None:
    environment = {
        "SYNC_PANEL_DATA_DIR": str(tmp_path),
        "SYNC_PANEL_HARDWARE_ID": "9f2c0000000011ab",
    }
    said(_LOADED, **environment)  # the first start makes the database
    assert said(_LOADED, **environment) == ""
