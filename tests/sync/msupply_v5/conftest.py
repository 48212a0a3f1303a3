"""A primary with one v5 site in its list, and a site that calls as an Open mSupply server does."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine

from panel.db import Database
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.web.app import create_app
from tests.support.cast import ASHA, PRIMARY
from tests.support.installations import VAULT, installation_on
from tests.support.remote_site import PASSWORD, SITE_ID, USER_NAME, RemoteSite


@pytest.fixture
def database(engine: Engine) -> Database:
    """The primary's database, with the site in its list."""
    database = Database(engine)
    site = ServerFields(
        SITE_ID, "Kadavu Health Centre", "KDV-01", user_name=USER_NAME, password=PASSWORD
    )
    with database.writing() as session:
        save_parameters(session, ASHA, VAULT, PRIMARY, 1)
        add_server(session, ASHA, site)
    return database


@pytest.fixture
def app(database: Database) -> Flask:
    return create_app(installation_on(database, "machine-1"))


@pytest.fixture
def site(app: Flask) -> Iterator[RemoteSite]:
    """The site that the list has, on its own machine."""
    with app.test_client() as client:
        yield RemoteSite(client)
