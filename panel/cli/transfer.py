"""``sync-panel export`` and ``import``: the preferences as a JSON file."""

import json

import click

from panel.cli.terminal import (
    STANDARD_INPUT,
    installation,
    print_json,
    read_bytes,
    read_secret,
    shell_actor,
)
from panel.i18n import reveal
from panel.models.settings import lock_settings
from panel.site_file.document import read_site
from panel.site_file.export import Change, export_site, plan_import
from panel.site_file.import_ import apply_import
from panel.sync.protocol.body_codec import (
    LARGEST_BODY_BYTES,
    MOST_ELEMENTS,
    TooManyElements,
    check_elements,
)

SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@click.command("export")
@click.option("--with-secrets", is_flag=True, help="Passwords too, encrypted.")
@click.option(
    "--passphrase-file",
    help="File with the passphrase of the secrets; - (the default) is standard input.",
)
def export_command(with_secrets: bool, passphrase_file: str | None) -> None:
    """Print the preferences as a file for import.

    The interval, the parameters and the servers; no people, no code.
    """
    if passphrase_file and not with_secrets:
        raise click.UsageError("--passphrase-file needs --with-secrets.")
    passphrase = None
    if with_secrets:
        passphrase = read_secret(passphrase_file or STANDARD_INPUT, "Passphrase")
    with installation() as here, here.database.writing() as session:
        document = export_site(session, shell_actor(), here.vault, passphrase)
    print_json(document)


@click.command("import")
@click.argument("file")
@click.option("--passphrase-file", help="File with the passphrase, if there are secrets in FILE.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--confirm", "confirmed", multiple=True, metavar="ACT", help="What a refusal named.")
def import_command(
    file: str, passphrase_file: str | None, yes: bool, confirmed: tuple[str, ...]
) -> None:
    """Take over the preferences in FILE.

    Shows what would change here, asks, and changes all of it or nothing.

    Servers that are not in FILE are removed, unless it has no list of them at all. FILE may be -,
    standard input.
    """
    if file == STANDARD_INPUT and (passphrase_file == STANDARD_INPUT or not yes):
        raise click.UsageError(
            "With FILE on standard input, say --yes, and take the passphrase from a file."
        )
    passphrase = None
    if passphrase_file:
        passphrase = read_secret(passphrase_file, "Passphrase", twice=False)
    site = read_site(_read_json(file), passphrase)
    with installation(make=True) as here:
        with here.database.reading() as session:
            changes = plan_import(session, here.vault, site)
        if not changes:
            click.echo("Nothing to change.")
            return
        for change in changes:
            click.echo(_line(change))
        if not yes:
            click.confirm("Change this?", abort=True, err=True)
        with here.database.writing() as session:
            # Only what was shown and confirmed is imported.
            lock_settings(session)
            if plan_import(session, here.vault, site) != changes:
                raise click.ClickException("Changed meanwhile: run it again.")
            apply_import(session, shell_actor(), here.vault, site, confirmed)
    click.echo("Imported.")


def _read_json(file: str) -> object:
    try:
        content = read_bytes(file, LARGEST_BODY_BYTES)
        # Windows shells write UTF-16 and byte order marks.
        text = content.decode(json.detect_encoding(content))
        check_elements(text)
        return json.loads(text)
    except TooManyElements as error:
        problem = f"{file} has more than {MOST_ELEMENTS} values."
        raise click.ClickException(problem) from error
    except ValueError as error:
        raise click.ClickException(f"{file} is not JSON: {error}") from error


def _line(change: Change) -> str:
    line = f"{SIGNS[change.act]} {reveal(change.subject)}"
    if not change.field:
        return line
    if change.field == "password":
        return f"{line}  password: changed"
    return f"{line}  {change.field}: {_quoted(change.was)} -> {_quoted(change.became)}"


def _quoted(value: object) -> str:
    return reveal(json.dumps(value, ensure_ascii=False))
