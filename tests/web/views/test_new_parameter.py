"""A parameter that is added to the table: it is everywhere, and nothing else was changed for it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from panel.config import Config
from panel.db import Database
from panel.errors import Invalid
from panel.i18n import Message
from panel.models.settings import Settings
from panel.preferences.parameter_kinds import Concerns, Secret, Text
from panel.preferences.parameter_table import PARAMETERS, Parameters, parameters_of
from panel.preferences.parameters import save_parameters
from panel.security.vault import Vault
from panel.site_file.document import read_site
from panel.site_file.export import export_site, plan_import
from panel.site_file.import_ import apply_import
from tests.support.cast import OPERATOR
from tests.support.shell import Shell
from tests.support.web_sites import make_primary, make_satellite, words
from tests.web.conftest import Browser

PASSPHRASE = "a passphrase of the tests"
either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])


@dataclass(frozen=True, kw_only=True)
class TextWithoutColumn(Text):
    """A text that is kept here, since no table has a column for it."""

    kept: dict[str, str] = field(default_factory=dict)

    def read(self, settings: Settings) -> str:
        return self.kept.get(self.name, "")

    def write(self, settings: Settings, vault: Vault, value: str) -> None:
        self.kept[self.name] = value


@dataclass(frozen=True, kw_only=True)
class SecretWithoutColumn(Secret):
    """A secret that is kept here, sealed."""

    kept: dict[str, str | None] = field(default_factory=dict)

    def sealed(self, settings: Settings) -> str | None:
        return self.kept.get(self.name)

    def set_sealed(self, settings: Settings, sealed: str | None) -> None:
        self.kept[self.name] = sealed


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> TextWithoutColumn:
    added = TextWithoutColumn(
        name="region",
        label=Message("Region"),
        help=Message("The island group."),
        longest=10,
        concerns=Concerns.SATELLITE,
    )
    monkeypatch.setitem(PARAMETERS, added.name, added)
    return added


@pytest.fixture(autouse=True)
def pin(monkeypatch: pytest.MonkeyPatch) -> SecretWithoutColumn:
    added = SecretWithoutColumn(
        name="pin",
        label=Message("Card PIN"),
        help=Message("Of the SIM card."),
        concerns=Concerns.SATELLITE,
    )
    monkeypatch.setitem(PARAMETERS, added.name, added)
    return added


@pytest.fixture
def vault(config: Config) -> Vault:
    return Vault(config.secret_keys)


@pytest.fixture
def satellite(database: Database, config: Config) -> Database:
    make_satellite(database, config)
    return database


@pytest.fixture
def shell(config: Config) -> Iterator[Shell]:
    (config.data_dir / "secret_key").write_text(config.secret_keys[0], "ascii")
    shell = Shell(config.data_dir, config.database_url)
    yield shell
    shell.close()


def version(database: Database) -> str:
    with database.reading() as session:
        return str(session.get_one(Settings, 1).parameters_version)


def save(database: Database, vault: Vault, **changes: str) -> None:
    with database.writing() as session:
        settings = session.get_one(Settings, 1)
        wanted = parameters_of(settings).replace(**changes)
        save_parameters(session, OPERATOR, vault, wanted, settings.parameters_version)


@pytest.mark.usefixtures("satellite")
def test_it_is_text_while_locked_and_a_field_with_its_help_once_unlocked(manager: Browser) -> None:
    page = words(manager.get("/").text)
    assert "Region empty" in page
    assert "Card PIN not set" in page
    manager.unlock()
    page = manager.get("/").text
    assert '<label>Region<input name="region" value="">' in page
    assert '<label>Card PIN<input type="password" name="pin" autocomplete="new-password">' in page
    assert "The island group." in page
    assert "Of the SIM card." in page


def test_whom_it_does_not_concern_does_not_see_it(
    manager: Browser, database: Database, config: Config
) -> None:
    make_primary(database, config)
    assert "Region" not in manager.get("/").text
    manager.unlock()
    page = manager.get("/").text
    assert 'name="store"' in page
    assert "Region" not in page
    assert 'name="pin"' not in page


@either
def test_it_is_saved_and_activity_has_it_without_the_secret(
    unlocked: Browser, satellite: Database, vault: Vault, pin: SecretWithoutColumn, htmx: bool
) -> None:
    for region in (" Lau ", "Rotuma"):
        sent = {"region": region, "pin": f"pin {region}", "version": version(satellite)}
        unlocked.post("/parameters", sent, htmx=htmx)
    with satellite.reading() as session:
        assert pin.open(session.get_one(Settings, 1), vault) == "pin Rotuma"
    activity = unlocked.get("/activity").text
    assert "Region: Lau → Rotuma" in words(activity)
    assert "Card PIN: changed" in words(activity)
    assert "pin Rotuma" not in activity
    unlocked.post("/lock")
    page = unlocked.get("/").text
    assert "Region Rotuma" in words(page)
    assert "Card PIN set" in words(page)
    assert "pin Rotuma" not in page


@either
def test_what_cannot_stand_has_its_reason_and_loses_nothing(
    unlocked: Browser, satellite: Database, vault: Vault, pin: SecretWithoutColumn, htmx: bool
) -> None:
    sent = {"region": "x" * 11, "pin": "four digits", "version": version(satellite)}
    answer = unlocked.post("/parameters", sent, htmx=htmx)
    assert answer.status_code == 422
    assert f'name="region" value="{sent["region"]}" aria-invalid="true"' in answer.text
    assert '<b class="bad" id="p-region" role="alert">At most 10 characters.</b>' in answer.text
    assert "four digits" not in answer.text
    waits = re.search(r'name="typed_pin" value="([^"]+)"', answer.text)
    assert waits
    again = {"region": "Lau", "typed_pin": waits[1], "version": version(satellite)}
    unlocked.post("/parameters", again, htmx=htmx)
    with satellite.reading() as session:
        assert pin.open(session.get_one(Settings, 1), vault) == "four digits"


def test_who_comes_second_sees_it_by_its_label(unlocked: Browser, satellite: Database) -> None:
    seen = version(satellite)
    unlocked.post("/parameters", {"region": "Lau", "version": seen})
    answer = unlocked.post("/parameters", {"region": "Rotuma", "version": seen}, htmx=True)
    assert answer.status_code == 409
    assert "Region empty → Lau" in words(answer.text)


@pytest.mark.usefixtures("satellite")
def test_the_shell_sets_and_shows_it(shell: Shell) -> None:
    path = shell.file("pin", "four digits\n")
    shell.do("settings", "set", "region=Lau", f"pin=@{path}")
    shown: dict[str, Any] = json.loads(shell.do("settings", "show", "--json"))
    assert (shown["region"], shown["pin"]) == ("Lau", True)
    table = shell.do("settings", "show")
    assert re.search(r"^region +Lau$", table, re.MULTILINE)
    assert re.search(r"^pin +set$", table, re.MULTILINE)
    assert shell.refused("settings", "set", f"region={'x' * 11}") == (
        "Error: region: At most 10 characters.\n"
    )
    assert "pin=@FILE" in shell.refused("settings", "set", "pin=1234", code=2)
    assert re.search(r"^ +region +Region$", shell.do("settings", "set", "--help"), re.MULTILINE)
    shell.do("settings", "set", "region=", "pin=")
    emptied = json.loads(shell.do("settings", "show", "--json"))
    assert (emptied["region"], emptied["pin"]) == ("", False)
    assert shell.activity()[0].became == {"pin": None}


def test_a_file_carries_it(
    satellite: Database,
    vault: Vault,
    region: TextWithoutColumn,
    pin: SecretWithoutColumn,
) -> None:
    save(satellite, vault, region="Lau", pin="four digits")
    with satellite.writing() as session:
        document = export_site(session, OPERATOR, vault, PASSPHRASE)
    assert document["settings"]["region"] == "Lau"
    assert "four digits" not in json.dumps(document)
    save(satellite, vault, region="Rotuma", pin="other digits")
    site = read_site(document, PASSPHRASE)
    with satellite.writing() as session:
        changed = [change.field for change in plan_import(session, vault, site)]
        assert changed == ["region", "pin"]
        apply_import(session, OPERATOR, vault, site)
        settings = session.get_one(Settings, 1)
        assert region.read(settings) == "Lau"
        assert pin.open(settings, vault) == "four digits"
        assert plan_import(session, vault, site) == []


def test_a_file_with_a_wrong_type_is_refused(satellite: Database, vault: Vault) -> None:
    with satellite.writing() as session:
        document = export_site(session, OPERATOR, vault)
    document["settings"]["region"] = 7
    with pytest.raises(Invalid) as refusal:
        read_site(document, None)
    assert "“region” must be a text." in str(refusal.value.problems["file"])


def test_a_value_for_what_is_no_parameter_is_a_mistake() -> None:
    assert Parameters().region == ""  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="colour"):
        Parameters(colour="red")
    with pytest.raises(AttributeError):
        Parameters().url = "changed"
