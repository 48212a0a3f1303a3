"""``sync-panel person``, ``code`` and ``init``: people, the authorisation code, the set-up."""

from typing import Any

import click
from sqlalchemy.orm import Session

from panel.accounts import people
from panel.accounts.authorisation_code import generate_code, set_code
from panel.accounts.people import Permission, set_up
from panel.accounts.sign_in import find_person
from panel.cli.terminal import (
    STANDARD_INPUT,
    installation,
    print_json,
    print_table,
    read_secret,
    shell_actor,
)
from panel.errors import NotFound
from panel.i18n import say
from panel.models.people import Person

PERMISSION = click.Choice([permission.value for permission in Permission])
password_option = click.option(
    "--password-file", help="File with the password; - (the default) is standard input."
)


@click.group("person")
def person() -> None:
    """The people who may sign in."""


@person.command("add")
@click.argument("name")
@click.argument("permitted", nargs=-1, type=PERMISSION, metavar="[view|edit|manage]…")
@password_option
@click.option("--no-password", is_flag=True, help="Only the intranet's proxy signs them in.")
def add(
    name: str, permitted: tuple[str, ...], password_file: str | None, no_password: bool
) -> None:
    """Add a person, who may view if no permission is named."""
    if no_password and password_file:
        raise click.UsageError("--no-password has no place beside --password-file.")
    password = None if no_password else read_secret(password_file or STANDARD_INPUT, "Password")
    permissions = [Permission(word) for word in permitted or ("view",)]
    with installation() as here, here.database.writing() as session:
        people.add_person(session, shell_actor(), name, password, permissions)
    click.echo(f"Added {name}.")


@person.command("password")
@click.argument("name")
@password_option
def password(name: str, password_file: str | None) -> None:
    """Give a person a new password. Wherever they are signed in, they are signed out."""
    new = read_secret(password_file or STANDARD_INPUT, "New password")
    with installation() as here, here.database.writing() as session:
        people.set_password(session, shell_actor(), _find(session, name).id, new)
    click.echo("The new password is set.")


@person.command("permit")
@click.argument("name")
@click.argument("permitted", nargs=-1, required=True, type=PERMISSION, metavar="view|edit|manage…")
def permit(name: str, permitted: tuple[str, ...]) -> None:
    """Set the permissions of a person to exactly those named."""
    permissions = [Permission(word) for word in permitted]
    with installation() as here, here.database.writing() as session:
        people.set_permissions(session, shell_actor(), _find(session, name).id, permissions)
    click.echo("Saved.")


@person.command("disable")
@click.argument("name")
def disable(name: str) -> None:
    """Disable a person and end their sessions at once."""
    with installation() as here, here.database.writing() as session:
        people.disable(session, shell_actor(), _find(session, name).id)
    click.echo(f"{name} is disabled.")


@person.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Let a disabled person sign in again."""
    with installation() as here, here.database.writing() as session:
        people.enable(session, shell_actor(), _find(session, name).id)
    click.echo(f"{name} is enabled.")


@person.command("unlock")
@click.argument("name")
def unlock(name: str) -> None:
    """Let a person try again at once, after too many wrong passwords or codes."""
    with installation() as here, here.database.writing() as session:
        people.forgive_tries(session, shell_actor(), name)
    click.echo(f"{name} may try again.")


@person.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(as_json: bool) -> None:
    """Show all people, disabled ones too."""
    with installation() as here, here.database.reading() as session:
        shown = [_shown(person) for person in people.list_people(session)]
    if as_json:
        print_json(shown)
        return
    rows = (
        (person["name"], ", ".join(person["permissions"]), "disabled" if person["disabled"] else "")
        for person in shown
    )
    print_table(("name", "permissions", ""), rows)


@click.command("init")
@click.option("--user", "name", required=True, help="Name with which the first person signs in.")
@click.option("--password-file", default=STANDARD_INPUT, help="File with that person's password.")
@click.option("--code-file", default=STANDARD_INPUT, help="File with the authorisation code.")
def init(name: str, password_file: str, code_file: str) -> None:
    """Set up a new panel without a browser.

    Makes the first person, who may do everything, and the authorisation code.

    A file may be -, standard input (the default): a terminal asks; a pipe gives one line for each,
    the password first.
    """
    password = read_secret(password_file, "Password")
    code = read_secret(code_file, "Authorisation code")
    with installation(make=True) as here, here.database.writing() as session:
        set_up(session, shell_actor(), name, password, code)
    click.echo(f"{name} can sign in now and may do everything.")


@click.group("code")
def code() -> None:
    """The authorisation code."""


@code.command("set")
@click.option("--generate", is_flag=True, help="Make a good code and show it, this once.")
@click.option("--code-file", help="File with the new code; - (the default) is standard input.")
def set_(generate: bool, code_file: str | None) -> None:
    """Set a new code. Every unlock that was given before ends at once."""
    if generate and code_file:
        raise click.UsageError("--generate makes the code: --code-file has no place beside it.")
    code = generate_code() if generate else read_secret(code_file or STANDARD_INPUT, "New code")
    with installation() as here, here.database.writing() as session:
        set_code(session, shell_actor(), code)
    click.echo(code if generate else "The new code is set.")


def _shown(person: Person) -> dict[str, Any]:
    return {
        "name": person.name,
        "permissions": sorted(people.permissions(person), key=list(Permission).index),
        "disabled": person.disabled_at is not None,
        "password": person.password_hash is not None,
    }


def _find(session: Session, name: str) -> Person:
    person = find_person(session, name)
    if person is None:
        raise NotFound(say("There is no person called %(name)s.", name=name))
    return person
