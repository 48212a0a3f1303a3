"""Who looks on: somebody signed in who asks for pages, a supervisor, and a look at the memory."""

import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from multiprocessing.synchronize import Event

import psutil

from tests.support.processes import PanelProcess

PAGES = ("/", "/activity", "/", "/runs", "/", "/people", "/", "/parameters", "/", "/account")
BETWEEN_SECONDS = 0.2
TIMEOUT_SECONDS = 30.0
MEMORY_SECONDS = 0.5


@dataclass(frozen=True)
class Asked:
    """One request: when it was made (monotonic clock), how long it took, and its status or 0."""

    at: float
    path: str
    seconds: float
    status: int


@dataclass
class Visitor:
    """A person at the pages of ``panel``, and the supervisor who asks for its ``/healthz``."""

    panel: PanelProcess
    cookies: str
    asked: list[Asked] = field(default_factory=list)
    # When, and how many bytes of memory the process had then.
    memory: list[tuple[float, int]] = field(default_factory=list)

    def look_on(self, is_over: Event) -> list[threading.Thread]:
        """Ask until ``is_over``, in threads, which are returned."""
        works = self._see_pages, self._supervise, self._watch_memory
        threads = [threading.Thread(target=work, args=(is_over,)) for work in works]
        for thread in threads:
            thread.start()
        return threads

    def _see_pages(self, is_over: Event) -> None:
        paths = cycle(PAGES)
        connection = self._connect()
        while not is_over.wait(BETWEEN_SECONDS):
            self.asked.append(self._ask(connection, next(paths)))
        connection.close()

    def _supervise(self, is_over: Event) -> None:
        while not is_over.wait(BETWEEN_SECONDS):
            connection = self._connect()
            self.asked.append(self._ask(connection, "/healthz"))
            connection.close()

    def _watch_memory(self, is_over: Event) -> None:
        process = psutil.Process(self.panel.pid)
        while not is_over.wait(MEMORY_SECONDS):
            self.memory.append((time.monotonic(), process.memory_info().rss))

    def _connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.panel.port, timeout=TIMEOUT_SECONDS)

    def _ask(self, connection: HTTPConnection, path: str) -> Asked:
        began, status = time.monotonic(), 0
        headers = {"Cookie": self.cookies, "Accept-Encoding": "gzip, br"}
        # A browser asks once more where a kept connection has ended meanwhile.
        for _ in range(2):
            try:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, HTTPException):
                connection.close()
            else:
                status = answer.status
                break
        return Asked(began, path, time.monotonic() - began, status)
