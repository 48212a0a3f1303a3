"""Cases of which each server is a process; ``make soak`` tries them, ``make test`` does not.

What they show is tested in one process too, where it takes no time. Restores, copied disks, large
records and full disks have real servers at every change, in the modules beside this one.
"""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, update

from panel.models.records import ChangeSequence, Quarantined
from panel.models.runs import Loop
from tests.conftest import NewDatabase
from tests.real.conftest import (
    NewSite,
    Pair,
    are_in_step,
    give_own_pair,
    health,
    put,
    status_of,
    sync_well,
)
from tests.support.clock import RunningClock
from tests.support.processes import ForkedPanel
from tests.support.real_site import KADAVU, NATIONAL, PAIR, ROTUMA, Place, Site, wait_until
from tests.support.remote_site import RemoteSite, change_of, client_of
from tests.support.repeater import Repeater
from tests.support.screen import Screen

pytestmark = pytest.mark.both_databases

NOBODY = 99
LAUTOKA = Place(KADAVU.sync_id, "Lautoka", "LTK-01")
IN_2000 = datetime(2000, 1, 1, tzinfo=UTC)


def set_aside(site: Site) -> set[tuple[str, str]]:
    """Return table/id and the reason of what is set aside."""
    with site.database.reading() as session:
        rows = session.scalars(select(Quarantined).where(Quarantined.source != 0))
        return {(f"{row.table_name}/{row.record_id}", row.reason) for row in rows}


def records_of(site: Site, table: str) -> dict[str, dict[str, object]]:
    with site.api() as api:
        return api.list_all(table)


# --- addressed to nobody, acknowledged by nothing -------------------------------------------------


def test_addressed_to_a_server_that_does_not_exist(pair: Pair) -> None:
    primary, kadavu = pair
    with primary.api() as api:
        assert api.put("letters", "1", {"n": 1}, to=NOBODY) == 422
    with kadavu.api() as api:
        assert api.put("letters", "2", {"n": 2}, to=NOBODY) == 200
    assert kadavu.sync().set_aside == 1
    for site in pair:
        assert set_aside(site) == {("letters/2", "no_such_addressee")}
    assert records_of(primary, "letters") == {}
    add = ("servers", "add", "--sync-id", f"{NOBODY}", "--name", "Levuka", "--store", "LVK-01")
    primary.process.shell(*add)
    sync_well(kadavu)
    assert records_of(primary, "letters") == {"2": {"n": 2}}
    assert set_aside(primary) == set()


def test_a_push_acknowledged_by_an_answer_that_says_nothing(pair: Pair, repeater: Repeater) -> None:
    primary, kadavu = pair
    # The first run at a new address has more to say than its records.
    sync_well(kadavu)
    put(kadavu, "stock", 1, "counted today")
    repeater.instead.append(b'{"version":1}')
    run = kadavu.sync()
    assert repeater.instead == []
    assert (run.result, run.pushed, kadavu.waiting()) == ("failed", 0, {("stock", "0")})
    assert sync_well(kadavu).pushed == 1
    assert records_of(primary, "stock")["0"] == {"n": "counted today"}
    assert are_in_step(primary, kadavu)


# --- a clock that is wrong ------------------------------------------------------------------------


def set_clock(site: Site, ahead: timedelta = timedelta()) -> None:
    """Start the process again with a clock that is wrong by ``ahead``."""
    clock = RunningClock()
    clock.pass_by(seconds=ahead.total_seconds())
    site.process.stop()
    assert isinstance(site.process, ForkedPanel)
    site.process.constants["panel.clock.now"] = clock
    site.process.start()


def purge(site: Site) -> int:
    """Let the server purge, and return the number up to which tombstones are gone."""
    due = datetime.now(UTC) - timedelta(days=2)
    with site.database.writing() as session:
        session.execute(update(Loop).values(purged_at=due))

    def has_purged() -> bool:
        with site.database.reading() as session:
            return session.get_one(Loop, 1).purged_at != due

    wait_until(has_purged, "it purges")
    with site.database.reading() as session:
        return session.get_one(ChangeSequence, 1).purged_seq


