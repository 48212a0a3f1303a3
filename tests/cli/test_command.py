"""The command as a whole: what it is given, what it answers when the installation is not right."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from panel.cli import serve
from panel.cli.main import COMMANDS, commands
from panel.db import Database, make_engine
from panel.security.vault import read_or_make_key
from panel.sync.loop import SyncLoop
from tests.cli.conftest import SYSTEM_USER
from tests.conftest import NewDatabase
from tests.support.cast import CODE, PASSWORD
from tests.support.shell import Shell

Named = tuple[str, click.Command]


def every_command(group: click.Group = commands, path: str = "") -> Iterator[Named]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, f"{path} {name}")
        else:
            yield f"{path} {name}".strip(), command


def test_no_secret_is_ever_an_argument() -> None:
    secrets = ("password", "passphrase", "code", "secret")
    for path, command in every_command():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.is_flag:
                assert not any(name.endswith(secrets) for name in parameter.opts), path
            elif isinstance(parameter, click.Argument):
                assert not str(parameter.name).endswith(secrets), path


def test_every_command_explains_itself(shell: Shell) -> None:
    for path, command in every_command():
        assert command.get_short_help_str(80), path
        assert "Usage: " in shell.do(*path.split(), "--help")


def test_the_help_names_each_command(shell: Shell) -> None:
    answer = shell.do("--help")
    assert [name for name in COMMANDS if f"  {name} " not in answer] == []
    assert "Sync Panel 0." in shell.do("--version")
    assert "No such command" in shell.refused("fly", code=2)


def test_without_a_panel_nothing_is_made(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "elsewhere", f"sqlite:///{tmp_path / 'elsewhere' / 'panel.sqlite3'}")
    reason = shell.refused("settings", "show")
    assert f"There is no panel in {tmp_path / 'elsewhere'} yet." in reason
    shell.refused("healthcheck")
    assert not (tmp_path / "elsewhere").exists()
    shell.do("init", "--user", "Asha", stdin=f"{PASSWORD}\n{CODE}\n")
    shell.do("settings", "show")
    shell.close()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("PORT", "http", "must be a whole number from 0 to 65535"),
        ("COLOUR", "red", "is not a setting"),
        ("DATABASE_URL", "mysql://u:hunter2@h/n", "must begin with sqlite:/// or"),
        ("DATABASE_URL", "postgresql+psycopg://u:hunter2@h:port/n", "is not a URL of SQLAlchemy"),
        ("DATABASE_URL", "postgresql+psycopg://u:hunter2@h/n?prepare=0", "no option 'prepare'"),
        ("SECRET_KEY", "hunter2", "at least 32 characters"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    shell: Shell, name: str, value: str, reason: str
) -> None:
    shell.environment[f"SYNC_PANEL_{name}"] = value
    error = shell.refused("settings", "show", code=2)
    assert f"SYNC_PANEL_{name}" in error
    assert reason in error
    assert error.count("\n") == 1
    assert "hunter2" not in error


def test_a_database_that_does_not_answer_is_one_line(shell: Shell, tmp_path: Path) -> None:
    shell.environment["SYNC_PANEL_DATABASE_URL"] = f"sqlite:///{tmp_path}/missing/panel.sqlite3"
    error = shell.refused("settings", "show")
    assert error == "Error: The database failed: unable to open database file\n"


def test_a_file_of_somebody_else_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(str(shell.database.engine.url.database))
    monkeypatch.setattr(os, "access", lambda path, _mode: path != file)
    for words in (("status",), ("worker",)):
        reason = shell.refused(*words)
        assert reason.startswith(f"Error: The user {SYSTEM_USER} cannot write {file}, which")
        assert reason.count("\n") == 1


def test_a_server_that_takes_no_writes_is_one_line(
    tmp_path: Path, new_postgresql: NewDatabase, postgresql_administration: Engine
) -> None:
    shell = Shell(tmp_path, new_postgresql(True))
    read_or_make_key(tmp_path)
    name = shell.database.engine.url.database
    with postgresql_administration.connect() as connection:
        setting = f"ALTER DATABASE {name} SET default_transaction_read_only"
        connection.exec_driver_sql(f"{setting} = on")
        assert "takes no writes" in shell.refused("status")
        connection.exec_driver_sql(f"{setting} = off")
    shell.do("status")
    shell.close()


def test_a_connection_that_takes_no_writes_any_more_is_given_up(
    new_postgresql: NewDatabase,
) -> None:
    database = Database(make_engine(new_postgresql(True)))
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = on")
        connection.commit()
    # As after a failover, when the server that this connection leads to became the standby.
    with pytest.raises(DBAPIError, match="read-only"), database.writing() as session:
        session.execute(text("UPDATE settings SET name = 'Lau'"))
    with database.writing() as session:
        session.execute(text("UPDATE settings SET name = 'Lau'"))
    database.close()


def test_a_worker_waits_for_the_first_start(
    tmp_path: Path, new_sqlite: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(tmp_path, new_sqlite(False))
    slept: list[float] = []
    ran: list[bool] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            shell.do("init", "--user", "Asha", stdin=f"{PASSWORD}\n{CODE}\n")

    monkeypatch.setattr("panel.cli.serve.time.sleep", sleep)
    monkeypatch.setattr(serve, "exit_on_sigterm", lambda: None)
    monkeypatch.setattr(SyncLoop, "run", lambda _: ran.append(True))
    told = shell.run("worker").stderr
    assert told.count("Waiting") == told.count("\n") == 1
    assert (slept, ran) == ([serve.MADE_AGAIN_SECONDS] * 2, [True])
    shell.close()


def test_a_newer_database_is_left_alone(shell: Shell) -> None:
    with shell.database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "newer version of Sync Panel" in shell.refused("settings", "show")
