"""``sync-panel init``: the first person and the authorisation code, without a browser."""

import click

from panel.accounts.people import set_up
from panel.cli.installation import installation
from panel.cli.secret_input import STANDARD_INPUT, read_secret


@click.command("init")
@click.option("--user", "name", required=True, help="Name with which the first person signs in.")
@click.option("--password-file", default=STANDARD_INPUT, help="File with that person's password.")
@click.option("--code-file", default=STANDARD_INPUT, help="File with the authorisation code.")
def command(name: str, password_file: str, code_file: str) -> None:
    """Set up a new panel without a browser.

    Makes the first person, who may do everything, and the authorisation code.

    A file may be -, standard input (the default): a terminal asks; a pipe gives one line for each,
    the password first.
    """
    password = read_secret(password_file, "Password")
    code = read_secret(code_file, "Authorisation code")
    with installation(make=True) as here, here.database.writing() as session:
        set_up(session, here.actor, name, password, code)
    click.echo(f"{name} can sign in now and may do everything.")
