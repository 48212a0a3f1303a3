"""``sync-panel doctor``: a line for each thing that it looked at, and what to do."""

import os
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from panel import clock
from panel.cli import doctor
from panel.cli.doctor import Page
from panel.models.runs import Loop
from tests.conftest import NewDatabase
from tests.support.cast import CODE, PASSWORD
from tests.support.shell import Shell

WELL = Page(200, '{"status":"ok"}')
URL = "https://central.example.org/sync"
REFUSED = Page(405, '{"error":{"code":"method_not_allowed"}}')


@pytest.fixture(autouse=True)
def pages(monkeypatch: pytest.MonkeyPatch) -> dict[str, Page]:
    """What answers at each address; everything else is well."""
    pages: dict[str, Page] = {}
    monkeypatch.setattr(doctor, "_ask", lambda url: pages.get(url, WELL))
    # Without a line to its host.
    monkeypatch.setattr(doctor, "_certificate", lambda _url: ())
    return pages


def examined(shell: Shell, *words: str, code: int) -> dict[str, tuple[str, str]]:
    """Each subject, whether it is well, and the words."""
    result = shell.run("doctor", *words)
    assert result.exit_code == code, result.output
    lines = [line.split("  ", 1) for line in result.stdout.splitlines()]
    return {line.split(": ", 1)[0]: (mark, line.split(": ", 1)[1]) for mark, line in lines}


def make_well(shell: Shell) -> None:
    shell.do("init", "--user", "Asha", stdin=f"{PASSWORD}\n{CODE}\n")
    with shell.database.writing() as session:
        session.execute(update(Loop).values(purged_at=clock.now()))


@pytest.mark.both_databases
def test_all_is_well(shell: Shell) -> None:
    make_well(shell)
    found = examined(shell, code=0)
    assert {mark for mark, _ in found.values()} == {"well"}
    assert "can be written" in found["Database"][1]
    assert "synchronises with nobody" in found["Sync"][1]


def test_before_the_first_start_nothing_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    shell = Shell(folder, f"sqlite:///{folder / 'panel.sqlite3'}")
    found = examined(shell, code=4)
    assert "There is no panel in" in found["Database"][1]
    assert found["Secret key"][0] == "LOOK"
    assert not folder.exists()
    shell.close()


def test_what_is_missing_is_named_with_what_to_do(shell: Shell, pages: dict[str, Page]) -> None:
    pages[f"http://127.0.0.1:{shell.environment['SYNC_PANEL_PORT']}/sync/healthz"] = Page(503, "no")
    shell.environment["SYNC_PANEL_PATH_PREFIX"] = "/sync"
    (shell.folder / "secret_key").chmod(0o644)
    found = examined(shell, code=4)
    for subject, words in {
        "People": "sync-panel init",
        "Worker": "sync-panel worker",
        "Proxy": "SYNC_PANEL_TRUSTED_PROXIES",
        "Secret key": "chmod 600",
        "Server": "no",
    }.items():
        assert found[subject][0] == "LOOK"
        assert words in found[subject][1]


def test_a_loop_that_ended_days_ago(shell: Shell) -> None:
    make_well(shell)
    with shell.database.writing() as session:
        session.execute(update(Loop).values(purged_at=clock.now() - timedelta(days=3)))
    assert examined(shell, code=4)["Worker"][0] == "LOOK"


def test_a_database_of_somebody_else(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(str(shell.database.engine.url.database))
    monkeypatch.setattr(os, "access", lambda path, _mode: path != file)
    mark, words = examined(shell, code=4)["Database"]
    assert mark == "LOOK"
    assert f"cannot write {file}" in words


def test_a_database_of_another_version_is_left_alone(
    tmp_path: Path, new_sqlite: NewDatabase
) -> None:
    url = new_sqlite(True)
    shell = Shell(tmp_path, url)
    make_well(shell)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert "at revision 0001" in examined(shell, code=4)["Tables"][1]
    assert "at revision 0001" in examined(shell, code=4)["Tables"][1]
    shell.close()


def test_from_outside(shell: Shell, pages: dict[str, Page]) -> None:
    make_well(shell)
    pages[f"{URL}/sign-in"] = Page(200, '<form action="/sync/sign-in">', "s=1; Secure")
    pages[f"{URL}/sync/exchange"] = REFUSED
    found = examined(shell, "--url", f"{URL}/", code=0)
    assert found["Satellites"] == ("well", f"reach the panel with the URL {URL}")
    pages[f"{URL}/sign-in"] = Page(200, '<form action="/sign-in">', "s=1")
    pages[f"{URL}/sync/exchange"] = Page(401, "Authorization Required")
    found = examined(shell, "--url", URL, code=4)
    assert "SYNC_PANEL_PATH_PREFIX=/sync" in found["Path"][1]
    assert "X-Forwarded-Proto" in found["https"][1]
    assert "sign-in" in found["Satellites"][1]
    pages[f"{URL}/healthz"] = Page(502, "")
    assert "answers 502" in examined(shell, "--url", URL, code=4)["From outside"][1]
