"""Databases for the tests of the exchange."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from panel.db import Database


@pytest.fixture
def database(engine: Engine) -> Iterator[Database]:
    """A fresh database; the test runs once on SQLite and once on PostgreSQL."""
    database = Database(engine)
    yield database
    database.close()
