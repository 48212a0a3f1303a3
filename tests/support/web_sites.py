"""Preferences for the tests of the sync's pages: a satellite, or a primary with two satellites."""

import re

from panel.config import Config
from panel.db import Database
from panel.models.settings import Settings
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.security.vault import Vault
from tests.support.cast import NATIONAL, OPERATOR, PRIMARY, SATELLITE

# Nobody listens on port 9 (discard) of this machine.
URL = "http://127.0.0.1:9"
_PAIR = {"user_name": "fiji", "password": "coral letters"}


def make_satellite(database: Database, config: Config, url: str = URL) -> None:
    """Let this server be satellite 7, with the primary in its list."""
    _save(database, config, SATELLITE.replace(name="Kadavu", url=url, **_PAIR))
    with database.writing() as session:
        add_server(session, OPERATOR, NATIONAL)


def make_primary(database: Database, config: Config) -> list[int]:
    """Let this server be the primary; return the ids of its satellites' rows, 7 and 8."""
    _save(database, config, PRIMARY.replace(**_PAIR))
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
