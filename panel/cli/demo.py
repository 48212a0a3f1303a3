"""``sync-panel demo``: a primary and two satellites with data, to look at."""

import signal
from types import FrameType
from typing import NoReturn

import click

# Windows has no SIGHUP.
_ENDINGS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@click.command("demo")
def command() -> None:
    """Run a primary and two satellites on this machine, until Ctrl-C.

    They have sample stock that changes while you look, and leave nothing behind.
    """
    from panel.demo import run

    for number in _ENDINGS:
        signal.signal(number, _stop)
    run(click.echo)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    # Once is enough: a second Ctrl-C would leave behind what the first one clears away.
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    click.echo("\nThe demo ends.")
    raise SystemExit(0)
