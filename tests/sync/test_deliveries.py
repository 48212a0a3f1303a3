"""How far a record has come: from the satellite that wrote it, and from the primary onwards."""

import pytest

from panel.errors import NotFound
from panel.status import history
from panel.status.history import read_delivery
from tests.support.two_sides import LoseAnswer, PrimarySide, SatelliteSide, Side

pytestmark = pytest.mark.both_databases

Told = tuple[str, list[int], bool]


def told(side: Side, record_id: str) -> Told:
    with side.database.reading() as session:
        delivery = read_delivery(session, "item", record_id)
        return delivery.state, list(delivery.waits_for), delivery.more


def test_a_satellites_record_is_sent_and_has_arrived(kadavu: SatelliteSide) -> None:
    kadavu.sync()
    kadavu.put("a", {})
    assert told(kadavu, "a") == ("waiting", [1], False)
    assert kadavu.sync(LoseAnswer(1)).result == "failed"
    assert told(kadavu, "a") == ("sent", [1], False)
    kadavu.put("b", {})
    assert told(kadavu, "b") == ("waiting", [1], False)
    kadavu.sync()
    assert told(kadavu, "a") == told(kadavu, "b") == ("arrived", [], False)
    kadavu.put("a", None)
    assert told(kadavu, "a") == ("waiting", [1], False)


def test_a_primary_tells_for_whom_central_data_waits(
    primary: PrimarySide, kadavu: SatelliteSide, levuka: SatelliteSide
) -> None:
    for satellite in (kadavu, levuka):
        satellite.sync()
    primary.put("a", {})
    assert told(primary, "a") == ("waiting", [7, 8], False)
    kadavu.sync()
    # It has it, and says so at its next contact.
    assert told(primary, "a") == ("waiting", [8, 7], False)
    kadavu.sync()
    assert told(primary, "a") == ("waiting", [8], False)
    levuka.sync()
    assert told(primary, "a") == ("sent", [8], False)
    levuka.sync()
    assert told(primary, "a") == ("arrived", [], False)


def test_an_addressed_record_waits_for_one_server(
    primary: PrimarySide, kadavu: SatelliteSide, levuka: SatelliteSide
) -> None:
    for satellite in (kadavu, levuka):
        satellite.sync()
    kadavu.put("to levuka", {}, to=8)
    kadavu.sync()
    assert told(primary, "to levuka") == ("waiting", [8], False)
    for _ in range(2):
        levuka.sync()
    assert told(primary, "to levuka") == told(levuka, "to levuka") == ("arrived", [], False)


def test_what_a_satellite_keeps_for_itself_has_arrived(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.put("a", {})
    for _ in range(2):
        kadavu.sync()
    assert told(primary, "a") == ("arrived", [], False)
    with pytest.raises(NotFound):
        told(primary, "never there")


def test_who_waits_is_told_up_to_a_bound(
    primary: PrimarySide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE_SIZE", 1)
    primary.put("a", {})
    assert told(primary, "a") == ("waiting", [7], True)
