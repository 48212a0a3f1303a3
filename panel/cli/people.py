"""``sync-panel person``: who may sign in, and what for."""

from typing import Any

import click
from sqlalchemy.orm import Session

from panel.accounts import people
from panel.accounts.people import Permission
from panel.cli.installation import installation
from panel.cli.secret_input import STANDARD_INPUT, read_secret
from panel.cli.terminal import print_json, print_table
from panel.errors import NotFound
from panel.i18n import say
from panel.models.base import Person

PERMISSION = click.Choice([permission.value for permission in Permission])
password_option = click.option(
    "--password-file", help="File with the password; - (the default) is standard input."
)


@click.group("person")
def group() -> None:
    """The people who may sign in."""


@group.command("add")
@click.argument("name")
@click.argument("permitted", nargs=-1, type=PERMISSION, metavar="[view|edit|manage]…")
@password_option
@click.option("--no-password", is_flag=True, help="Only the intranet's proxy signs them in.")
def add(
    name: str, permitted: tuple[str, ...], password_file: str | None, no_password: bool
) -> None:
    """Add a person, who may view unless more is said."""
    if no_password and password_file:
        raise click.UsageError("--no-password has no place beside --password-file.")
    password = None if no_password else read_secret(password_file or STANDARD_INPUT, "Password")
    permissions = [Permission(word) for word in permitted or ("view",)]
    with installation() as here, here.database.writing() as session:
        people.add_person(session, here.actor, name, password, permissions)
    click.echo(f"Added {name}.")


@group.command("password")
@click.argument("name")
@password_option
def password(name: str, password_file: str | None) -> None:
    """Give a person a new password. Wherever they are signed in, they are signed out."""
    new = read_secret(password_file or STANDARD_INPUT, "New password")
    with installation() as here, here.database.writing() as session:
        people.set_password(session, here.actor, _find(session, name).id, new)
    click.echo("The new password is set.")


@group.command("permit")
@click.argument("name")
@click.argument("permitted", nargs=-1, required=True, type=PERMISSION, metavar="view|edit|manage…")
def permit(name: str, permitted: tuple[str, ...]) -> None:
    """Let a person do what is named, and nothing else."""
    permissions = [Permission(word) for word in permitted]
    with installation() as here, here.database.writing() as session:
        people.set_permissions(session, here.actor, _find(session, name).id, permissions)
    click.echo("Saved.")


@group.command("disable")
@click.argument("name")
def disable(name: str) -> None:
    """Shut a person out at once."""
    with installation() as here, here.database.writing() as session:
        people.disable(session, here.actor, _find(session, name).id)
    click.echo(f"{name} is disabled.")


@group.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Let a disabled person sign in again."""
    with installation() as here, here.database.writing() as session:
        people.enable(session, here.actor, _find(session, name).id)
    click.echo(f"{name} is enabled.")


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(as_json: bool) -> None:
    """Show everybody, the disabled ones too."""
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


def _shown(person: Person) -> dict[str, Any]:
    return {
        "name": person.name,
        "permissions": sorted(people.permissions(person), key=list(Permission).index),
        "disabled": person.disabled_at is not None,
        "password": person.password_hash is not None,
    }


def _find(session: Session, name: str) -> Person:
    person = people.find_person(session, name)
    if person is None:
        raise NotFound(say("There is no person called %(name)s.", name=name))
    return person
