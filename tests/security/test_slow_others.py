"""Slow servers and slow readers, eight at once: supervisors and signed-in people are answered."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

import pytest

from panel.db import Database, make_engine
from tests.support.cast import PASSWORD, USER
from tests.support.processes import ForkedPanel
from tests.support.web_sites import make_satellite

AT_ONCE = 8
WAIT_SECONDS = 60
# Of a page, while all of it goes on and other tests run beside.
ANSWER_SECONDS = 10
# Of a trial, and of a reader that takes next to nothing.
TRIAL_SECONDS, READER_SECONDS = 6.0, 4
# More than the buffers of the connection take.
ROWS, LABEL = 6_000, "x" * 120
# What a slow reader has room for.
SMALL_BUFFER_BYTES = 4_096


class Person:
    """A browser of somebody who is signed in, on a connection for each request."""

    def __init__(self, panel: ForkedPanel) -> None:
        self._panel, self._cookies = panel, dict[str, str]()
        self.send("POST", "/sign-in", {"name": USER, "password": PASSWORD, "_c": self.token()})

    def send(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self._panel.port, timeout=WAIT_SECONDS)
        try:
            connection.request(method, path, urlencode(form or {}), self.headers())
            answer = connection.getresponse()
            self._keep_cookies(answer)
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def headers(self) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}

    def token(self) -> str:
        found = re.search(r'name="_c" value="([^"]+)"', self.send("GET", "/sign-in")[1])
        found = found or re.search(r'"X-CSRF":"([^"]+)"', self.send("GET", "/nowhere")[1])
        assert found
        return found[1]

    def _keep_cookies(self, answer: HTTPResponse) -> None:
        for header in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = header.partition(";")[0].partition("=")
            self._cookies[name] = value


def make_panel(folder: Path) -> ForkedPanel:
    panel = ForkedPanel(
        folder,
        constants={
            "panel.operations.connection_test.TRIAL_SECONDS": TRIAL_SECONDS,
            "panel.server.ANSWER_SECONDS": READER_SECONDS,
            # What the buffers of the connection take counts too.
            "panel.server.LEAST_BYTES_A_SECOND": 2**20,
            "panel.server._MAINTENANCE_SECONDS": 1,
            "panel.web.views.activity.LARGEST_DOWNLOAD_BYTES": 2**20,
        },
    )
    panel.init()
    return panel


def assert_answers(person: Person) -> None:
    """Both lanes answer in time: a supervisor's request, and a person's page."""
    for path in ("/healthz", "/"):
        begun = time.monotonic()
        assert person.send("GET", path)[0] == 200
        assert time.monotonic() - begun < ANSWER_SECONDS


@pytest.fixture
def dribbling_url() -> Iterator[str]:
    """A server that sends the head of an answer, and then a byte every five seconds."""
    listener, is_over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def dribble(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not is_over.wait(5):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=dribble, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    is_over.set()
    listener.close()


def test_eight_trials_against_a_slow_server(tmp_path: Path, dribbling_url: str) -> None:
    panel = make_panel(tmp_path / "satellite")
    database = Database(make_engine(panel.config.database_url))
    make_satellite(database, panel.config, dribbling_url)
    database.close()
    panel.start()
    try:
        person = Person(panel)
        token, answers = person.token(), list[str]()
        threads = [
            threading.Thread(
                target=lambda: answers.append(person.send("POST", "/sync/test", {"_c": token})[1])
            )
            for _ in range(AT_ONCE)
        ]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert_answers(person)
        # One deadline for all of it, though bytes keep coming.
        assert time.monotonic() - begun < TRIAL_SECONDS + WAIT_SECONDS
        assert sum("Another trial of the connection is under way" in text for text in answers) == 6
        assert sum("did not answer in time" in text for text in answers) == 2
    finally:
        panel.stop()
