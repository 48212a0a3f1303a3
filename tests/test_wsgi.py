"""``wsgi.py`` under a WSGI server: what is wrong is one clear line, not a traceback."""

import runpy
from pathlib import Path

import pytest

WSGI = Path(__file__).resolve().parents[1] / "wsgi.py"


def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNC_PANEL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SYNC_PANEL_PORT", "http")
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(WSGI))
    assert (
        str(stopped.value) == "SYNC_PANEL_PORT must be a whole number from 0 to 65535, not 'http'."
    )


def test_a_database_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SYNC_PANEL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SYNC_PANEL_DATABASE_URL", f"sqlite:///{tmp_path}/missing/panel.sqlite3")
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(WSGI))
    assert str(stopped.value) == "The database failed: unable to open database file"
