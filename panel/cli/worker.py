"""``sync-panel worker``: synchronise only, where other processes serve the panel."""

import signal
from types import FrameType
from typing import NoReturn

import click

from panel.cli.installation import installation
from panel.malloc import give_back_large_blocks
from panel.preferences.key_rotation import reseal
from panel.security.machine_id import own_hardware_id
from panel.sync.loop import SyncLoop
from panel.sync.satellite.sync_settings import Site


@click.command("worker")
def command() -> None:
    """Synchronise until SIGTERM or Ctrl-C, beside web workers that do not.

    Any number may run: a lease in the database lets one at a time.
    """
    signal.signal(signal.SIGTERM, _stop)
    give_back_large_blocks()
    with installation() as here:
        config = here.config
        if len(config.secret_keys) > 1:
            with here.database.writing() as session:
                reseal(session, here.vault)
        site = Site(here.database, here.vault, own_hardware_id(config), config.keep_days)
        loop = SyncLoop(site)
        try:
            loop.run()
        finally:
            loop.stop()


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
