"""Who sends messages to an application, and notes what fails or hangs."""

import io
import logging
import signal
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask
from werkzeug.test import run_wsgi_app

from tests.fuzz.spoil import Message
from tests.support.clock import Clock

MOST_SECONDS = 5.0
# Time that the panel sees pass from one message to the next: throttles open again.
BETWEEN_SECONDS = 20
# Answers of 503 that mean what they say: come again.
WELL_SAID = (b"sync_is_running", b"site_auth_timeout", b"initialise_later", b"download_under_way")


class Hung(BaseException):
    """A message was not answered in time. It is no Exception, so that no handler answers it."""


@dataclass(frozen=True)
class Finding:
    """A message that was not answered well, and why."""

    message: Message
    what: str


@dataclass
class Judge:
    """Sends messages in this process; ``findings`` has the first of each kind."""

    clock: Clock
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    _logged: list[logging.LogRecord] = field(default_factory=list)

    def listen(self) -> None:
        """Take what the panel logs, for the findings."""
        logging.getLogger().handlers[:] = [_Listener(self._logged)]
        signal.signal(signal.SIGALRM, _hang)

    def send(self, app: Flask, message: Message) -> int:
        """Send ``message`` to ``app``, and return the status of the answer; 0 if there is none."""
        self.clock.pass_by(seconds=BETWEEN_SECONDS)
        self._logged.clear()
        self.sent += 1
        try:
            with _in_time():
                status, body = _call(app, message)
        except (Exception, Hung) as error:
            self._note(message, error, "".join(traceback.format_exception(error)))
            return 0
        self.statuses[status] += 1
        if status >= 500 and not any(code in body for code in WELL_SAID):
            self._note(message, self._logged_error(), f"{status}: {body[:300]!r}\n{self._log()}")
        return status

    def _note(self, message: Message, error: BaseException | None, what: str) -> None:
        frames = traceback.extract_tb(error.__traceback__) if error else []
        ours = [f"{frame.filename}:{frame.lineno}" for frame in frames if "panel" in frame.filename]
        kind = f"{type(error).__name__} at {ours[-1] if ours else message.path[:40]}"
        self.findings.setdefault(kind, Finding(message, what))

    def _logged_error(self) -> BaseException | None:
        for record in self._logged:
            if record.exc_info:
                return record.exc_info[1]
        return None

    def _log(self) -> str:
        formatter = logging.Formatter()
        return "\n".join(formatter.format(record) for record in self._logged)


class _Listener(logging.Handler):
    def __init__(self, heard: list[logging.LogRecord]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(record)


def _call(app: Flask, message: Message) -> tuple[int, bytes]:
    """Call ``app`` as waitress does (PEP 3333)."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": message.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(message.path).decode("latin-1"),
        "QUERY_STRING": message.query,
        "SERVER_NAME": "panel",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "CONTENT_LENGTH": str(len(message.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(message.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in message.headers:
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    answer, status, _headers = run_wsgi_app(app, environ, buffered=True)
    return int(status.split()[0]), b"".join(answer)


@contextmanager
def _in_time() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _hang(_signal: int, _frame: FrameType | None) -> None:
    raise Hung(f"no answer within {MOST_SECONDS:.0f} s")
