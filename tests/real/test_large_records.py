"""Real servers, and records that are too large for the line between them."""

import base64
import random
from collections.abc import Callable, Iterator

import pytest

from panel.models.records import Quarantined
from tests.conftest import NewDatabase
from tests.real.conftest import NewSite
from tests.support.faulty_line import Cut, FaultyLine, Refuse
from tests.support.real_site import KADAVU, NATIONAL, Site


@pytest.fixture
def line() -> Iterator[Callable[[int], FaultyLine]]:
    """Makes a line to a port."""
    lines: list[FaultyLine] = []

    def make(port: int) -> FaultyLine:
        lines.append(FaultyLine(port))
        return lines[-1]

    yield make
    for one in lines:
        one.close()


Sides = tuple[Site, Site, FaultyLine]


@pytest.fixture
def sides(new_site: NewSite, new_database: NewDatabase, line: Callable[[int], FaultyLine]) -> Sides:
    primary = new_site(NATIONAL, new_database(True), others=(KADAVU,))
    way = line(primary.process.port)
    url = f"http://127.0.0.1:{way.port}/"
    satellite = new_site(KADAVU, new_database(True), primary=primary, url=url)
    assert satellite.sync().result == "well"
    return primary, satellite, way


def photo(size: int, number: int) -> dict[str, object]:
    """Return a record whose data no compression makes shorter than three quarters of ``size``."""
    noise = random.Random(number).randbytes(size * 3 // 4)  # noqa: S311
    return {"table": "photo", "id": f"{number:03}", "data": {"p": base64.b64encode(noise).decode()}}


def put(site: Site, sizes: list[int]) -> None:
    with site.api() as api:
        for number, size in enumerate(sizes):
            api.put_many([photo(size, number)])


def runs_until_well(satellite: Site, most: int) -> int:
    for number in range(1, most + 1):
        if satellite.sync().result == "well":
            return number
    raise AssertionError(f"not all arrived in {most} runs")


@pytest.mark.both_databases
@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
def test_a_record_of_a_mebibyte_passes_a_line_that_breaks_every_200_kilobytes(
    sides: Sides, upwards: bool
) -> None:
    primary, satellite, way = sides
    put(satellite if upwards else primary, [100, 1_040_000, 100])
    way.spoil(Cut(200_000, up=upwards))
    runs_until_well(satellite, 25)
    assert len(satellite.rows()) == 3
    assert primary.rows() == satellite.rows()


@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
def test_either_side_may_be_killed_between_two_parts(sides: Sides, upwards: bool) -> None:
    primary, satellite, way = sides
    put(satellite if upwards else primary, [350_000])
    way.spoil(Cut(100_000, up=upwards))
    for number in range(40):
        if satellite.sync().result == "well":
            break
        killed = (primary, satellite)[number % 2]
        killed.process.kill()
        killed.process.start()
    assert len(satellite.rows()) == 1
    assert primary.rows() == satellite.rows()


@pytest.mark.both_databases
def test_a_proxy_with_a_limit_lets_large_records_pass_in_parts(sides: Sides) -> None:
    primary, satellite, way = sides
    put(satellite, [100, 700_000, 100, 300_000])
    way.spoil(Refuse(100_000))
    run = satellite.sync()
    assert (run.result, run.pushed, run.set_aside) == ("well", 4, 0)
    assert primary.rows() == satellite.rows()


@pytest.mark.both_databases
def test_a_record_that_no_proxy_lets_pass_is_named_and_goes_once_it_does(sides: Sides) -> None:
    primary, satellite, way = sides
    put(satellite, [100, 20_000, 100])
    way.spoil(Refuse(3_000))
    run = satellite.sync()
    assert (run.result, run.pushed, run.set_aside) == ("well", 2, 1)
    assert satellite.count(Quarantined) == 1
    way.mend()
    assert satellite.sync().pushed == 1
    assert satellite.count(Quarantined) == 0
    assert primary.rows() == satellite.rows()
