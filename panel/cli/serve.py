"""``sync-panel up``, ``worker`` and ``demo``, which run until stopped."""

import os
import signal
import threading
import time
from types import FrameType
from typing import NoReturn

import click

from panel.config import load
from panel.installation import Installation, NotMade, open_installation
from panel.server import exit_on_sigterm, open_listener, serve, tune_malloc, url_of

# How often a worker looks whether there is an installation by now.
MADE_AGAIN_SECONDS = 2
# Windows has no SIGHUP.
_STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@click.command("up")
def up() -> None:
    """Serve the panel and synchronise, until Ctrl-C.

    SYNC_PANEL_HOST and SYNC_PANEL_PORT say where.
    """
    config = load(os.environ)
    listener = open_listener(config.host, config.port)
    # Imported after that: a port that is taken is then reported at once.
    from panel.sync.loop import start_loop
    from panel.web.app import create_app
    from panel.web.base.assets import compile_templates

    installation = open_installation(config)
    app = create_app(installation)
    host, port = listener.getsockname()[:2]
    url = url_of(host, port, config.path_prefix)
    click.echo(f"Sync Panel is at {url}")
    if _is_empty(installation):
        link = f"{url}set-up/{installation.set_up_token}"
        click.echo(f"Nobody can sign in yet. Set it up, once, at {link}")
    loop = start_loop(installation)
    # Otherwise the first reader of each part of the page waits for its template.
    threading.Thread(target=compile_templates, args=(app,), daemon=True).start()
    try:
        serve(app, listener, config.threads)
    finally:
        loop.stop()
        installation.close()


@click.command("worker")
def worker() -> None:
    """Synchronise until SIGTERM or Ctrl-C, beside web workers that do not.

    Any number may run: a lease in the database lets one at a time. Where there is no installation
    yet, it waits for one.
    """
    from panel.sync.loop import SyncLoop

    exit_on_sigterm()
    tune_malloc()
    installation = _when_made()
    loop = SyncLoop(installation)
    try:
        loop.run()
    finally:
        loop.stop()
        installation.close()


@click.command("demo")
def demo() -> None:
    """Run a primary and two satellites on this machine, until Ctrl-C.

    They have sample stock that changes while you look, and leave nothing behind.
    """
    from panel.demo import run

    for number in _STOP_SIGNALS:
        signal.signal(number, _end_demo)
    run(click.echo)


def _when_made() -> Installation:
    """Return the installation of the environment, once there is one; tell once that it waits."""
    is_told = False
    while True:
        try:
            return open_installation(load(os.environ, make=False), make=False)
        except NotMade as refusal:
            if not is_told:
                click.echo(f"{refusal} Waiting for that.", err=True)
            is_told = True
        time.sleep(MADE_AGAIN_SECONDS)


def _is_empty(installation: Installation) -> bool:
    from panel.accounts.people import first_person_exists

    with installation.database.reading() as session:
        return not first_person_exists(session)


def _end_demo(_signal: int, _frame: FrameType | None) -> NoReturn:
    # Further signals are ignored: they would interrupt the cleaning up.
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    click.echo("\nThe demo ends.")
    raise SystemExit(0)
