"""Real servers that are restored, copied or replaced: nothing is lost without a sentence."""

import pytest
from sqlalchemy import select

from panel.models.settings import Server
from panel.preferences.server_changes import clear_hardware
from tests.conftest import NewDatabase
from tests.real.conftest import NewSite, Pair, are_in_step, call, kept, put, status_of, sync_well
from tests.support.real_site import KADAVU, NATIONAL, TESTER, Row, Site
from tests.support.repeater import Repeater

pytestmark = pytest.mark.both_databases


def test_a_restored_primary(pair: Pair) -> None:
    primary, kadavu = pair
    backup = primary.back_up()
    put(kadavu, "stock", 3, "pushed, and lost there")
    put(primary, "lost", 4)
    sync_well(kadavu)
    primary.restore(backup)
    put(primary, "after", 12)
    sync_well(kadavu)
    assert are_in_step(primary, kadavu)
    with primary.api() as api:
        assert len(api.list_all("after")) == 12
        assert api.list_all("stock")["0"] == {"n": "pushed, and lost there"}
    assert set(kept(kadavu)) == {f"lost/{n}" for n in range(4)}
    assert sync_well(kadavu).pushed == 0


def test_a_restored_satellite(pair: Pair) -> None:
    primary, kadavu = pair
    backup = kadavu.back_up()
    put(kadavu, "stock", 3, "later")
    put(kadavu, "new", 4)
    put(primary, "later", 4)
    sync_well(kadavu)
    kadavu.restore(backup)
    put(kadavu, "stock", 1, "counted today")
    sync_well(kadavu)
    assert are_in_step(primary, kadavu)
    with kadavu.api() as api:
        assert len(api.list_all("new")) == len(api.list_all("later")) == 4
        stock = api.list_all("stock")
    assert (stock["0"], stock["1"]) == ({"n": "counted today"}, {"n": "later"})
    assert kept(kadavu) == {"stock/0": '{"n":"later"}'}


def test_said_by_hand_where_the_whole_folder_was_restored(pair: Pair) -> None:
    primary, kadavu = pair
    primary.process.stop()
    witness = (primary.process.folder / "witness").read_bytes()
    primary.process.start()
    backup = primary.back_up()
    put(primary, "lost", 4)
    sync_well(kadavu)
    primary.process.stop()
    (primary.process.folder / "witness").write_bytes(witness)
    primary.restore(backup)
    assert "Each satellite compares itself" in primary.process.shell("restored")
    put(primary, "after", 12)
    sync_well(kadavu)
    assert are_in_step(primary, kadavu)


def test_a_copied_disk(pair: Pair, new_site: NewSite, new_database: NewDatabase) -> None:
    primary, kadavu = pair
    backup = kadavu.back_up()
    copy = new_site(KADAVU, new_database(True), primary=primary)
    copy.become(kadavu, backup)
    put(kadavu, "stock", 1, "original's")
    put(copy, "stock", 1, "copy's")
    sync_well(kadavu)
    sync_well(copy)
    assert kept(copy) == {"stock/0": '{"n":"original\'s"}'}
    put(kadavu, "mine", 1)
    for site in (kadavu, copy):
        assert site.sync().reason == "two_machines"
    assert "Two computers use Sync ID 2" in status_of(kadavu)
    copy.process.kill()
    with primary.database.writing() as session:
        row = session.scalars(select(Server).where(Server.sync_id == KADAVU.sync_id)).one()
        clear_hardware(session, TESTER, row.id, row.version)
    sync_well(kadavu)
    assert are_in_step(primary, kadavu)


def test_a_replaced_machine(pair: Pair, new_site: NewSite, new_database: NewDatabase) -> None:
    primary, kadavu = pair
    for n in (2, 3, 4):
        put(kadavu, "stock", 1, n)
        sync_well(kadavu)
    kadavu.process.kill()
    with primary.database.writing() as session:
        row = session.scalars(select(Server).where(Server.sync_id == KADAVU.sync_id)).one()
        clear_hardware(session, TESTER, row.id, row.version)
    new = new_site(KADAVU, new_database(True), primary=primary, interval=0)
    put(new, "stock", 1, "counted today")
    new.set_interval(10)
    sync_well(new)
    assert are_in_step(primary, new)
    with primary.api() as api:
        assert api.list_all("stock")["0"] == {"n": "counted today"}
    assert kept(new) == {"stock/0": '{"n":4}'}


def test_an_emptied_primary(pair: Pair, new_site: NewSite, new_database: NewDatabase) -> None:
    primary, kadavu = pair
    emptied = new_site(NATIONAL, new_database(True), others=(KADAVU,))
    call(kadavu, f"{emptied.process.url}/")
    run = kadavu.sync()
    assert (run.result, run.reason) == ("refused", "removal_needs_consent")
    assert "30 records that are here are not at National Store" in status_of(kadavu)
    with kadavu.api() as api:
        assert len(api.list_all("items")) == 30
    call(kadavu, f"{primary.process.url}/")
    sync_well(kadavu)
    assert are_in_step(primary, kadavu)
    assert kept(kadavu) == {}
    call(kadavu, f"{emptied.process.url}/")
    assert kadavu.sync().reason == "removal_needs_consent"
    shell = kadavu.process.shell
    run = kadavu.sync(ask=lambda: shell("sync", "initialise", "--confirm", "remove=30"))
    assert run.result == "well"
    with kadavu.api() as api:
        assert api.list_all("items") == {}
    assert len(kept(kadavu)) == 30
    assert emptied.rows(owner=KADAVU.sync_id) == kadavu.rows(owner=KADAVU.sync_id)


# --- over mSupply Sync v5 -------------------------------------------------------------------------


def contents(site: Site) -> set[Row]:
    """Return what is not deleted, without versions, which v5 does not carry."""
    return {(*row[:4], row[6]) for row in site.rows() if not row[5]}


def test_either_side_is_restored_over_v5(pair_over_v5: Pair) -> None:
    primary, kadavu = pair_over_v5
    backup = primary.back_up()
    put(kadavu, "stock", 3, "pushed, and lost there")
    put(primary, "lost", 4)
    sync_well(kadavu)
    primary.restore(backup)
    put(primary, "after", 12)
    sync_well(kadavu)
    assert contents(primary) == contents(kadavu)
    with primary.api() as api:
        assert len(api.list_all("after")) == 12
        assert api.list_all("stock")["0"] == {"n": "pushed, and lost there"}
    assert set(kept(kadavu)) == {f"lost/{n}" for n in range(4)}
    backup = kadavu.back_up()
    put(kadavu, "new", 4)
    put(primary, "later", 4)
    sync_well(kadavu)
    kadavu.restore(backup)
    put(kadavu, "stock", 1, "counted today")
    sync_well(kadavu)
    assert contents(primary) == contents(kadavu)
    with primary.api() as api:
        assert len(api.list_all("new")) == len(api.list_all("later")) == 4
        assert api.list_all("stock")["0"] == {"n": "counted today"}


# --- a proxy that sends a request once more -------------------------------------------------------


def test_a_request_that_a_proxy_sends_again(pair: Pair, repeater: Repeater) -> None:
    primary, kadavu = pair
    sync_well(kadavu)
    put(kadavu, "stock", 2, "changed")
    sync_well(kadavu)
    assert kadavu.sync(ask=kadavu.ask_to_initialise).result == "well"
    for number in range(len(repeater.sent)):
        put(primary, "items", 1, f"after {number}")
        repeater.repeat(number)
        sync_well(kadavu)
        assert are_in_step(primary, kadavu)
    assert kadavu.count_runs("refused") == 0
