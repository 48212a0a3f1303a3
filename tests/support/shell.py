"""The command line as a script uses it: words in; exit code, output and errors back."""

import socket
from pathlib import Path

from click.testing import CliRunner, Result

from panel.activity import log
from panel.cli.main import commands
from panel.db import Database, make_engine
from panel.models.people import Activity


class Shell:
    """One installation by its command line, and its database, to look at what came of it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.database = Database(make_engine(database_url))
        # Taken, so that nobody listens there.
        self._port = socket.socket()
        self._port.bind(("127.0.0.1", 0))
        self.environment = {
            "SYNC_PANEL_DATA_DIR": str(folder),
            "SYNC_PANEL_DATABASE_URL": database_url,
            "SYNC_PANEL_HARDWARE_ID": "test-machine",
            "SYNC_PANEL_PORT": str(self._port.getsockname()[1]),
        }

    def close(self) -> None:
        """Let go of the database and the port."""
        self.database.close()
        self._port.close()

    def run(self, *words: str, stdin: str | bytes = "") -> Result:
        """Give a command, whatever comes of it."""
        return CliRunner().invoke(
            commands, words, input=stdin, env=self.environment, catch_exceptions=False
        )

    def do(self, *words: str, stdin: str | bytes = "") -> str:
        """Give a command that must succeed, and return what it printed."""
        result = self.run(*words, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def refused(self, *words: str, stdin: str | bytes = "", code: int = 1) -> str:
        """Give a command that must fail with ``code``, and return the reason it gave."""
        result = self.run(*words, stdin=stdin)
        assert result.exit_code == code, result.output
        return result.stderr

    def file(self, name: str, text: str) -> str:
        """Write a file and return its path."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def activity(self) -> list[Activity]:
        """Return what was recorded, newest first."""
        with self.database.reading() as session:
            return log.search(session)
