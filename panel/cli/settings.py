"""``sync-panel settings``: the interval and the parameters of this server."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click
from sqlalchemy.orm import Session

from panel.cli.terminal import (
    installation,
    print_json,
    print_table,
    read_secret,
    read_text,
    shell_actor,
)
from panel.errors import Invalid
from panel.i18n import say
from panel.installation import Installation
from panel.models.settings import Settings
from panel.preferences.interval import set_interval
from panel.preferences.parameter_fields import Parameters, parameters_of
from panel.preferences.parameters import remove_password, save_parameters

NUMBERS = ("sync_id", "request_size")
FROM_FILES = ("password", "private_ca")
TEXTS = ("name", "store", "user_name", "url", "protocol", "fingerprint")
KEYS = ("sync_interval", *NUMBERS, *FROM_FILES, *TEXTS)


@click.group("settings")
def group() -> None:
    """The interval and the parameters."""


@group.command("show")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(as_json: bool) -> None:
    """Show them. The password is never shown, only whether there is one."""
    with installation() as here, here.database.reading() as session:
        shown = _shown(session.get_one(Settings, 1))
        shown["hardware_id"] = here.hardware_id
    if as_json:
        print_json(shown)
        return
    shown["request_size"] = shown["request_size"] or "automatic"
    shown["password"] = "set" if shown["password"] else "not set"
    print_table(("key", "value"), shown.items())


def _shown(settings: Settings) -> dict[str, object]:
    return {
        "sync_interval": settings.interval_minutes,
        "sync_id": settings.sync_id,
        "name": settings.name,
        "store": settings.store,
        "user_name": settings.user_name,
        "password": settings.has_password,
        "url": settings.url,
        "request_size": settings.request_size,
        "protocol": settings.protocol,
        "private_ca": settings.private_ca,
        "fingerprint": settings.fingerprint,
    }


@group.command("set")
@click.argument("changes", nargs=-1, required=True, metavar="KEY=VALUE…")
@click.option("--confirm", "confirmed", multiple=True, metavar="ACT", help="What a refusal named.")
def set_(changes: tuple[str, ...], confirmed: tuple[str, ...]) -> None:
    """Change all that is named, or nothing if one of them cannot stand.

    Keys: sync_interval (minutes), sync_id, name, store, user_name, password, url, request_size (or
    automatic), protocol (ask, own, v5), private_ca, fingerprint. An empty value clears.

    password and private_ca are read from a file: password=@FILE, or password=@- from standard
    input.
    """
    wanted = _parse(changes)
    with installation() as here, here.database.writing() as session:
        _change(session, here, wanted, confirmed)
    click.echo("Saved.")


def _parse(changes: tuple[str, ...]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or key not in KEYS:
            raise click.UsageError(f"{key!r}: write KEY=VALUE. The keys are {', '.join(KEYS)}.")
        if key in wanted:
            raise click.UsageError(f"{key} is named twice.")
        wanted[key] = _from_file(key, value) if key in FROM_FILES else value
    return wanted


def _from_file(key: str, value: str) -> str:
    if not value:
        return ""
    if not value.startswith("@"):
        raise click.UsageError(
            f"{key}=@FILE or {key}=@-: others on this machine can see what a command is given."
        )
    return read_secret(value[1:], "Password") if key == "password" else read_text(value[1:])


def _change(
    session: Session, here: Installation, wanted: Mapping[str, str], confirmed: tuple[str, ...]
) -> None:
    settings = session.get_one(Settings, 1)
    if wanted.keys() - {"sync_interval"}:
        parameters = _parameters(settings, wanted)
        version = settings.parameters_version
        save_parameters(session, shell_actor(), here.vault, parameters, version, confirmed)
    if wanted.get("password") == "":
        remove_password(session, shell_actor(), settings.parameters_version)
    if "sync_interval" in wanted:
        minutes = _number("sync_interval", wanted["sync_interval"])
        # No number at all is as wrong as one out of range, and set_interval has the words for it.
        minutes = -1 if minutes is None else minutes
        set_interval(session, shell_actor(), minutes, settings.interval_version)


def _parameters(settings: Settings, wanted: Mapping[str, str]) -> Parameters:
    """Return the present parameters with what is ``wanted`` in place of theirs."""
    typed: dict[str, Any] = {key: wanted[key] for key in (*TEXTS, *FROM_FILES) if key in wanted}
    typed |= {key: _number(key, wanted[key]) for key in NUMBERS if key in wanted}
    return replace(parameters_of(settings), **typed)


def _number(key: str, text: str) -> int | None:
    text = text.strip()
    if text in ("", "automatic"):
        return None
    if not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise Invalid({key: say("A whole number, please.")})
    return int(text)
