"""``sync-panel servers``: the list of servers to synchronise with, addressed by Sync ID."""

from dataclasses import replace
from typing import Any

import click
from sqlalchemy.orm import Session

from panel import clock
from panel.cli.terminal import (
    ask,
    installation,
    print_json,
    print_table,
    read_secret,
    read_text,
    shell_actor,
    yes_option,
)
from panel.errors import NotFound
from panel.i18n import say
from panel.models.settings import Server, Settings, find_listed
from panel.preferences.server_changes import clear_hardware, clear_server_password, shown_url
from panel.preferences.server_fields import ServerFields, fields_of
from panel.preferences.server_list import (
    BY_STATE,
    ListedServer,
    Look,
    ServerState,
    every_server,
)
from panel.preferences.servers import add_server, edit_server, remove_servers
from panel.setups.issued import (
    SetupState,
    SetupTarget,
    issue_setup,
    last_target,
    list_setups,
    revoke_setup,
    state_of,
)
from panel.setups.setup_text import grouped

COLUMNS = ("sync_id", "name", "store", "user_name", "url", "hardware_id", "last_success_at")

confirm_option = click.option(
    "--confirm", "confirmed", multiple=True, metavar="ACT", help="What a refusal named."
)


@click.group("servers")
def group() -> None:
    """The servers to synchronise with."""