def test_a_delete_made_by_a_clock_that_stood_in_2000(pair: Pair) -> None:
    primary, kadavu = pair
    set_clock(primary, IN_2000 - datetime.now(UTC))
    with primary.api() as api:
        assert api.delete("items", "0") == 204
    set_clock(primary)
    assert purge(primary) == 0
    sync_well(kadavu)
    assert "0" not in records_of(kadavu, "items")
    assert kadavu.count_runs("refused") == 0


def test_a_success_in_the_future_is_none(pair: Pair) -> None:
    primary, kadavu = pair
    assert _state_of_kadavu(primary) == "up_to_date"
    for site in pair:
        set_clock(site, timedelta(days=730))
    sync_well(kadavu)
    kadavu.process.stop()
    set_clock(primary)
    # A server that is dead since then does not stay up to date for two years.
    assert _state_of_kadavu(primary) == "not_seen"
    set_clock(kadavu)
    # By its right clock it is due at once.
    wait_until(lambda: _state_of_kadavu(primary) == "up_to_date", "it synchronises by itself")
    assert are_in_step(primary, kadavu)


def _state_of_kadavu(primary: Site) -> object:
    (row,) = json.loads(primary.process.shell("servers", "list", "--json"))
    return row["state"]


@pytest.mark.parametrize(("minutes", "way"), [(35, "ahead of"), (-35, "behind")])
def test_more_than_two_minutes_are_told_on_both_sides(pair: Pair, minutes: int, way: str) -> None:
    primary, kadavu = pair
    here, there = "The clock of this server is", "Its clock is"

    def words() -> tuple[str, str]:
        # It is told with the next exchange.
        for _ in range(2):
            sync_well(kadavu)
        return Screen(kadavu.process.url).words(), Screen(primary.process.url).words(
            "/servers/1/sync"
        )

    set_clock(kadavu, timedelta(seconds=90 if minutes > 0 else -90))
    satellites, primarys = words()
    assert here not in satellites
    assert there not in primarys
    # Half a minute more, since the difference is told in whole minutes.
    set_clock(kadavu, timedelta(minutes=minutes + 0.5 * (1 if minutes > 0 else -1)))
    put(kadavu, "stock", 1, "written by the wrong clock")
    satellites, primarys = words()
    assert f"{here} 35 minutes {way} the primary's" in satellites
    assert f"{there} 35 minutes {way} this server's" in primarys
    assert are_in_step(primary, kadavu)


# --- a Sync ID that is used again -----------------------------------------------------------------


def replace_kadavu(pair: Pair, place: Place, act: str) -> None:
    """Remove Kadavu's row, and add another one with its number, which needs an ``act``."""
    primary, kadavu = pair
    with primary.api() as api:
        assert api.put("letters", "1", {"for": "Kadavu"}, to=KADAVU.sync_id) == 200
    sync_well(kadavu)
    kadavu.process.stop()
    shell = primary.process.shell
    shell("servers", "remove", f"{place.sync_id}", "--yes")
    add = ("servers", "add", "--sync-id", f"{place.sync_id}", "--name", place.name)
    question = shell(*add, "--store", place.store, code=1)
    assert "Kadavu Health Centre" in question
    assert f"records={act}" in question
    shell(*add, "--store", place.store, "--confirm", f"records={act}")


def test_a_sync_id_that_another_store_gets(
    pair: Pair, new_site: NewSite, new_database: NewDatabase
) -> None:
    primary, _ = pair
    before = records_of(primary, "stock")
    replace_kadavu(pair, LAUTOKA, "archive")
    lautoka = new_site(LAUTOKA, new_database(True), primary=primary)
    put(lautoka, "stock", 1, "Lautoka's")
    put(lautoka, "new", 1, "Lautoka's")
    for _ in range(2):
        lautoka.sync()
    assert set_aside(lautoka) == {("stock/0", "archived")}
    assert records_of(lautoka, "stock") == {"0": {"n": "Lautoka's"}}
    assert records_of(lautoka, "letters") == {}
    assert len(records_of(lautoka, "items")) == 30
    assert records_of(primary, "stock") == before
    assert records_of(primary, "new") == {"0": {"n": "Lautoka's"}}


def test_a_sync_id_that_the_same_store_gets_again(
    pair: Pair, new_site: NewSite, new_database: NewDatabase
) -> None:
    primary, _ = pair
    replace_kadavu(pair, KADAVU, "keep")
    again = new_site(KADAVU, new_database(True), primary=primary)
    sync_well(again)
    assert are_in_step(primary, again)
    assert len(records_of(again, "stock")) == 10
    assert records_of(again, "letters") == {"1": {"for": "Kadavu"}}


