"""Preferences for the tests of the sync's pages: a satellite, or a primary with two satellites."""

import re

from panel.activity.log import Actor
from panel.config import Config
from panel.db import Database
from panel.models.settings import Settings
from panel.preferences.parameter_fields import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.security.vault import Vault

OPERATOR = Actor("operator")
# Nobody listens on port 9 (discard) of this machine.
URL = "http://127.0.0.1:9"


def make_satellite(database: Database, config: Config, url: str = URL) -> None:
    """Let this server be satellite 7, with the primary in its list."""
    _save(
        database,
        config,
        Parameters(
            sync_id=7,
            name="Kadavu",
            store="KDV-01",
            user_name="fiji",
            password="coral letters",
            url=url,
        ),
    )
    with database.writing() as session:
        add_server(session, OPERATOR, ServerFields(1, "National Store", "NAT-01"))


def make_primary(database: Database, config: Config) -> list[int]:
    """Let this server be the primary; return the ids of its satellites' rows, 7 and 8."""
    parameters = Parameters(
        sync_id=1,
        name="National Store",
        store="NAT-01",
        user_name="fiji",
        password="coral letters",
    )
    _save(database, config, parameters)
    with database.writing() as session:
        rows = [
            add_server(session, OPERATOR, ServerFields(7, "Kadavu", "KDV-01")),
            add_server(session, OPERATOR, ServerFields(8, "Rotuma", "ROT-01")),
        ]
        return [row.id for row in rows]


def _save(database: Database, config: Config, parameters: Parameters) -> None:
    vault = Vault(config.secret_keys)
    with database.writing() as session:
        version = session.get_one(Settings, 1).parameters_version
        save_parameters(session, OPERATOR, vault, parameters, version)


def words(html: str) -> str:
    """Return what a reader sees of ``html``: the tags away, one space between words."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).replace("&nbsp;", " ").split())
