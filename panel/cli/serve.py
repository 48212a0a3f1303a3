"""``sync-panel up``: serve the panel, and synchronise."""

import os
import threading
from typing import TYPE_CHECKING

import click

from panel.config import load
from panel.server import answer, open_listener, url_of

if TYPE_CHECKING:
    from panel.web.base.context import Services


@click.command("up")
def command() -> None:
    """Serve the panel and synchronise, until Ctrl-C.

    SYNC_PANEL_HOST and SYNC_PANEL_PORT say where.
    """
    config = load(os.environ)
    # First of all, since a port that is taken should be known at once.
    listener = open_listener(config.host, config.port)
    # Imported late, for the same reason.
    from panel.sync.loop import start_loop
    from panel.web.app import create_app
    from panel.web.base.context import services_of
    from panel.web.page.fragments import compile_templates

    app = create_app(config)
    host, port = listener.getsockname()[:2]
    _greet(services_of(app), url_of(host, port, config.path_prefix))
    loop = start_loop(services_of(app))
    # Else whoever is first to open a part of the page waits for its template to be compiled.
    threading.Thread(target=compile_templates, args=(app,), daemon=True).start()
    try:
        answer(app, listener, config.threads)
    finally:
        loop.stop()


def _greet(services: "Services", url: str) -> None:
    from panel.accounts.people import first_person_exists

    click.echo(f"Sync Panel is at {url}")
    with services.database.reading() as session:
        if not first_person_exists(session):
            link = f"{url}set-up/{services.set_up.token}"
            click.echo(f"Nobody can sign in yet. Set it up, once, at {link}")
