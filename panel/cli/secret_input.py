"""How a secret comes in: from a file, from standard input or typed unseen; never as an argument.

Arguments are seen by everybody on the machine (``ps``) and stay in the shell's history.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

STANDARD_INPUT = "-"


def read_secret(source: str, what: str, twice: bool = True) -> str:
    """Return the secret in the file ``source``; ``-`` is the next line of standard input.

    At a terminal ``-`` asks for it unseen, calling it ``what``, and ``twice`` for a new one. Where
    one command reads several secrets from ``-``, each is a line of its own, in the order of the
    command's options.
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
    """Return all of the file ``source``, or of standard input where it is ``-``."""
    return sys.stdin.read() if source == STANDARD_INPUT else _read_file(source)


def read_bytes(source: str) -> bytes:
    """Return all of the file ``source`` as it is, or of standard input where it is ``-``."""
    if source == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    with _told(source):
        return Path(source).read_bytes()


def _read_file(source: str) -> str:
    with _told(source):
        # Windows editors begin a file with a byte order mark, which is no part of a password.
        return Path(source).read_text(encoding="utf-8-sig")


@contextmanager
def _told(source: str) -> Iterator[None]:
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
