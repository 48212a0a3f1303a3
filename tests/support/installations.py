"""Installations on databases that a test has made."""

from pathlib import Path

from panel.config import Config
from panel.db import Database
from panel.installation import Installation
from panel.security.vault import Vault

SECRET_KEY = "a key of the tests, of at least 32 letters"
VAULT = Vault([SECRET_KEY])


def installation_on(database: Database, hardware_id: str) -> Installation:
    """Return an installation on a migrated ``database``, sealing as :data:`VAULT` does."""
    url = database.engine.url.render_as_string(hide_password=False)
    # Nothing is kept outside the database here: the key and the Hardware ID are given.
    config = Config(
        data_dir=Path(),
        database_url=url,
        secret_keys=(SECRET_KEY,),
        hardware_id=hardware_id,
    )
    return Installation.on(config, database)
