"""Export and import: every rule of the verbs holds, and secrets keep the form their role needs."""

from typing import Any

import pytest
from sqlalchemy import select

from panel.activity import log
from panel.activity.log import Actor
from panel.db import Database, make_engine
from panel.errors import Invalid, NeedsConfirmation, Refusal
from panel.models.records import Record
from panel.models.settings import Server, Settings
from panel.preferences.interval import set_interval
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server, remove_servers
from panel.preferences.shared_password import read_password, wire_password
from panel.security.hashes import verify_secret
from panel.security.vault import Vault
from panel.site_file.document import read_site
from panel.site_file.export import export_site, plan_import
from panel.site_file.import_ import apply_import
from panel.sync.store.records import put_record
from tests.conftest import NewDatabase
from tests.support import cast

PASSPHRASE = "a passphrase of the tests"
PRIMARY = cast.PRIMARY.replace(user_name="shared", password="shared password", request_size=100)
SATELLITE = cast.SATELLITE.replace(
    name="Kadavu", password="site password", url="central.example.org", protocol="own"
)
OTHER_VAULT = Vault(["a key of another machine, as long as it must be"])


@pytest.fixture
def other_database(new_database: NewDatabase) -> Any:
    database = Database(make_engine(new_database(True)))
    yield database
    database.close()


def save(database: Database, vault: Vault, actor: Actor, wanted: Parameters) -> None:
    with database.writing() as session:
        version = session.get_one(Settings, 1).parameters_version
        save_parameters(session, actor, vault, wanted, version)


def export(
    database: Database, vault: Vault, actor: Actor, passphrase: str | None
) -> dict[str, Any]:
    with database.writing() as session:
        return export_site(session, actor, vault, passphrase)


def take_over(
    database: Database, vault: Vault, actor: Actor, document: object, *confirmed: str
) -> None:
    site = read_site(document, PASSPHRASE)
    with database.writing() as session:
        apply_import(session, actor, vault, site, confirmed)


def differences(database: Database, vault: Vault, document: object) -> list[tuple[str, str, str]]:
    with database.reading() as session:
        changes = plan_import(session, vault, read_site(document, PASSPHRASE))
    return [(change.act, change.subject, change.field) for change in changes]


def servers(database: Database) -> list[Server]:
    with database.reading() as session:
        return list(
            session.scalars(
                select(Server).where(Server.removed_at.is_(None)).order_by(Server.sync_id)
            )
        )


def settings(database: Database) -> Settings:
    with database.reading() as session:
        return session.get_one(Settings, 1)


@pytest.fixture
def primary(database: Database, vault: Vault, asha: Actor) -> Database:
    """A primary with two satellites, of which one has a pair of its own."""
    save(database, vault, asha, PRIMARY)
    with database.writing() as session:
        set_interval(session, asha, 45, 1)
        add_server(session, asha, ServerFields(7, "Kadavu", "KDV-01"))
        own = ServerFields(8, "Levuka", "LVK-01", "", "levuka", "own password")
        add_server(session, asha, own)
    return database


@pytest.mark.both_databases
def test_a_satellite_moves_with_its_password(
    database: Database, other_database: Database, vault: Vault, asha: Actor
) -> None:
    save(database, vault, asha, SATELLITE)
    document = export(database, vault, asha, PASSPHRASE)
    assert "site password" not in str(document)
    take_over(other_database, OTHER_VAULT, asha, document)
    moved = settings(other_database)
    assert read_password(moved, OTHER_VAULT) == "site password"
    assert (moved.sync_id, moved.url) == (7, "https://central.example.org")
    assert differences(other_database, OTHER_VAULT, document) == []


@pytest.mark.both_databases
def test_a_primary_moves_with_its_hashes(
    primary: Database, other_database: Database, vault: Vault, asha: Actor
) -> None:
    document = export(primary, vault, asha, PASSPHRASE)
    take_over(other_database, OTHER_VAULT, asha, document)
    moved = settings(other_database)
    assert moved.interval_minutes == 45
    assert verify_secret(moved.password_hash or "", wire_password("shared password"))
    kadavu, levuka = servers(other_database)
    assert (kadavu.user_name, kadavu.password_hash) == ("", None)
    assert (levuka.user_name, levuka.user_name_key) == ("levuka", "levuka")
    assert verify_secret(levuka.password_hash or "", wire_password("own password"))
    assert differences(other_database, OTHER_VAULT, document) == []


def test_an_import_of_the_same_changes_nothing(
    primary: Database, vault: Vault, asha: Actor
) -> None:
    document = export(primary, vault, asha, PASSPHRASE)
    take_over(primary, vault, asha, document)
    with primary.reading() as session:
        newest, before = log.search(session, limit=2)
    assert (newest.what, before.what) == ("imported", "exported_secrets")


def test_the_plan_names_every_difference(primary: Database, vault: Vault, asha: Actor) -> None:
    document = export(primary, vault, asha, None)
    document["settings"]["name"] = "Central Store"
    document["servers"][0]["store"] = "KDV-02"
    document["servers"][1] = {"sync_id": 9, "name": "Rotuma", "store": "RTM-01"}
    assert differences(primary, vault, document) == [
        ("changed", "settings", "name"),
        ("changed", "7 Kadavu", "store"),
        ("added", "9 Rotuma", ""),
        ("removed", "8 Levuka", ""),
    ]
    take_over(primary, vault, asha, document)
    assert settings(primary).name == "Central Store"
    assert [(row.sync_id, row.store) for row in servers(primary)] == [(7, "KDV-02"), (9, "RTM-01")]


