"""``sync-panel sync now`` and ``test-connection``: what a person may ask of a satellite."""

import click

from panel.cli.installation import installation
from panel.cli.terminal import print_json
from panel.errors import Refusal
from panel.i18n import say
from panel.operations.connection_test import Trial, try_connection
from panel.operations.sync_requests import ask_to_sync
from panel.security.machine_id import own_hardware_id
from panel.sync.protocol.explanations import Reason, explain
from panel.sync.satellite.sync_settings import Site


@click.group("sync")
def group() -> None:
    """The sync of a satellite."""


@group.command("now")
def now() -> None:
    """Let a run begin at once, in the "sync-panel up" or "worker" that runs here."""
    with installation() as here, here.database.writing() as session:
        ask_to_sync(session, here.actor)
    click.echo("Asked: it begins in a moment. `sync-panel status` says how it goes.")


@click.command("test-connection")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def test_connection(context: click.Context, as_json: bool) -> None:
    """Ask the primary whether it would let this satellite in; nothing is changed.

    Exit codes: 0 it would; 1 it would not or cannot be reached, and the reason says what to do.
    """
    with installation() as here:
        site = Site(here.database, here.vault, own_hardware_id(here.config))
        trial = try_connection(site)
    reason = explain(trial.code, trial.values)
    if as_json:
        print_json(_facts(trial, reason))
        context.exit(0 if trial.is_well else 1)
    if not trial.is_well:
        raise Refusal(say("%(what)s %(next)s", what=reason.what, next=reason.next))
    click.echo("Well: the primary would let this server in.")
    click.echo(f"To the primary and back: {trial.round_trip_ms} ms.")


def _facts(trial: Trial, reason: Reason) -> dict[str, object]:
    return {
        "well": trial.is_well,
        "reason": trial.code or None,
        "what": None if trial.is_well else str(reason.what),
        "next": None if trial.is_well else str(reason.next),
        "differences": [vars(one) for one in trial.disagreements],
        "round_trip_ms": trial.round_trip_ms,
    }
