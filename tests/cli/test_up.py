"""``sync-panel up`` as a real process: it says where to go, answers, and ends when told to."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from re import search

import pytest

from panel.paths import MANIFEST
from tests.support.cast import CODE, PASSWORD
from tests.support.processes import PanelProcess


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[PanelProcess]:
    panel = PanelProcess(tmp_path)
    yield panel
    panel.stop()


def said(panel: PanelProcess) -> str:
    return (panel.folder / "log").read_text("utf-8")


def command(panel: PanelProcess, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "panel.cli", *words],
        env=panel.environment,
        input=stdin,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_a_new_panel_says_where_to_go_and_how_to_set_it_up(panel: PanelProcess) -> None:
    panel.start()
    assert f"Sync Panel is at {panel.url}/\n" in said(panel)
    link = search(rf"{panel.url}(/set-up/\S+)", said(panel))
    assert link is not None
    assert status(panel, link[1]) == 200
    assert status(panel, link[1][:-1]) != 200


def test_once_set_up_no_link_is_printed(panel: PanelProcess) -> None:
    answer = command(panel, "init", "--user", "Asha", stdin=f"{PASSWORD}\n{CODE}\n")
    assert answer.stdout == "Asha can sign in now and may do everything.\n"
    panel.start()
    assert "Sync Panel is at" in said(panel)
    assert "set-up" not in said(panel)


def test_it_ends_well_when_told_to_and_begins_again(panel: PanelProcess) -> None:
    panel.start()
    assert command(panel, "healthcheck").returncode == 0
    panel.stop()
    assert "Traceback" not in said(panel)
    # The database is whole in its one file.
    assert [file.name for file in panel.folder.glob("*.sqlite3*")] == ["sync-panel.sqlite3"]
    unhealthy = command(panel, "healthcheck")
    assert unhealthy.returncode == 1
    assert unhealthy.stderr.startswith(f"Error: Nothing answers at {panel.url}/healthz")
    panel.start()


def test_a_port_that_is_taken_is_told_in_one_line(panel: PanelProcess) -> None:
    panel.start()
    second = command(panel, "up")
    assert second.returncode == 1
    assert second.stderr.startswith(f"Error: Cannot listen on 127.0.0.1, port {panel.port}: ")
    assert second.stderr.count("\n") == 1


def test_a_host_that_is_no_address_is_told_in_one_line(tmp_path: Path) -> None:
    # No name can be as long, so that nobody is asked for it.
    host = "x" * 70
    panel = PanelProcess(tmp_path, environment={"SYNC_PANEL_HOST": host})
    refused = command(panel, "up")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: Cannot listen on {host}, which is no address.")
    assert refused.stderr.count("\n") == 1


def test_a_connection_is_kept_and_the_server_does_not_name_itself(panel: PanelProcess) -> None:
    panel.start()
    connection = HTTPConnection("127.0.0.1", panel.port, timeout=10)
    for _ in range(2):
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        assert connection.sock is not None, "closed after an answer"
        assert answer.getheader("Server") is None
    connection.close()


def test_a_connection_is_kept_when_nothing_changed(panel: PanelProcess) -> None:
    panel.start()
    script = f"/static/{json.loads(MANIFEST.read_text('utf-8'))['files']['app.js']}"
    connection = HTTPConnection("127.0.0.1", panel.port, timeout=10)
    connection.request("GET", script)
    answer = connection.getresponse()
    answer.read()
    connection.request("GET", script, headers={"If-None-Match": answer.headers["ETag"]})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 304
    assert answer.getheader("Connection") is None
    assert connection.sock is not None, "closed after an answer without a body"
    connection.close()


def test_what_is_made_is_its_owners_only(panel: PanelProcess) -> None:
    command(panel, "init", "--user", "Asha", stdin=f"{PASSWORD}\n{CODE}\n")
    made = [panel.folder / "secret_key", panel.folder / "sync-panel.sqlite3"]
    assert [oct(path.stat().st_mode & 0o777) for path in made] == ["0o600", "0o600"]


def test_a_second_start_leaves_alembic_alone(panel: PanelProcess) -> None:
    command(panel, "init", "--user", "Asha", stdin=f"{PASSWORD}\n{CODE}\n")
    code = "import sys, wsgi; assert callable(wsgi.app); print('alembic' in sys.modules)"
    root = Path(__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=panel.environment,
        text=True,
        capture_output=True,
        check=True,
    )
    assert answer.stdout == "False\n"


def status(panel: PanelProcess, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", panel.port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status
