"""A primary with one v5 site in its list, and a site that calls as an Open mSupply server does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine

from panel.activity.log import Actor
from panel.config import Config
from panel.db import Database
from panel.installation import Installation
from panel.preferences.parameter_fields import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.security.vault import Vault
from panel.web.app import create_app
from tests.support.installations import SECRET_KEY
from tests.support.remote_site import PASSWORD, SITE_ID, USER_NAME, RemoteSite

SOMEBODY = Actor("asha")


@pytest.fixture
def database(engine: Engine) -> Database:
    """The primary's database, with the site in its list."""
    database = Database(engine)
    national = Parameters(
        sync_id=1,
        name="National Store",
        store="NAT-01",
        user_name="country",
        password="a shared word",
    )
    site = ServerFields(
        SITE_ID, "Kadavu Health Centre", "KDV-01", user_name=USER_NAME, password=PASSWORD
    )
    with database.writing() as session:
        save_parameters(session, SOMEBODY, Vault([SECRET_KEY]), national, 1)
        add_server(session, SOMEBODY, site)
    return database


@pytest.fixture
def app(database: Database, engine: Engine, tmp_path: Path) -> Flask:
    config = Config(data_dir=tmp_path, database_url=str(engine.url), secret_keys=(SECRET_KEY,))
    return create_app(Installation.on(config, database))


@pytest.fixture
def site(app: Flask) -> Iterator[RemoteSite]:
    """The site that the list has, on its own machine."""
    with app.test_client() as client:
        yield RemoteSite(client)
