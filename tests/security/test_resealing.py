"""Secrets follow the newest key, so that an older one can be forgotten."""

from pathlib import Path

import pytest

from panel.config import Config
from panel.db import Database
from panel.installation import Installation, rotate_keys
from panel.models.runs import Link
from panel.models.settings import Settings
from panel.preferences.shared_password import read_password
from panel.security.vault import Vault
from tests.support.cast import SATELLITE
from tests.support.steps import become

OLD, NEW = "an old key of thirty-two letters", "a newer key of thirty-two letters"


def _start(database: Database, *keys: str) -> None:
    config = Config(data_dir=Path(), database_url="", secret_keys=keys, hardware_id="machine-7")
    rotate_keys(Installation.on(config, database))


@pytest.mark.both_databases
def test_after_one_start_the_old_key_is_not_needed(database: Database) -> None:
    old = Vault([OLD])
    become(database, old, SATELLITE)
    with database.writing() as session:
        session.get_one(Link, 1).device_token_sealed = old.seal("a token")
    _start(database, NEW, OLD)
    new = Vault([NEW])
    with database.reading() as session:
        assert read_password(session.get_one(Settings, 1), new) == SATELLITE.password
        sealed = session.get_one(Link, 1).device_token_sealed
    assert new.open(str(sealed)) == "a token"


def test_what_no_key_opens_and_what_is_not_set_stay(database: Database) -> None:
    become(database, Vault([OLD]), SATELLITE)
    with database.reading() as session:
        sealed = session.get_one(Settings, 1).password_sealed
    _start(database, NEW, "a third key of thirty-two letters")
    with database.reading() as session:
        assert session.get_one(Settings, 1).password_sealed == sealed
        assert session.get_one(Link, 1).device_token_sealed is None
