"""Secrets follow the newest key, so that an older one can be forgotten."""

from panel.db import Database
from panel.models.base import Settings
from panel.models.sync import Link
from panel.preferences.key_rotation import reseal
from panel.preferences.shared_password import read_password
from panel.security.vault import Vault
from tests.preferences.steps import SATELLITE, become

OLD, NEW = "an old key of thirty-two letters", "a newer key of thirty-two letters"


def test_after_one_start_the_old_key_is_not_needed(database: Database) -> None:
    old = Vault([OLD])
    become(database, old, SATELLITE)
    with database.writing() as session:
        session.get_one(Link, 1).device_token_sealed = old.seal("a token")
    with database.writing() as session:
        reseal(session, Vault([NEW, OLD]))
    new = Vault([NEW])
    with database.reading() as session:
        assert read_password(session.get_one(Settings, 1), new) == SATELLITE.password
        sealed = session.get_one(Link, 1).device_token_sealed
    assert new.open(str(sealed)) == "a token"


def test_what_no_key_opens_and_what_is_not_set_stay(database: Database) -> None:
    become(database, Vault([OLD]), SATELLITE)
    with database.reading() as session:
        sealed = session.get_one(Settings, 1).password_sealed
    with database.writing() as session:
        reseal(session, Vault([NEW]))
    with database.reading() as session:
        assert session.get_one(Settings, 1).password_sealed == sealed
        assert session.get_one(Link, 1).device_token_sealed is None
