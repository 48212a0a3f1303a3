"""Real servers in processes of their own, for tests that need more than one or a real one."""

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from panel.config import Config, load
from tests.support.cast import CODE, PASSWORD, USER

START_SECONDS = 60
POLL_SECONDS = 0.05


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PanelProcess:
    """One server: its folder, its database, its port, and the process while it runs."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str = "",
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | BaseProcess | None = None
        self.environment = {
            **{name: value for name, value in os.environ.items() if "SYNC_PANEL" not in name},
            "SYNC_PANEL_DATA_DIR": str(folder),
            "SYNC_PANEL_PORT": str(self.port),
            # Two servers on one machine must not take each other for the same one.
            "SYNC_PANEL_HARDWARE_ID": f"test-machine-{folder.name}"[:64],
            **({"SYNC_PANEL_DATABASE_URL": database_url} if database_url else {}),
            **(environment or {}),
        }

    @property
    def config(self) -> Config:
        """What this server reads out of its environment."""
        return load(self.environment)

    def shell(self, *words: str, stdin: str = "", code: int = 0) -> str:
        """Run ``sync-panel words…`` on this server's data and return what it printed.

        It has to end with ``code``; if that is no success, its errors are returned too.
        """
        done = subprocess.run(
            [sys.executable, "-m", "panel.cli", *words],
            env=self.environment,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == code, f"sync-panel {words}: {done.stderr or done.stdout}"
        return done.stdout + done.stderr if code else done.stdout

    def init(self) -> None:
        """Make the first person and the authorisation code."""
        password, code = self.folder / "password", self.folder / "code"
        self.folder.mkdir(parents=True, exist_ok=True)
        password.write_text(PASSWORD, encoding="utf-8")
        code.write_text(CODE, encoding="utf-8")
        self.shell(
            "init", "--user", USER, "--password-file", str(password), "--code-file", str(code)
        )

    def start(self) -> None:
        """Start the server and wait until it says that it is well."""
        self.launch()
        self.wait_until_up()

    def wait_until_up(self) -> None:
        """Wait until the server, which was launched, says that it is well."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._exit_code() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(POLL_SECONDS)

    def launch(self) -> None:
        """Start the server, and do not wait for it."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "panel.cli", "up"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _exit_code(self) -> int | None:
        assert isinstance(self._process, subprocess.Popen)
        return self._process.poll()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> None:
        """End the process as a power cut would: no goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process as an operator would."""
        self._end(signal.SIGTERM)

    def _end(self, sign: signal.Signals) -> None:
        if self._process is not None:
            # One that ended by itself is no longer there.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sign)
            self._wait()
            self._process = None

    def _wait(self) -> None:
        assert isinstance(self._process, subprocess.Popen)
        self._process.wait(timeout=START_SECONDS)

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (HTTPException, OSError):
            return False
        finally:
            connection.close()


class ForkedPanel(PanelProcess):
    """The same server, forked from a process that has loaded the panel already.

    It is up in a tenth of a second rather than in one and a half, which is what a test needs that
    starts servers by the hundred.
    """

    def __init__(
        self, folder: Path, *, constants: Mapping[str, object] | None = None, **more: Any
    ) -> None:
        """``constants`` of modules are other ones in this server, by their full names.

        Those that are set later hold from the next start.
        """
        super().__init__(folder, **more)
        self.constants = dict(constants or {})

    def launch(self) -> None:
        """Start the server, and do not wait for it."""
        arguments = (self.environment, self.folder, self.constants)
        self._process = _nursery().Process(target=_serve, args=arguments)
        self._process.start()

    def _exit_code(self) -> int | None:
        assert isinstance(self._process, BaseProcess)
        return self._process.exitcode

    def _wait(self) -> None:
        assert isinstance(self._process, BaseProcess)
        self._process.join(START_SECONDS)
        assert self._process.exitcode is not None, "the server did not end in time"


def _nursery() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["panel.cli.serve", "panel.web.app", "waitress", "psycopg"])
    return context


def _serve(environment: Mapping[str, str], folder: Path, constants: Mapping[str, object]) -> None:
    """Become ``sync-panel up`` with ``environment``; what it says goes to the log in ``folder``."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ.clear()
    os.environ.update(environment)
    for name, value in constants.items():
        module, _, constant = name.rpartition(".")
        setattr(import_module(module), constant, value)
    from panel.cli.serve import up

    up.main([], prog_name="sync-panel up")
