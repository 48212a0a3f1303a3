"""``sync-panel token``: the tokens with which applications on this machine use the API."""

import click

from panel.accounts.tokens import add_token, list_tokens, revoke_token
from panel.cli.installation import installation
from panel.cli.terminal import print_json, print_table


@click.group("token")
def group() -> None:
    """Tokens of applications."""


@group.command("add")
@click.argument("name")
def add(name: str) -> None:
    """Make a token for the application called NAME and show it, this once."""
    with installation() as here, here.database.writing() as session:
        secret = add_token(session, here.actor, name)
    click.echo(secret)


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
def list_(as_json: bool) -> None:
    """List the tokens, never the secrets themselves."""
    with installation() as here, here.database.reading() as session:
        tokens = list_tokens(session)
    names = ("name", "made_at", "last_used_at", "revoked_at")
    rows = [[getattr(token, name) for name in names] for token in tokens]
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(("Name", "Made", "Last used", "Revoked"), rows)


@group.command("revoke")
@click.argument("name")
def revoke(name: str) -> None:
    """End the token of the application called NAME at once."""
    with installation() as here, here.database.writing() as session:
        token = revoke_token(session, here.actor, name)
    click.echo(f"The token of {token.name} is revoked.")
