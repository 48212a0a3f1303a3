"""What the tests of the preferences share: a database of either kind, a clock to move."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from panel.activity.log import Actor
from panel.db import Database
from panel.security.vault import Vault


class MovedClock:
    """The time as the panel sees it: it stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)

    def move(self, **units: float) -> datetime:
        self.now += timedelta(**units)
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    moved = MovedClock()
    monkeypatch.setattr("panel.clock.now", lambda: moved.now)
    return moved


@pytest.fixture
def database(engine: Engine) -> Database:
    return Database(engine)


@pytest.fixture
def vault() -> Vault:
    return Vault(["a key of the tests, long enough to be one"])


@pytest.fixture
def asha() -> Actor:
    return Actor("Asha", "192.0.2.7", "web")


@pytest.fixture
def ben() -> Actor:
    return Actor("Ben", "192.0.2.8", "web")
