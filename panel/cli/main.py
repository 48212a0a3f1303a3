"""The ``sync-panel`` command: the same acts and rules as the screen, for scripts and support.

Exit codes: 0 done, 1 refused (the reason is on standard error), 2 wrong usage or setting.
"""

import os
import sys
from importlib import import_module
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from panel import __version__
from panel.cli.terminal import refusal_text
from panel.config import ConfigError
from panel.db import first_line
from panel.errors import Refusal

# A module is imported only for its own command, so that no command waits for another's imports.
COMMANDS = {
    "up": "panel.cli.serve:up",
    "worker": "panel.cli.serve:worker",
    "init": "panel.cli.people:init",
    "settings": "panel.cli.settings:group",
    "join": "panel.cli.settings:join_command",
    "servers": "panel.cli.servers:group",
    "person": "panel.cli.people:person",
    "code": "panel.cli.people:code",
    "export": "panel.cli.transfer:export_command",
    "import": "panel.cli.transfer:import_command",
    "token": "panel.cli.records:token",
    "status-line": "panel.cli.records:status_line",
    "records": "panel.cli.records:records",
    "status": "panel.cli.sync:status",
    "sync": "panel.cli.sync:sync",
    "restored": "panel.cli.sync:restored",
    "test-connection": "panel.cli.sync:test_connection",
    "healthcheck": "panel.cli.doctor:healthcheck",
    "doctor": "panel.cli.doctor:doctor",
    "demo": "panel.cli.serve:demo",
}


class WrongSetting(click.ClickException):
    """A setting in the environment is wrong; exit code 2."""

    exit_code = 2


class Commands(click.Group):
    """The commands, imported when used; turns what they raise into words and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raise ClickException, with its exit code, for what the panel raises."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise WrongSetting(str(error)) from error
        except Refusal as refusal:
            raise click.ClickException(refusal_text(refusal)) from refusal
        except SQLAlchemyError as error:
            raise click.ClickException(f"The database failed: {first_line(error)}") from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="Sync Panel %(version)s")
def commands() -> None:
    """Sync Panel: the Synchronisation preferences of this server.

    The settings of the installation are environment variables, SYNC_PANEL_…, listed in
    docs/operate.md.
    """


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    # A database created here holds secrets: only its owner may read it, in whatever folder.
    os.umask(0o077)
    for stream in (sys.stdout, sys.stderr):
        # A Windows pipe may lack a letter of a name: it is escaped instead of failing.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    commands(prog_name="sync-panel")