@group.command("list")
@click.option("--find", default="", help="Beginning of Sync ID or of a word of name or store.")
@click.option(
    "--state",
    type=click.Choice([one.value for one in ServerState]),
    help="Only servers in this state.",
)
@click.option(
    "--sort",
    type=click.Choice((BY_STATE, *COLUMNS)),
    default=BY_STATE,
    show_default=True,
    help="By state is the worst first, and of one state the longest.",
)
@click.option("--descending", is_flag=True, help="Sort the other way round.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(find: str, state: str | None, sort: str, descending: bool, as_json: bool) -> None:
    """Show the list, or the rows that --find and --state name."""
    look = Look(find, ServerState(state) if state else None, sort, descending)
    with installation() as here, here.database.reading() as session:
        settings = session.get_one(Settings, 1)
        rows = [_shown(settings, server) for server in every_server(session, look)]
    if as_json:
        print_json(rows)
    else:
        shown = (BY_STATE, *COLUMNS)
        print_table(shown, ([row[column] for column in shown] for row in rows))


def _shown(settings: Settings, server: ListedServer) -> dict[str, object]:
    return {
        "state": server.state(clock.now()),
        **{column: getattr(server, column) for column in COLUMNS},
        "url": shown_url(settings, server),
        "password": server.password_hash is not None,
        "last_contact_at": server.last_contact_at,
    }


@group.command("add")
@click.option("--sync-id", type=int, required=True)
@click.option("--name", required=True)
@click.option("--store", required=True)
@click.option("--url", help="Only on a satellite: where its primary is.")
@click.option("--user-name", default="", help="Only on a primary: the server's own pair.")
@click.option("--password-file", help="File with that pair's password; - is standard input.")
@confirm_option
def add(
    sync_id: int,
    name: str,
    store: str,
    url: str | None,
    user_name: str,
    password_file: str | None,
    confirmed: tuple[str, ...],
) -> None:
    """Add a server."""
    password = None if password_file is None else read_secret(password_file, "Password")
    fields = ServerFields(sync_id, name, store, url, user_name, password)
    with installation() as here, here.database.writing() as session:
        add_server(session, shell_actor(), fields, confirmed=confirmed)
    click.echo(f"Added {sync_id} {name}.")


@group.command("edit")
@click.argument("number", type=int, metavar="SYNC_ID")
@click.option("--sync-id", type=int, help="Its new Sync ID.")
@click.option("--name")
@click.option("--store")
@click.option("--url", help="'' clears it.")
@click.option("--user-name")
@click.option("--password-file", help="File with its own password; - is standard input.")
@click.option("--remove-password", is_flag=True, help="Let it use the shared pair again.")
@confirm_option
def edit(
    number: int,
    password_file: str | None,
    remove_password: bool,
    confirmed: tuple[str, ...],
    **changes: Any,
) -> None:
    """Change a server. Options that are left out change nothing."""
    if password_file is not None and remove_password:
        raise click.UsageError("--remove-password has no place beside --password-file.")
    if password_file is not None:
        changes["password"] = read_secret(password_file, "Password")
    changes = {field: value for field, value in changes.items() if value is not None}
    with installation() as here, here.database.writing() as session:
        server = _find(session, number)
        if remove_password:
            clear_server_password(session, shell_actor(), server.id, server.version)
        if changes:
            fields = replace(fields_of(server), **changes)
            edit_server(session, shell_actor(), server.id, fields, server.version, confirmed)
    click.echo("Saved.")


@group.command("remove")
@click.argument("numbers", type=int, nargs=-1, required=True, metavar="SYNC_ID…")
@yes_option
def remove(numbers: tuple[int, ...], yes: bool) -> None:
    """Remove servers, after a question that names them."""
    with installation() as here:
        with here.database.reading() as session:
            servers = [_find(session, number) for number in numbers]
        ask("Remove " + ", ".join(row.label for row in servers), yes)
        with here.database.writing() as session:
            remove_servers(session, shell_actor(), [row.id for row in servers])
    click.echo("Removed.")


@group.command("clear-hardware")
@click.argument("number", type=int, metavar="SYNC_ID")
@yes_option
def clear_hardware_(number: int, yes: bool) -> None:
    """Let another machine take a server's place: the next one that calls is bound to it."""
    with installation() as here:
        with here.database.reading() as session:
            server = _find(session, number)
        ask(f"Clear the Hardware ID of {number} {server.name} and end its token", yes)
        with here.database.writing() as session:
            clear_hardware(session, shell_actor(), server.id, server.version)
    click.echo("Cleared.")


@group.command("setup")
@click.argument("number", type=int, metavar="SYNC_ID")
@click.option("--url", help="At which the satellite reaches this server, if not as the last one.")
@click.option("--fingerprint", help="Of this server's certificate, if no authority signed it.")
@click.option("--ca-file", help="File with the certificate of a private authority.")
@click.option(
    "--as",
    "form",
    type=click.Choice(("file", "link", "characters")),
    default="file",
    show_default=True,
    help="What is printed.",
)
def setup_(
    number: int, url: str | None, fingerprint: str | None, ca_file: str | None, form: str
) -> None:
    """Print a set-up, with which a satellite joins: sync-panel servers setup 7 > kadavu.setup.

    It is good for one machine, once, for 14 days, and takes the place of one that was not used.
    """
    private_ca = None if ca_file is None else read_text(ca_file)
    given = {"url": url, "fingerprint": fingerprint, "private_ca": private_ca}
    with installation() as here, here.database.writing() as session:
        known = last_target(session) or SetupTarget()
        target = replace(known, **{name: one for name, one in given.items() if one is not None})
        setup = issue_setup(session, shell_actor(), _find(session, number).id, target)
    match form:
        case "characters":
            click.echo(grouped(setup.code))
        case "link":
            click.echo(setup.as_link())
        case _:
            click.echo(setup.as_file(), nl=False)


@group.command("revoke-setup")
@click.argument("number", type=int, metavar="SYNC_ID")
def revoke_setup_(number: int) -> None:
    """Revoke a set-up that was not used."""
    with installation() as here, here.database.writing() as session:
        server = _find(session, number)
        for issued in list_setups(session, server.id):
            if state_of(issued, clock.now()) is SetupState.OPEN:
                revoke_setup(session, shell_actor(), server.id, issued.id)
                click.echo("Revoked.")
                return
    raise NotFound(say("This server has no set-up that is not used yet."))


def _find(session: Session, sync_id: int) -> Server:
    server = find_listed(session, sync_id)
    if server is None:
        raise NotFound(say("No server here has Sync ID %(sync_id)s.", sync_id=sync_id))
    return server
