"""``sync-panel healthcheck``: is the panel that should run here answering?"""

import os
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import click

from panel.config import Config, load
from panel.server import url_of

TIME_OUT_SECONDS = 10


@click.command("healthcheck")
def command() -> None:
    """Ask the running panel if it is well."""
    url = _url(load(os.environ, make=False))
    try:
        # A proxy for the way out of the house is no way to ourselves.
        with build_opener(ProxyHandler({})).open(url, timeout=TIME_OUT_SECONDS) as answer:
            click.echo(answer.read().decode().strip())
    except HTTPError as error:
        raise click.ClickException(error.read().decode(errors="replace").strip()) from error
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise click.ClickException(f"Nothing answers at {url}: {reason}") from error


def _url(config: Config) -> str:
    return f"{url_of(config.host, config.port, config.path_prefix)}healthz"
