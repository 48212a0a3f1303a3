"""What is made by the first start stays, and is one thing for all who start together."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Barrier

from panel.paths import write_once

STARTERS = 8


def test_the_first_text_stays(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "name"
    assert write_once(path, lambda: "first") == "first"
    assert write_once(path, lambda: "second") == "first"


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "name"
    write_once(path, lambda: "text")
    assert path.stat().st_mode & 0o777 == 0o600


def test_who_start_together_get_the_same_and_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "name"
    numbers, together = count(), Barrier(STARTERS)

    def make() -> str:
        text = str(next(numbers))
        # All have seen that nothing is there yet, before any of them keeps its own.
        together.wait(timeout=30)
        return text

    with ThreadPoolExecutor(STARTERS) as pool:
        got = set(pool.map(lambda _: write_once(path, make), range(STARTERS)))
    assert got == {path.read_text("ascii")}
    assert list(tmp_path.iterdir()) == [path]
