"""``sync-panel settings`` and ``join``: the interval and the parameters, one by one or at once."""

import sys
from collections.abc import Mapping
from typing import Any

import click
from sqlalchemy.orm import Session

from panel.cli.terminal import (
    STANDARD_INPUT,
    installation,
    print_json,
    print_table,
    read_bytes,
    read_secret,
    read_text,
    shell_actor,
)
from panel.installation import Installation
from panel.models.settings import Settings
from panel.operations.join import join
from panel.preferences.interval import set_interval
from panel.preferences.parameter_kinds import Parameter
from panel.preferences.parameter_table import INTERVAL, parameters_of, preferences, secrets
from panel.preferences.parameters import remove_secret, save_parameters
from panel.setups.setup_text import LARGEST_FILE_BYTES, read_setup


class _WithKeys(click.Command):
    """A command whose help lists the keys."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each key with what it is before the options."""
        with formatter.section("Keys"):
            formatter.write_dl([(key, _described(one)) for key, one in preferences().items()])
        super().format_options(ctx, formatter)


def _described(parameter: Parameter) -> str:
    return f"{parameter.label}: {parameter.hint}" if parameter.hint else str(parameter.label)


@click.group("settings")
def group() -> None:
    """The interval and the parameters."""


@group.command("show")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(as_json: bool) -> None:
    """Show them. A secret is never shown, only whether there is one."""
    with installation() as here, here.database.reading() as session:
        settings, every = session.get_one(Settings, 1), preferences()
        if as_json:
            shown = {key: one.for_programs(settings) for key, one in every.items()}
            print_json({**shown, "hardware_id": here.hardware_id})
        else:
            words = {key: one.for_people(settings) for key, one in every.items()}
            rows = {**words, "hardware_id": here.hardware_id}
            print_table(("key", "value"), rows.items())


@group.command("set", cls=_WithKeys)
@click.argument("changes", nargs=-1, required=True, metavar="KEY=VALUE…")
@click.option("--confirm", "confirmed", multiple=True, metavar="ACT", help="What a refusal named.")
def set_(changes: tuple[str, ...], confirmed: tuple[str, ...]) -> None:
    """Change all that is named, or nothing if one of them cannot stand.

    An empty value clears. What is @FILE is read from a file: password=@FILE, or password=@- from
    standard input.
    """
    wanted = _parse(changes)
    with installation() as here, here.database.writing() as session:
        _change(session, here, wanted, confirmed)
    click.echo("Saved.")


def _parse(changes: tuple[str, ...]) -> dict[str, str]:
    every, wanted = preferences(), dict[str, str]()
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or key not in every:
            raise click.UsageError(f"{key!r}: write KEY=VALUE. The keys are {', '.join(every)}.")
        if key in wanted:
            raise click.UsageError(f"{key} is named twice.")
        wanted[key] = _from_file(every[key], value) if every[key].is_read_from_file else value
    return wanted


def _from_file(parameter: Parameter, value: str) -> str:
    key, label = parameter.key, str(parameter.label)
    if not value:
        return ""
    if not value.startswith("@"):
        raise click.UsageError(
            f"{key}=@FILE or {key}=@-: others on this machine can see what a command is given."
        )
    return read_secret(value[1:], label) if parameter.is_secret else read_text(value[1:])


def _change(
    session: Session, here: Installation, wanted: Mapping[str, str], confirmed: tuple[str, ...]
) -> None:
    settings, every = session.get_one(Settings, 1), preferences()
    typed: dict[str, Any] = {every[key].name: every[key].parse(wanted[key]) for key in wanted}
    with_interval, minutes = INTERVAL.name in typed, typed.pop(INTERVAL.name, None)
    if typed:
        parameters = parameters_of(settings).replace(**typed)
        version = settings.parameters_version
        save_parameters(session, shell_actor(), here.vault, parameters, version, confirmed)
    for secret in secrets():
        if typed.get(secret.name) == "":
            remove_secret(session, shell_actor(), secret, settings.parameters_version)
    if with_interval:
        set_interval(session, shell_actor(), minutes, settings.interval_version)


@click.command("join")
@click.argument("source", default=STANDARD_INPUT, metavar="FILE")
@click.option("--url", default="", help="Of the primary, where the characters are typed.")
@click.option("--confirm", "confirmed", multiple=True, metavar="ACT", help="What a refusal named.")
def join_command(source: str, url: str, confirmed: tuple[str, ...]) -> None:
    """Join a primary with the set-up in FILE, or on standard input.

    At a terminal its characters, or its link, are asked for.
    """
    if source == STANDARD_INPUT and sys.stdin.isatty():
        text = read_secret(source, "Characters or link", twice=False)
    else:
        text = read_bytes(source, LARGEST_FILE_BYTES).decode("utf-8-sig", errors="replace")
    with installation() as here:
        joined = join(here, shell_actor(), read_setup(text, url), confirmed)
        click.echo(f"Joined {joined.url} as {joined.sync_id} {joined.name}.")
    click.echo("The first sync begins by itself where `sync-panel up` or `worker` runs.")
