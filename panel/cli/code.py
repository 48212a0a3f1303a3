"""``sync-panel code``: the authorisation code that opens the lock."""

import click

from panel.accounts.authorisation_code import generate_code, set_code
from panel.cli.installation import installation
from panel.cli.secret_input import STANDARD_INPUT, read_secret


@click.group("code")
def group() -> None:
    """The authorisation code."""


@group.command("set")
@click.option("--generate", is_flag=True, help="Make a good code and show it, this once.")
@click.option("--code-file", help="File with the new code; - (the default) is standard input.")
def set_(generate: bool, code_file: str | None) -> None:
    """Set a new code. Every unlock that was given before ends at once."""
    if generate and code_file:
        raise click.UsageError("--generate makes the code: --code-file has no place beside it.")
    code = generate_code() if generate else read_secret(code_file or STANDARD_INPUT, "New code")
    with installation() as here, here.database.writing() as session:
        set_code(session, here.actor, code)
    click.echo(code if generate else "The new code is set.")