# --- over mSupply Sync v5 -------------------------------------------------------------------------


@pytest.fixture
def sites(new_site: NewSite, new_database: NewDatabase) -> tuple[Site, RemoteSite, RemoteSite]:
    """A primary, and two sites that call as Open mSupply servers do."""
    primary = new_site(NATIONAL, new_database(True), others=(KADAVU, ROTUMA))
    client = client_of(primary.process.port)
    names = {"kadavu": KADAVU, "rotuma": ROTUMA}
    for name, place in names.items():
        give_own_pair(primary, place, name)
    kadavu, rotuma = (
        RemoteSite(client, user_name=name, password=PAIR[1], hardware_id=f"machine of {name}")
        for name in names
    )
    return primary, kadavu, rotuma


def test_what_a_v5_site_pushed_comes_back_in_the_central_formats(
    sites: tuple[Site, RemoteSite, RemoteSite],
) -> None:
    _, kadavu, _ = sites
    invoice = {"ID": "t1", "entry_date": "2026-05-18T00:00:00", "entry_time": "01:02:03"}
    document = {"ID": "d1", "data": '{"dose": 1.5}'}
    kadavu.push(
        change_of("t1", invoice, table="transact"), change_of("d1", document, table="om_document")
    )
    assert kadavu.initialise() == 2
    kadavu.pull_queued()
    assert kadavu.records == {
        "t1": {"ID": "t1", "entry_date": "2026-05-18", "entry_time": 3_723},
        "d1": {"ID": "d1", "data": {"dose": 1.5}},
    }


def test_a_shared_table_that_a_v5_site_changes_is_merged(
    sites: tuple[Site, RemoteSite, RemoteSite],
) -> None:
    primary, kadavu, rotuma = sites
    with primary.api() as api:
        assert api.put("clinician", "c1", {"code": "A", "note": "central"}) == 200
    cursor, _ = rotuma.pull_central()
    kadavu.push(change_of("c1", {"code": "B", "mobile": "7"}, table="clinician"))
    merged = {"code": "B", "note": "central", "mobile": "7"}
    assert records_of(primary, "clinician") == {"c1": merged}
    assert set_aside(primary) == set()
    rotuma.pull_central(cursor)
    assert rotuma.records == {"c1": merged}


# --- what a start finds wrong ---------------------------------------------------------------------


def test_a_lost_secret_key_says_so_at_once(pair: Pair) -> None:
    primary, kadavu = pair
    kadavu.process.stop()
    key = kadavu.process.folder / "secret_key"
    kept = key.read_bytes()
    key.unlink()
    kadavu.process.launch()
    wait_until(lambda: _answers(kadavu), "it answers")
    assert health(kadavu) == (503, "password_unreadable")
    for said in (
        status_of(kadavu),
        Screen(kadavu.process.url).words(),
        kadavu.process.shell("sync", "now", code=1),
    ):
        assert "secret key" in said
    assert health(primary) == (200, "ok")
    kadavu.process.stop()
    key.write_bytes(kept)
    kadavu.process.start()
    sync_well(kadavu)
    assert are_in_step(primary, kadavu)


def _answers(site: Site) -> bool:
    try:
        return bool(health(site))
    except OSError:
        return False


@pytest.mark.parametrize("damage", ["empty", "damaged"])
def test_an_empty_or_damaged_database_stops_the_start(pair: Pair, damage: str) -> None:
    primary, _ = pair
    primary.process.stop()
    primary.database.close()
    url = make_url(primary.process.config.database_url)
    if url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL says itself that its files are damaged")
    file = Path(str(url.database))
    content = b"" if damage == "empty" else file.read_bytes()[: file.stat().st_size // 2]
    shutil.copy(file, file.with_suffix(".backup"))
    file.write_bytes(content)
    said = primary.process.shell("up", code=1)
    assert len(said.splitlines()) == 1
    assert f"is {damage}: restore it from a backup" in said
    assert file.read_bytes() == content
    shutil.copy(file.with_suffix(".backup"), file)
    primary.process.start()
    assert len(records_of(primary, "items")) == 30
