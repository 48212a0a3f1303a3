"""The input and output of commands, their installation and their actor.

Tables and JSON go to standard output, reasons to standard error. A secret comes from a file, from
standard input or a hidden prompt, never as an argument, which everybody on the machine can see.
"""

import getpass
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from panel.activity.log import Actor
from panel.config import load
from panel.errors import Invalid, NeedsConfirmation, Refusal
from panel.i18n import reveal
from panel.installation import Installation, open_installation
from panel.models.base import NAME_LENGTH
from panel.preferences.parameter_table import preferences

STANDARD_INPUT = "-"
_STEPS_SHOWN = 500
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@contextmanager
def installation(make: bool = False) -> Iterator[Installation]:
    """Yield the installation of the environment; ``make`` creates a missing one.

    Raise :class:`panel.config.ConfigError` or :class:`Refusal`.
    """
    opened = open_installation(load(os.environ, make=make), make=make)
    try:
        yield opened
    finally:
        opened.close()


def shell_actor() -> Actor:
    """Return the system user who runs the command: behind sudo the person, not the service."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user, in a container for example
        name = "shell"
    return Actor(name=name[:NAME_LENGTH])


def refusal_text(refusal: Refusal) -> str:
    """Return the reason of ``refusal``, a line for each field, and the options that confirm it."""
    if isinstance(refusal, Invalid):
        keys = {parameter.name: key for key, parameter in preferences().items()}
        return "\n".join(
            f"{keys.get(field, field)}: {problem}" for field, problem in refusal.problems.items()
        )
    if isinstance(refusal, NeedsConfirmation):
        return "\n".join(_confirmations(refusal))
    return str(refusal)


def _confirmations(refusal: NeedsConfirmation) -> Iterator[str]:
    if refusal.acts:
        yield from (f"{act}: {warning}" for act, warning in refusal.acts.items())
        options = " ".join(f"--confirm {act}" for act in refusal.acts)
        yield f"If this is what you want, add {options}"
    if refusal.choice:
        yield str(refusal.choice.question)
        yield from (f"--confirm {act}: {words}" for act, words in refusal.choice.acts.items())


def ask(act: str, yes: bool) -> None:
    """Ask whether to do ``act`` unless ``yes``; end the command if not."""
    if not yes:
        click.confirm(f"{act}?", abort=True, err=True)


def print_json(value: object) -> None:
    """Print ``value`` as JSON in ASCII, safe in every shell; times are in ISO 8601."""
    click.echo(json.dumps(value, indent=2, default=_as_text))


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print ``rows`` in columns below ``headings``; None is an empty cell."""
    lines = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M UTC")
    return "" if value is None else reveal(str(value))


def is_terminal() -> bool:
    """Say whether somebody watches standard error."""
    return sys.stderr.isatty()


def show_progress(line: str) -> None:
    """Put ``line`` in the place of the last one, on a terminal; "" clears it."""
    if not is_terminal():
        return
    columns = shutil.get_terminal_size().columns
    # Erases the line (ECMA-48), which a Windows console understands too.
    click.echo(f"\r\x1b[K{line[: columns - 1]}", nl=False, err=True)


@contextmanager
def progress(length: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far ``what`` has come, and how long it will take.

    ``length`` is all of it, in any unit. Yield a function that is told what has been done since.
    """
    steps = max(length // _STEPS_SHOWN, 1)
    with click.progressbar(
        length=length,
        label=what,
        file=sys.stderr,
        hidden=not is_terminal(),
        update_min_steps=steps,
    ) as bar:
        yield bar.update


def read_secret(source: str, what: str, twice: bool = True) -> str:
    """Return the secret in the file ``source``; ``-`` is the next line of standard input.

    At a terminal ``-`` is a hidden prompt for ``what``, asked ``twice`` for a new secret. A command
    that reads several secrets from ``-`` takes one line each, in the order of its options. Raise
    ClickException if there is none.
    """
    if source != STANDARD_INPUT:
        return _only_line(_read_file(source), source)
    if sys.stdin.isatty():
        typed: str = click.prompt(what, hide_input=True, confirmation_prompt=twice)
        return typed
    line = sys.stdin.readline()
    if not line:
        raise click.ClickException(f"{what}: standard input has no line for it.")
    return line.rstrip("\r\n")


def read_text(source: str) -> str:
    """Return the text of the file ``source``; ``-`` is standard input. Raise ClickException."""
    return sys.stdin.read() if source == STANDARD_INPUT else _read_file(source)


def read_bytes(source: str, limit: int) -> bytes:
    """Return the bytes of the file ``source``, at most ``limit``; ``-`` is standard input.

    Raise ClickException.
    """
    if source == STANDARD_INPUT:
        content = sys.stdin.buffer.read(limit + 1)
    else:
        with _explained_read_error(source), Path(source).open("rb") as file:
            content = file.read(limit + 1)
    if len(content) > limit:
        raise click.ClickException(f"{source} is larger than {limit} bytes.")
    return content


def _read_file(source: str) -> str:
    with _explained_read_error(source):
        # Windows editors write a byte order mark, which is not part of a password.
        return Path(source).read_text(encoding="utf-8-sig")


@contextmanager
def _explained_read_error(source: str) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.ClickException(f"{source} cannot be read: {reason}.") from error


def _only_line(text: str, source: str) -> str:
    line = text.rstrip("\r\n")
    if "\n" in line:
        raise click.ClickException(f"{source} must hold one line, the secret and nothing else.")
    return line
