"""Real servers synchronise, each a process with a database of its own, in batches of three."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from panel.models.records import Inbox, Quarantined
from tests.conftest import NewDatabase
from tests.real.conftest import NewSite
from tests.support.real_site import KADAVU, NATIONAL, ROTUMA, Site
from tests.support.records_api import Api, Line

BATCH = 3
NOT_YOURS = 403


class Three:
    """The primary and two satellites, and an application at each."""

    def __init__(self, primary: Site, kadavu: Site, rotuma: Site, closing: ExitStack) -> None:
        self.primary, self.kadavu, self.rotuma = primary, kadavu, rotuma
        self.at_primary, self.at_kadavu, self.at_rotuma = (
            closing.enter_context(site.api()) for site in (primary, kadavu, rotuma)
        )

    def sync(self) -> tuple[int, int]:
        """Let each satellite synchronise; return how many records went up and came down."""
        runs = [site.sync() for site in (self.kadavu, self.rotuma)]
        assert [run.result for run in runs] == ["well", "well"], [run.reason for run in runs]
        return sum(run.pushed for run in runs), sum(run.pulled for run in runs)


@pytest.fixture
def three(new_site: NewSite, new_database: NewDatabase, new_sqlite: NewDatabase) -> Iterator[Three]:
    """All three have nothing yet, and have synchronised once."""
    primary = new_site(NATIONAL, new_database(True), others=(KADAVU, ROTUMA))
    with ExitStack() as closing:
        kadavu = new_site(KADAVU, new_sqlite(True), primary=primary, batch=BATCH)
        rotuma = new_site(ROTUMA, new_sqlite(True), primary=primary, batch=BATCH)
        three = Three(primary, kadavu, rotuma, closing)
        three.sync()
        yield three


def put_some(api: Api, table: str, count: int, **more: object) -> dict[str, Line]:
    """Put ``count`` records and return them by id."""
    lines = {f"{table}-{number}": {"name": f"{table} {number}"} for number in range(count)}
    api.put_many(
        [{"table": table, "id": name, "data": data, **more} for name, data in lines.items()]
    )
    return lines


@pytest.mark.both_databases
def test_records_go_every_way_and_a_second_run_moves_nothing(three: Three) -> None:
    items = put_some(three.at_primary, "items", 7)
    orders = put_some(three.at_primary, "orders", 4, to=KADAVU.sync_id)
    stock = put_some(three.at_kadavu, "kadavu_stock", 8)
    reports = put_some(three.at_kadavu, "reports", 4, to=NATIONAL.sync_id)
    transfers = put_some(three.at_kadavu, "transfers", 5, to=ROTUMA.sync_id)
    beds = put_some(three.at_rotuma, "rotuma_beds", 5)

    three.sync()

    assert three.at_primary.list_all("kadavu_stock") == stock
    assert three.at_primary.list_all("rotuma_beds") == beds
    assert three.at_primary.list_all("reports") == reports
    assert three.at_kadavu.list_all("items") == three.at_rotuma.list_all("items") == items
    assert three.at_kadavu.list_all("orders") == orders
    assert three.at_rotuma.list_all("transfers") == transfers
    # What is not for a server does not reach it.
    assert three.at_rotuma.list_all("orders") == three.at_rotuma.list_all("kadavu_stock") == {}
    assert three.at_kadavu.list_all("rotuma_beds") == {}

    assert three.sync() == (0, 0)


def test_changes_and_deletes_follow(three: Three) -> None:
    items = put_some(three.at_primary, "items", 7)
    transfers = put_some(three.at_kadavu, "transfers", 7, to=ROTUMA.sync_id)
    three.sync()

    three.at_primary.delete("items", "items-2")
    three.at_primary.put("items", "items-5", {"name": "changed"})
    three.at_kadavu.delete("transfers", "transfers-0")
    three.at_kadavu.put("transfers", "transfers-6", {"name": "changed"})
    three.sync()

    del items["items-2"], transfers["transfers-0"]
    items["items-5"] = transfers["transfers-6"] = {"name": "changed"}
    assert three.at_kadavu.list_all("items") == three.at_rotuma.list_all("items") == items
    assert three.at_primary.list_all("transfers") == transfers
    assert three.at_rotuma.list_all("transfers") == transfers
    assert three.sync() == (0, 0)


def test_what_another_server_owns_is_read_only(three: Three) -> None:
    items = put_some(three.at_primary, "items", 1)
    transfers = put_some(three.at_kadavu, "transfers", 1, to=ROTUMA.sync_id)
    three.sync()

    for api, table in ((three.at_rotuma, "transfers"), (three.at_rotuma, "items")):
        assert api.put(table, f"{table}-0", {"name": "mine"}) == NOT_YOURS
        assert api.delete(table, f"{table}-0") == NOT_YOURS
    assert three.at_primary.put("transfers", "transfers-0", {"name": "mine"}) == NOT_YOURS
    assert three.at_rotuma.list_all("items") == items
    assert three.at_primary.list_all("transfers") == transfers


def test_a_record_that_cannot_be_applied_holds_up_nothing(three: Three) -> None:
    """Both wrote a record of the same table and id before they met: each keeps its own."""
    items = put_some(three.at_primary, "items", 7)
    for name in ("items-0", "items-6"):
        three.at_primary.delete("items", name)
    three.at_kadavu.put("items", "items-3", {"name": "made at Kadavu"})
    stock = put_some(three.at_kadavu, "kadavu_stock", 7)

    three.sync()

    others = {f"items-{number}": items[f"items-{number}"] for number in (1, 2, 4, 5)}
    assert three.at_kadavu.list_all("items") == others | {"items-3": {"name": "made at Kadavu"}}
    assert three.at_primary.list_all("items") == others | {"items-3": items["items-3"]}
    assert three.at_primary.list_all("kadavu_stock") == stock
    # At Kadavu the one that came, and the one of its own that the primary could not take.
    assert [site.count(Quarantined) for site in (three.primary, three.kadavu)] == [1, 2]
    assert three.kadavu.count(Inbox) == 0
    assert three.sync() == (0, 0)


@pytest.mark.both_databases
def test_an_empty_satellite_gets_all_back_and_goes_on(
    three: Three, new_site: NewSite, new_sqlite: NewDatabase
) -> None:
    items = put_some(three.at_primary, "items", 7)
    orders = put_some(three.at_primary, "orders", 4, to=KADAVU.sync_id)
    stock = put_some(three.at_kadavu, "kadavu_stock", 8)
    transfers = put_some(three.at_kadavu, "transfers", 4, to=ROTUMA.sync_id)
    for number in range(20):
        three.at_kadavu.put("kadavu_stock", "kadavu_stock-4", {"name": f"change {number}"})
    three.at_kadavu.delete("kadavu_stock", "kadavu_stock-1")
    three.sync()
    del stock["kadavu_stock-1"]
    stock["kadavu_stock-4"] = {"name": "change 19"}

    three.kadavu.process.kill()
    three.kadavu = new_site(KADAVU, new_sqlite(True), primary=three.primary, batch=BATCH)
    # Its device token is gone with its data: the password alone opens nobody's row.
    assert three.kadavu.sync().reason == "device_token_needed"
    three.primary.process.shell("servers", "clear-hardware", str(KADAVU.sync_id), "--yes")
    with three.kadavu.api() as three.at_kadavu:
        three.sync()
        assert three.at_kadavu.list_all("kadavu_stock") == stock
        assert three.at_kadavu.list_all("transfers") == transfers
        assert three.at_kadavu.list_all("items") == items
        assert three.at_kadavu.list_all("orders") == orders
        assert three.sync() == (0, 0)

        # What it writes from now on is newer than what it got back, wherever that was written.
        three.at_kadavu.put("kadavu_stock", "kadavu_stock-4", {"name": "after the restore"})
        three.at_kadavu.delete("transfers", "transfers-2")
        three.sync()
    stock["kadavu_stock-4"] = {"name": "after the restore"}
    del transfers["transfers-2"]
    assert three.at_primary.list_all("kadavu_stock") == stock
    assert three.at_rotuma.list_all("transfers") == transfers
    assert three.sync() == (0, 0)
