"""The first steps of a new server: what is to be done, each with a link, until all is done."""

import re

import pytest

from panel.config import Config
from panel.db import Database
from panel.models.settings import Server, Settings
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.servers import add_server
from panel.security.vault import Vault
from panel.setups.issued import SetupTarget, issue_setup
from tests.support.cast import KADAVU, OPERATOR
from tests.support.web_sites import URL, make_satellite, words
from tests.web.conftest import Browser, MakeApp

CHOICES = "This is the primary This is a satellite Join with a set-up"


def save(database: Database, config: Config, **values: object) -> None:
    with database.writing() as session:
        version = session.get_one(Settings, 1).parameters_version
        vault = Vault(config.secret_keys)
        save_parameters(session, OPERATOR, vault, Parameters(**values), version)


def steps(browser: Browser, path: str = "/") -> list[str]:
    """Return the first steps as they are read, ticked or not."""
    return [words(one) for one in re.findall(r"<li>([✓○].*?)</li>", browser.get(path).text)]


def test_an_empty_server_asks_what_it_is(manager: Browser, viewer: Browser) -> None:
    assert CHOICES in words(manager.get("/").text)
    assert CHOICES not in words(viewer.get("/").text)


def test_the_choice_lists_all_that_is_missing_at_once(manager: Browser) -> None:
    assert steps(manager, "/?first=primary") == [
        "○ Sync ID 1 for the primary",
        *("○ Name", "○ Store", "○ a satellite in the list of servers"),
        "○ a set-up for each satellite, or a user name and password for all",
    ]
    assert steps(manager, "/?first=satellite") == [
        *("○ Sync ID above 1", "○ Name", "○ Store", "○ User name", "○ Password", "○ URL"),
        *("○ the primary in the list of servers", "○ Test connection"),
    ]


@pytest.mark.parametrize("htmx", [True, False])
def test_each_is_a_link_to_its_field(manager: Browser, htmx: bool) -> None:
    address = "http://localhost/?first=satellite"
    assert 'href="/unlock"' in manager.get("/?first=satellite").text
    manager.unlock()
    page = manager.get("/?first=satellite").text
    for place in ("f-sync_id", "f-name", "f-store", "f-user_name", "p-url", "servers"):
        assert f'href="#{place}"' in page
        assert f'id="{place}"' in page
    if htmx:
        manager.post("/lock")
        code = {"authorisation_code": "coral-reef-7421"}
        part = manager.post("/unlock", code, htmx=True, HX_Current_URL=address).text
        assert 'href="#f-sync_id"' in part


def test_they_are_ticked_and_go(manager: Browser, database: Database, config: Config) -> None:
    save(database, config, sync_id=1, name="National Store", store="NAT-01")
    assert steps(manager)[:4] == [
        *("✓ Sync ID", "✓ Name", "✓ Store", "○ a satellite in the list of servers"),
    ]
    with database.writing() as session:
        kadavu = add_server(session, OPERATOR, KADAVU).id
    assert f'href="/servers/{kadavu}/sync#setups"' in manager.get("/").text
    with database.writing() as session:
        issue_setup(session, OPERATOR, kadavu, SetupTarget("https://central.example.org"))
    page = manager.get("/").text
    assert steps(manager) == []
    assert "not yet seen" in words(page)


def test_those_of_a_satellite_go_once_nothing_is_missing(
    manager: Browser, database: Database, config: Config
) -> None:
    save(database, config, sync_id=7, name="Kadavu", store="KDV-01", url=URL)
    assert steps(manager)[3:] == [
        *("○ User name", "○ Password", "✓ URL", "○ the primary in the list of servers"),
        "○ Test connection",
    ]
    make_satellite(database, config)
    assert steps(manager) == []


def test_a_row_with_a_set_up_needs_no_pair(
    manager: Browser, database: Database, config: Config
) -> None:
    save(database, config, sync_id=1, name="National Store", store="NAT-01")
    with database.writing() as session:
        add_server(session, OPERATOR, KADAVU)
    assert "Not ready: no user name and password yet." in words(manager.get("/").text)
    with database.writing() as session:
        row = session.get_one(Server, 1)
        issue_setup(session, OPERATOR, row.id, SetupTarget("https://central.example.org"))
    assert "Not ready" not in words(manager.get("/").text)


def test_all_that_is_missing_is_in_the_sentence(
    manager: Browser, database: Database, config: Config
) -> None:
    save(database, config, sync_id=7, name="Kadavu", store="KDV-01")
    assert (
        "Not ready. Missing: the URL of the primary, a user name and password, "
        "the primary in the list of servers." in words(manager.get("/").text)
    )


def test_before_set_up_the_plain_address_says_where_to_go(make_app: MakeApp) -> None:
    stranger = Browser(make_app(peopled=False))
    assert stranger.get("/").headers["Location"] == "/sign-in"
    page = words(stranger.get("/sign-in").text)
    assert "Not set up yet" in page
    assert "Open the link that was printed where it was started" in page
    assert "Password" not in page
