"""What the commands print: tables and JSON on standard output, reasons on standard error."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import click

from panel.errors import Invalid, NeedsConfirmation, Refusal

# What the shell calls a field of panel.preferences; the others have the same name in both places.
NAMES = {"interval_minutes": "sync_interval"}


def reason(refusal: Refusal) -> str:
    """Return why something was refused, a line for each field, and how to go on where one can."""
    if isinstance(refusal, Invalid):
        return "\n".join(
            f"{NAMES.get(field, field)}: {problem}" for field, problem in refusal.problems.items()
        )
    if isinstance(refusal, NeedsConfirmation):
        lines = [f"{act}: {warning}" for act, warning in refusal.acts.items()]
        options = " ".join(f"--confirm {act}" for act in refusal.acts)
        return "\n".join([*lines, f"If this is what you want, add {options}"])
    return str(refusal)


def print_json(value: object) -> None:
    """Print ``value`` as JSON in ASCII, which no shell on the way spoils; moments in ISO 8601."""
    click.echo(json.dumps(value, indent=2, default=_as_text))


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print ``rows`` in columns below their ``headings``; None is shown as nothing."""
    lines = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M UTC")
    return "" if value is None else str(value)