def test_a_part_of_a_file_leaves_the_rest(primary: Database, vault: Vault, asha: Actor) -> None:
    document = {"format": "sync-panel site", "version": 1, "settings": {"store": "NAT-02"}}
    take_over(primary, vault, asha, document)
    assert (settings(primary).store, settings(primary).name) == ("NAT-02", "National Store")
    assert len(servers(primary)) == 2


def test_a_pair_that_a_file_does_not_have_goes(
    primary: Database, vault: Vault, asha: Actor
) -> None:
    document = export(primary, vault, asha, None)
    document["servers"][1]["user_name"] = ""
    take_over(primary, vault, asha, document)
    assert servers(primary)[1].password_hash is None


def test_a_pair_without_its_password_is_refused(
    primary: Database, other_database: Database, vault: Vault, asha: Actor
) -> None:
    document = export(primary, vault, asha, None)
    with pytest.raises(Invalid) as refusal:
        take_over(other_database, OTHER_VAULT, asha, document)
    assert list(refusal.value.problems) == ["server 8 password"]
    assert settings(other_database).sync_id is None


def test_a_primarys_hash_is_no_password_for_a_satellite(
    primary: Database, other_database: Database, vault: Vault, asha: Actor
) -> None:
    document = export(primary, vault, asha, PASSPHRASE)
    document["settings"] = {"sync_id": 7}
    document["servers"] = []
    with pytest.raises(Invalid) as refusal:
        take_over(other_database, OTHER_VAULT, asha, document)
    assert list(refusal.value.problems) == ["password"]


def test_what_the_screen_would_ask_is_asked(primary: Database, vault: Vault, asha: Actor) -> None:
    document = export(primary, vault, asha, None)
    document["settings"]["url"] = "https://elsewhere.example.org"
    with pytest.raises(NeedsConfirmation) as refusal:
        take_over(primary, vault, asha, document)
    assert list(refusal.value.acts) == ["url_on_primary"]
    take_over(primary, vault, asha, document, "url_on_primary")
    assert settings(primary).url == "https://elsewhere.example.org"


def test_a_number_that_was_used_before_asks_for_each_row(
    primary: Database, vault: Vault, asha: Actor
) -> None:
    document = export(primary, vault, asha, PASSPHRASE)
    with primary.writing() as session:
        for owner in (7, 8):
            put_record(session, owner, "item", str(owner), {})
        remove_servers(session, asha, [row.id for row in servers(primary)])
    with pytest.raises(NeedsConfirmation) as refusal:
        take_over(primary, vault, asha, document)
    assert refusal.value.choice is not None
    assert list(refusal.value.choice.acts) == ["records.7=keep", "records.7=archive"]
    with pytest.raises(NeedsConfirmation, match="Sync ID 8"):
        take_over(primary, vault, asha, document, "records.7=archive")
    take_over(primary, vault, asha, document, "records.7=archive", "records.8=keep")
    with primary.reading() as session:
        assert set(session.scalars(select(Record.owner))) == {-7, 8}


def test_a_password_whose_key_is_gone_cannot_be_exported(
    database: Database, vault: Vault, asha: Actor
) -> None:
    save(database, vault, asha, SATELLITE)
    with pytest.raises(Refusal, match="is gone"):
        export(database, OTHER_VAULT, asha, PASSPHRASE)
    assert export(database, OTHER_VAULT, asha, None)["settings"]["sync_id"] == 7


def document(**parts: object) -> dict[str, object]:
    return {"format": "sync-panel site", "version": 1, **parts}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"format": "sync-panel site", "version": 2},
        document(people=[]),
        document(settings=[]),
        document(settings={"colour": "red"}),
        document(settings={"password": "secret"}),
        document(settings={"sync_id": "7"}),
        document(settings={"sync_id": True}),
        document(settings={"sync_interval": None}),
        document(settings={"name": None}),
        document(servers={}),
        document(servers=["7"]),
        document(servers=[{"name": "Kadavu", "store": "KDV-01"}]),
        document(servers=[{"sync_id": 7}, {"sync_id": 7}]),
        document(servers=[{"sync_id": 7, "password_hash": "x"}]),
        document(secrets="x"),
        document(secrets={}),
        document(secrets={"salt": "&", "sealed": "x"}),
    ],
)
def test_a_file_that_is_not_one_is_refused_in_words(wrong: object) -> None:
    with pytest.raises(Invalid) as refusal:
        read_site(wrong, PASSPHRASE)
    assert list(refusal.value.problems) == ["file"]


def test_secrets_open_with_their_passphrase_only(
    database: Database, vault: Vault, asha: Actor
) -> None:
    save(database, vault, asha, SATELLITE)
    sealed = export(database, vault, asha, PASSPHRASE)
    assert read_site(sealed, PASSPHRASE).secrets.parameters["password"] == "site password"
    for passphrase in (None, "", "another passphrase"):
        with pytest.raises(Invalid) as refusal:
            read_site(sealed, passphrase)
        assert list(refusal.value.problems) == ["passphrase"]
