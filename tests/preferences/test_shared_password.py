"""The shared password: which form it has in which role, and that nobody can read it back."""

import pytest

from panel.activity.log import SECRET, Actor, EventKind, search
from panel.db import Database
from panel.errors import Conflict, Invalid
from panel.models.runs import Link
from panel.models.settings import Settings
from panel.preferences.parameters import remove_password, save_parameters
from panel.preferences.shared_password import read_password, wire_password
from panel.security.hashes import verify_secret
from panel.security.vault import Unreadable, Vault
from tests.support.cast import PRIMARY, SATELLITE
from tests.support.steps import become, happened


def knows(settings: Settings, password: str) -> bool:
    """Say whether a primary would let in whoever sends ``password``."""
    assert settings.password_hash is not None
    return verify_secret(settings.password_hash, wire_password(password))


def test_what_travels_is_the_lower_case_hex_sha256() -> None:
    # The well-known digest of "abc" (FIPS 180-2, appendix B.1).
    assert wire_password("abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_satellite_can_send_it(database: Database, vault: Vault) -> None:
    settings = become(database, vault, SATELLITE)
    assert read_password(settings, vault) == "a shared word"
    assert settings.password_hash is None
    assert "a shared word" not in str(settings.password_sealed)


def test_a_primary_can_only_check_it(database: Database, vault: Vault) -> None:
    settings = become(database, vault, PRIMARY)
    assert settings.password_sealed is None
    assert read_password(settings, vault) is None
    assert knows(settings, "a shared word")
    assert not knows(settings, "another word")


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_field_leaves_it_as_it_is(
    database: Database, vault: Vault, empty: str | None
) -> None:
    become(database, vault, SATELLITE)
    settings = become(database, vault, SATELLITE.replace(password=empty, name="Renamed"))
    assert read_password(settings, vault) == "a shared word"


def test_spaces_belong_to_it(database: Database, vault: Vault) -> None:
    settings = become(database, vault, SATELLITE.replace(password="  a word of ours "))
    assert read_password(settings, vault) == "  a word of ours "


def test_the_one_that_is_set_already_is_no_change(database: Database, vault: Vault) -> None:
    for role in (SATELLITE, PRIMARY):
        wanted = role.replace(url="")
        version = become(database, vault, wanted).parameters_version
        assert become(database, vault, wanted).parameters_version == version


def test_a_satellite_that_becomes_the_primary_keeps_it_as_a_hash(
    database: Database, vault: Vault
) -> None:
    become(database, vault, SATELLITE)
    settings = become(database, vault, PRIMARY.replace(password=None))
    assert settings.password_sealed is None
    assert knows(settings, "a shared word")


def test_a_primary_that_becomes_a_satellite_needs_it_again(
    database: Database, vault: Vault
) -> None:
    become(database, vault, PRIMARY)
    with pytest.raises(Invalid) as refused:
        become(database, vault, SATELLITE.replace(password=None))
    assert "again" in str(refused.value.problems["password"])
    settings = become(database, vault, SATELLITE.replace(password="typed again"))
    assert settings.password_hash is None
    assert read_password(settings, vault) == "typed again"


def test_a_primary_may_stand_alone_for_a_while(database: Database, vault: Vault) -> None:
    become(database, vault, PRIMARY)
    become(database, vault, PRIMARY.replace(sync_id=None, password=None))
    assert knows(become(database, vault, PRIMARY.replace(password=None)), "a shared word")


def test_a_lost_key_is_told_from_no_password(database: Database, vault: Vault) -> None:
    settings = become(database, vault, SATELLITE)
    stranger = Vault(["a key that came later, and long enough too"])
    with pytest.raises(Unreadable):
        read_password(settings, stranger)
    with pytest.raises(Invalid) as refused:
        become(database, stranger, PRIMARY.replace(password=None))
    assert "key" in str(refused.value.problems["password"])
    assert knows(become(database, stranger, PRIMARY), "a shared word")


def test_an_older_key_still_opens_it(database: Database) -> None:
    older, newer = "the older key, long enough to be one", "the newer key, long enough to be one"
    settings = become(database, Vault([older]), SATELLITE)
    assert read_password(settings, Vault([newer, older])) == "a shared word"


def test_remove_is_an_act_of_its_own(database: Database, vault: Vault, asha: Actor) -> None:
    version = become(database, vault, SATELLITE).parameters_version
    for _ in range(2):
        with database.writing() as session:
            assert not remove_password(session, asha, version).has_password
    with database.reading() as session:
        row = search(session)[0]
    assert (row.what, row.was) == (EventKind.PASSWORD_REMOVED, {"password": SECRET})
    assert happened(database, EventKind.PASSWORD_REMOVED) == 1


def test_one_that_was_just_changed_is_not_removed_unseen(
    database: Database, vault: Vault, asha: Actor
) -> None:
    version = become(database, vault, SATELLITE).parameters_version
    become(database, vault, SATELLITE.replace(password="changed meanwhile"))
    with pytest.raises(Conflict) as refused, database.writing() as session:
        remove_password(session, asha, version)
    (difference,) = refused.value.differences
    assert (difference.field, difference.became) == ("password", SECRET)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://other.example"},
        {"password": "another word"},
        {"user_name": "x"},
    ],
    ids=str,
)
def test_a_device_token_is_not_sent_to_where_it_was_not_given(
    database: Database, vault: Vault, asha: Actor, change: dict[str, object]
) -> None:
    version = become(database, vault, SATELLITE).parameters_version
    with database.writing() as session:
        session.get_one(Link, 1).device_token_sealed = "sealed"
    with database.writing() as session:
        save_parameters(session, asha, vault, SATELLITE.replace(name="New"), version)
        assert not session.get_one(Link, 1).token_withheld
    with database.writing() as session:
        wanted = SATELLITE.replace(name="New", **change)
        save_parameters(session, asha, vault, wanted, version + 1)
    with database.reading() as session:
        assert session.get_one(Link, 1).token_withheld
