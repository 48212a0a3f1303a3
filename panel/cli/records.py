"""``sync-panel records``, ``token`` and ``status-line``: records, and secrets of programs."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import click

from panel.accounts import tokens
from panel.cli.terminal import (
    ask,
    installation,
    is_terminal,
    print_json,
    print_table,
    progress,
    shell_actor,
    show_progress,
    yes_option,
)
from panel.models.records import Record
from panel.models.settings import find_listed
from panel.preferences.server_changes import give_back_records
from panel.sync.protocol.json_reader import dump_json
from panel.sync.store.change_feed import changes as changes_since
from panel.sync.store.jsonl import (
    as_line,
    count_records,
    export_records,
    put_lines,
    write_lines,
)
from panel.sync.store.records import list_records, require_sync_id

PAGE_RECORDS = 1_000


@click.group("records")
def records() -> None:
    """Records of applications. FILE is JSON Lines, - is standard input or output."""


@records.command("put")
@click.argument("file", type=click.File("rb"))
def put(file: BinaryIO) -> None:
    """Put (and delete) what each line of FILE says: {"table": …, "id": …, "data": {…}}."""
    with installation() as here:
        with here.database.reading() as session:
            own_sync_id = require_sync_id(session)
        with _put_progress(file) as tell:
            lines, changed = put_lines(here.database, own_sync_id, file, tell)
    click.echo(f"{lines} lines, {changed} records changed.")


@records.command("list")
@click.argument("table")
@click.option("--after", default="", help="Begin beyond this record id.")
@click.option("--limit", default=100, type=click.IntRange(1, PAGE_RECORDS), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
def list_table(table: str, after: str, limit: int, as_json: bool) -> None:
    """List the records of TABLE by their id."""
    with installation() as here, here.database.reading() as session:
        records, more = list_records(session, table, after, limit)
        lines = [as_line(record) for record in records]
    if as_json:
        click.echo(dump_json(lines, ascii_only=True))
        return
    rows = [[line[name] for name in ("id", "owner", "to", "changed_at")] for line in lines]
    print_table(("Id", "Owner", "To", "Changed"), rows)
    if more:
        click.echo(f"There are more: add --after {lines[-1]['id']}", err=True)


@records.command("export")
@click.argument("file", type=click.File("wb", atomic=True))
@click.option("--table", help="Only this table.")
@click.option("--archived", is_flag=True, help="Only those of earlier servers of a Sync ID.")
def export(file: BinaryIO, table: str | None, archived: bool) -> None:
    """Write every record that is not deleted to FILE."""
    with installation() as here, here.database.reading() as session:
        # Counting takes a while, and only a terminal shows the progress.
        total = count_records(session, table, archived=archived) if is_terminal() else 0
        with progress(total, "Writing records") as tell:
            found = export_records(session, table, archived=archived)
            count = write_lines(_counted(found, tell), file)
    click.echo(f"{count} records.", err=True)


@records.command("unarchive")
@click.argument("sync_id", type=int)
@yes_option
def unarchive(sync_id: int, yes: bool) -> None:
    """Give the archived records of SYNC_ID back to the server that has this number now."""
    with installation() as here:
        with here.database.reading() as session:
            server = find_listed(session, sync_id)
        who = server.label if server else f"Sync ID {sync_id}, which no server has now"
        ask(f"Give the archived records back to {who}", yes)
        with here.database.writing() as session:
            count = give_back_records(session, shell_actor(), sync_id)
    click.echo(f"{count} records. Initialise that server: it gets back those that are its own.")


@records.command("changes")
@click.argument("file", type=click.File("wb", atomic=True))
@click.option("--since", default="", help="The cursor that this command printed before.")
def changes(file: BinaryIO, since: str) -> None:
    """Write what changed, oldest first, to FILE; the next cursor goes to standard error."""
    more = True
    with installation() as here:
        while more:
            with here.database.reading() as session:
                page = changes_since(session, since, PAGE_RECORDS)
                write_lines(page.records, file)
            since, more = page.cursor, page.more
    click.echo(since, err=True)


@click.group("token")
def token() -> None:
    """Tokens of applications."""


@token.command("add")
@click.argument("name")
@click.option("--may-sync", is_flag=True, help="It may also let a sync begin.")
def add_token(name: str, may_sync: bool) -> None:
    """Make a token for the application called NAME and show it, this once."""
    with installation() as here, here.database.writing() as session:
        secret = tokens.add_token(session, shell_actor(), name, may_sync=may_sync)
    click.echo(secret)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
def list_tokens(as_json: bool) -> None:
    """List the tokens, never the secrets themselves."""
    with installation() as here, here.database.reading() as session:
        found = tokens.list_tokens(session)
    names = ("name", "may_sync", "made_at", "last_used_at", "revoked_at")
    rows = [[getattr(one, name) for name in names] for one in found]
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        shown = [[name, "yes" if may_sync else "", *moments] for name, may_sync, *moments in rows]
        print_table(("Name", "May sync", "Made", "Last used", "Revoked"), shown)


@token.command("revoke")
@click.argument("name")
def revoke_token(name: str) -> None:
    """End the token of the application called NAME at once."""
    with installation() as here, here.database.writing() as session:
        revoked = tokens.revoke_token(session, shell_actor(), name)
    click.echo(f"The token of {revoked.name} is revoked.")


@contextmanager
def _put_progress(file: BinaryIO) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows how much of ``file`` was put; it takes the lines put so far."""
    if not file.seekable():
        # How much a pipe will bring is not known.
        yield lambda lines: show_progress(f"{lines} lines stored")
        show_progress("")
        return
    size_bytes, shown = file.seek(0, os.SEEK_END), 0
    file.seek(0)

    with progress(size_bytes, "Storing records") as tell:

        def tell_bytes(_lines: int) -> None:
            nonlocal shown
            tell(file.tell() - shown)
            shown = file.tell()

        yield tell_bytes


def _counted(found: Iterator[Record], tell: Callable[[int], None]) -> Iterator[Record]:
    """Yield the records; tell after each one that was written."""
    for record in found:
        yield record
        tell(1)


@click.group("status-line")
def status_line() -> None:
    """The address of the status line, for the home page of an intranet."""


@status_line.command("make")
def make_status_line() -> None:
    """Make an address and print its path, this once. An older address ends.

    The path follows the address of the panel: https://panel.example.org/status/KEY/
    """
    with installation() as here, here.database.writing() as session:
        key = tokens.make_status_key(session, shell_actor())
    click.echo(f"/status/{key}/")


@status_line.command("revoke")
def revoke_status_line() -> None:
    """End the address."""
    with installation() as here, here.database.writing() as session:
        tokens.revoke_status_key(session, shell_actor())
    click.echo("The status line has no address any more.")
