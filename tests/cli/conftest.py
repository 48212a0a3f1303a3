"""A command line of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from panel.security.vault import read_or_make_key
from tests.conftest import NewDatabase
from tests.support.shell import Shell

SYSTEM_USER = "technician"


@pytest.fixture(autouse=True)
def system_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", SYSTEM_USER)


def _installed(folder: Path, database_url: str) -> Shell:
    read_or_make_key(folder)
    return Shell(folder, database_url)


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Iterator[Shell]:
    shell = _installed(tmp_path, database_url)
    yield shell
    shell.close()


@pytest.fixture
def primary(shell: Shell) -> Shell:
    shell.do("settings", "set", "sync_id=1", "name=National Store", "store=NAT-01")
    return shell


@pytest.fixture
def satellite(shell: Shell) -> Shell:
    shell.do("settings", "set", "sync_id=7", "name=Kadavu", "store=KDV-01")
    return shell


@pytest.fixture
def other_shell(tmp_path: Path, new_sqlite: NewDatabase) -> Iterator[Shell]:
    """Another machine, with another key."""
    folder = tmp_path / "other"
    folder.mkdir()
    shell = _installed(folder, new_sqlite(True))
    yield shell
    shell.close()
