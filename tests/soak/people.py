"""Who uses the servers while they are killed: authors who write, readers who follow."""

import random
import threading
from typing import Any

from tests.support.records_api import Api, CursorEnded, Line, Unanswered

RECORDS, TOGETHER = 300, 5
LONGEST_REST_SECONDS = 0.3
AWAY_SECONDS = 0.4
OK, MISSING = {200, 204}, 404

Key = tuple[str, str]


class Author:
    """Puts and deletes at one server, and remembers what must be found there afterwards.

    Every value that is written is a larger number than the ones before. ``possible`` says for each
    record which number it may have (None: deleted): one, unless an answer was lost.
    """

    def __init__(self, api: Api, sync_id: int, others: list[int], seed: int) -> None:
        self.possible: dict[Key, set[int | None]] = {}
        self.written = 0
        # Held while it writes, so that others can make it wait.
        self.writing = threading.Lock()
        # Whether the server went back to a backup, and gets what it lost only with its next sync.
        self.may_miss = False
        self._api = api
        self._sync_id = sync_id
        self._others = others
        self._number = 0
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def work(self, stop: threading.Event) -> None:
        """Write until ``stop``, with a rest now and then that leaves the server some air."""
        while not stop.wait(self._random.uniform(0, LONGEST_REST_SECONDS)):
            with self.writing:
                answered = self.write()
            if not answered:
                stop.wait(AWAY_SECONDS)

    def write(self) -> bool:
        """Write once, and say whether there was an answer."""
        lines = self._choose()
        try:
            if not self._send(lines):
                return True
        except Unanswered:
            for line in lines:
                self.possible.setdefault(_key(line), {None}).add(_value(line))
            return False
        self.possible |= {_key(line): {_value(line)} for line in lines}
        self.written += len(lines)
        return True

    def _choose(self) -> list[Line]:
        """Return one thing to write, or a few that stand or fall together."""
        count = TOGETHER if self._random.random() < 0.1 else 1
        # All of them would be refused for one that is missing.
        may_delete = count == 1 or not self.may_miss
        numbers = self._random.sample(range(RECORDS), count)
        return [self._line(number, may_delete) for number in numbers]

    def some_lines(self, count: int) -> list[Line]:
        """Return new contents of the first ``count`` records without an address."""
        first = [number for number in range(RECORDS) if number % 3][:count]
        return [self._put(number, "stock", None) for number in first]

    def _line(self, number: int, may_delete: bool) -> Line:
        to = self._random.choice(self._others) if number % 3 == 0 else None
        # A record stays addressed as it was at first, so each addressee has records of its own.
        table = "stock" if to is None else f"transfers-{to}"
        line = {"table": table, "id": f"{self._sync_id}-{number}"}
        present = self.possible.get(_key(line), {None})
        if may_delete and None not in present and self._random.random() < 0.2:
            return {**line, "deleted": True}
        return self._put(number, table, to)

    def _put(self, number: int, table: str, to: int | None) -> Line:
        self._number += 1
        data = {"n": self._number, "name": f"Amoxicillin {number}", "batch": "A" * (number % 50)}
        line = {"table": table, "id": f"{self._sync_id}-{number}", "data": data}
        return line if to is None else {**line, "to": to}

    def _send(self, lines: list[Line]) -> bool:
        """Send ``lines``; say whether they count: what is missing cannot be deleted."""
        if len(lines) > 1:
            self._api.put_many(lines)
            return True
        line = lines[0]
        if line.get("deleted"):
            status = self._api.delete(line["table"], line["id"])
        else:
            status = self._api.put(line["table"], line["id"], line["data"], line.get("to"))
        # A restored server may not have back yet what is deleted.
        is_missing = status == MISSING and self.may_miss and "deleted" in line
        assert status in OK or is_missing, f"{status} for {line}"
        return not is_missing


class Reader:
    """Follows what changes on one server, and keeps a copy by that alone."""

    def __init__(self, api: Api) -> None:
        self.copy: dict[Key, Line] = {}
        self._api = api
        self._cursor = ""
        # Until a server goes back to a backup, every content that is told is a newer one.
        self.is_strict = True
        self._seen: dict[Key, int] = {}

    def work(self, stop: threading.Event) -> None:
        """Follow until ``stop``."""
        while not stop.wait(AWAY_SECONDS):
            try:
                self.catch_up()
            except Unanswered:
                continue

    def catch_up(self) -> None:
        """Follow to the end of what there is."""
        more = True
        while more:
            try:
                lines, self._cursor, more = self._api.changes(self._cursor)
            except CursorEnded:
                self._begin_anew()
                continue
            for line in lines:
                self._take(line)

    def _begin_anew(self) -> None:
        self._cursor = ""
        self.copy.clear()
        self._seen.clear()

    def _take(self, line: Line) -> None:
        key = _key(line)
        if line["deleted"]:
            self.copy.pop(key, None)
            return
        number = line["data"]["n"]
        # The same again would be a batch applied twice, a smaller one an older version.
        is_newer = number > self._seen.get(key, 0)
        assert is_newer or not self.is_strict, f"{key}: {number} after {self._seen[key]}"
        self._seen[key] = number
        self.copy[key] = line["data"]


def _key(line: Line) -> Key:
    return line["table"], line["id"]


def _value(line: Line) -> Any:
    return None if line.get("deleted") else line["data"]["n"]
