"""What a start finds wrong: a database that is empty or damaged, and a key that was lost."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from panel.activity.log import Actor
from panel.config import Config
from panel.db import Database, make_engine
from panel.errors import Refusal
from panel.installation import open_installation
from panel.models.runs import Loop
from panel.operations.sync_requests import NotNow, ask_to_sync
from panel.security.vault import Vault
from panel.status.state import read_state
from tests.support.cast import NATIONAL, SATELLITE
from tests.support.clock import Clock
from tests.support.steps import add, become

KEY, ANOTHER = "the key of this installation, long", "another key of thirty-two letters"


@pytest.fixture
def config(sqlite_url: str, tmp_path: Path) -> Config:
    database = Database(make_engine(sqlite_url))
    become(database, Vault([KEY]), SATELLITE)
    add(database, NATIONAL)
    database.close()
    return Config(
        data_dir=tmp_path, database_url=sqlite_url, secret_keys=(KEY,), hardware_id="machine-7"
    )


def file_of(config: Config) -> Path:
    return Path(config.database_url.removeprefix("sqlite:///"))


@pytest.mark.parametrize("make", [True, False])
@pytest.mark.parametrize("keep", ["nothing", "half", "noise", "head"])
def test_an_empty_or_damaged_database_is_never_taken_for_a_new_one(
    config: Config, keep: str, make: bool
) -> None:
    file = file_of(config)
    whole = file.read_bytes()
    content = {
        "nothing": b"",
        "half": whole[: len(whole) // 2],
        "noise": b"\xa5" * len(whole),
        "head": whole[:50],
    }[keep]
    file.write_bytes(content)
    with pytest.raises(Refusal) as refusal:
        open_installation(config, make=make)
    assert ("is empty" if keep == "nothing" else "is damaged") in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert file.read_bytes() == content


def test_a_lost_key_is_said_at_once(config: Config, time: Clock) -> None:
    installation = open_installation(replace(config, secret_keys=(ANOTHER,)))
    with installation.database.reading() as session:
        state = read_state(session, time.now)
    assert (state.kind, state.reason) == ("refused", "password_unreadable")
    with installation.database.writing() as session, pytest.raises(NotNow, match="secret key"):
        ask_to_sync(session, Actor("asha"))
    installation.close()
    again = open_installation(config)
    with again.database.writing() as session:
        assert session.get_one(Loop, 1).refusal == ""
        ask_to_sync(session, Actor("asha"))
    again.close()


def test_a_database_that_is_moved_stays_whole(config: Config, tmp_path: Path) -> None:
    moved = tmp_path / "moved.sqlite3"
    shutil.copy(file_of(config), moved)
    open_installation(replace(config, database_url=f"sqlite:///{moved}")).close()
