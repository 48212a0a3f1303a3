"""Slow servers and slow readers, eight at once: supervisors and signed-in people are answered."""

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy import insert

from panel.db import Database, make_engine
from panel.models.people import Activity
from tests.security.attacked import dribbling_server, open_files
from tests.support.cast import PASSWORD, USER
from tests.support.processes import ForkedPanel
from tests.support.web_sites import make_satellite

AT_ONCE = 8
WAIT_SECONDS = 60
# Of a page, while all of it goes on and other tests run beside.
ANSWER_SECONDS = 10
# Of a trial, and of a reader that takes next to nothing.
TRIAL_SECONDS, READER_SECONDS = 6.0, 4
# As much as one download holds: more than the buffers of a connection take.
ROWS, CONTENT = 1_100, "x" * 8_000
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
    with dribbling_server(pause_seconds=5) as url:
        yield url


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


@pytest.mark.skipif(sys.platform != "linux", reason="open files are read as Linux tells them")
def test_eight_slow_readers_of_the_activity(tmp_path: Path) -> None:
    panel = make_panel(tmp_path / "primary")
    database = Database(make_engine(panel.config.database_url))
    with database.writing() as session:
        row = {"at": datetime(2026, 1, 1, tzinfo=UTC), "person": "asha", "address": "", "count": 1}
        row |= {"via": "web", "what": "interval_changed", "subject": "", "label": ""}
        row |= {"became": {"name": CONTENT}}
        session.execute(insert(Activity), [row] * ROWS)
    database.close()
    panel.start()
    readers, held = list[socket.socket](), list[str]()
    try:
        person = Person(panel)
        cookie = person.headers()["Cookie"]
        for _ in range(AT_ONCE):
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
            reader.settimeout(WAIT_SECONDS)
            reader.connect(("127.0.0.1", panel.port))
            ask = f"GET /activity.csv HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"
            reader.sendall(ask.encode())
            readers.append(reader)
            # They are made one at a time: the next one waits for the head of this one.
            assert reader.recv(12) == b"HTTP/1.1 200"
            assert_answers(person)
            held += waiting_answers(panel)
        assert held
        begun = time.monotonic()
        while waiting_answers(panel):
            # They take a byte now and then, so that none of them is idle.
            for reader in readers:
                with suppress(ConnectionError):
                    reader.recv(1)
            assert_answers(person)
            assert time.monotonic() - begun < WAIT_SECONDS
    finally:
        for reader in readers:
            reader.close()
        panel.stop()


def waiting_answers(panel: ForkedPanel) -> list[str]:
    """Return the files in which answers wait for their readers."""
    return [file for file in open_files(panel) if "(deleted)" in file]
