"""A primary and its two satellites in one process, on databases of the kind of the test's mark."""

from collections.abc import Iterator

import pytest

from tests.conftest import NewDatabase
from tests.support.two_sides import PrimarySide, SatelliteSide


@pytest.fixture
def primary(new_database: NewDatabase) -> Iterator[PrimarySide]:
    primary = PrimarySide(new_database(True))
    primary.add(7, "Kadavu Health Centre", "KDV-01")
    primary.add(8, "Levuka Hospital", "LVK-01")
    yield primary
    primary.close()


@pytest.fixture
def kadavu(new_database: NewDatabase, primary: PrimarySide) -> Iterator[SatelliteSide]:
    satellite = SatelliteSide(new_database(True), primary)
    yield satellite
    satellite.close()


@pytest.fixture
def levuka(new_database: NewDatabase, primary: PrimarySide) -> Iterator[SatelliteSide]:
    satellite = SatelliteSide(new_database(True), primary, 8, "Levuka Hospital", "LVK-01")
    yield satellite
    satellite.close()
