"""Records addressed to a server that nobody has: refused, or set aside until it is added."""

from collections.abc import Iterator

import pytest

from panel.errors import Invalid
from panel.preferences.servers import remove_servers
from tests.conftest import NewDatabase
from tests.support.cast import ASHA
from tests.support.two_sides import PrimarySide, SatelliteSide


@pytest.fixture
def primary(new_database: NewDatabase) -> Iterator[PrimarySide]:
    primary = PrimarySide(new_database(True))
    primary.add(7, "Kadavu Health Centre", "KDV-01")
    yield primary
    primary.close()


@pytest.fixture
def kadavu(new_sqlite: NewDatabase, primary: PrimarySide) -> Iterator[SatelliteSide]:
    satellite = SatelliteSide(new_sqlite(True), primary)
    yield satellite
    satellite.close()


@pytest.mark.both_databases
def test_a_primary_refuses_what_is_addressed_to_nobody(primary: PrimarySide) -> None:
    with pytest.raises(Invalid, match=r"to: item/lost: .*99"):
        primary.put("lost", {"n": 1}, to=99)
    assert primary.contents() == {}
    primary.put("letter", {"n": 1}, to=7)
    with primary.database.writing() as session:
        remove_servers(session, ASHA, [primary.row(7).id])
    # What is there already can still be changed and deleted.
    primary.put("letter", {"n": 2}, to=7)
    with pytest.raises(Invalid):
        primary.put("another", {"n": 1}, to=7)


@pytest.mark.both_databases
def test_what_a_satellite_addressed_to_nobody_is_set_aside_until_somebody_is_added(
    primary: PrimarySide, kadavu: SatelliteSide, new_sqlite: NewDatabase
) -> None:
    kadavu.put("letter", {"n": 1}, to=8)
    kadavu.put("stock", {"n": 2})
    assert kadavu.sync().set_aside == 1
    for side in (kadavu, primary):
        (aside,) = side.asides()
        assert (aside.record_id, aside.reason, aside.reason_values) == (
            *("letter", "no_such_addressee"),
            {"sync_id": 8},
        )
    assert primary.contents() == {("item", "stock"): {"n": 2}}
    for _ in range(25):
        # However often it was tried in vain.
        kadavu.sync()
    primary.add(8, "Levuka Hospital", "LVK-01")
    kadavu.sync()
    levuka = SatelliteSide(new_sqlite(True), primary, 8, "Levuka Hospital", "LVK-01")
    levuka.sync()
    levuka.sync()
    assert levuka.get("letter") == {"n": 1}
    assert primary.asides() == []
    levuka.close()


def test_a_letter_to_nobody_that_is_deleted_is_no_longer_set_aside(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.put("letter", {"n": 1}, to=99)
    kadavu.sync()
    kadavu.put("letter", None)
    kadavu.sync()
    assert [*kadavu.asides(), *primary.asides()] == []
