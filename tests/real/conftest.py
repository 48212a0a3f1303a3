"""Makes servers in processes of their own, and ends them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import select, update

from panel.cli.sync import EXIT_NEEDS_ATTENTION
from panel.models.records import Quarantined
from panel.models.runs import Run
from panel.models.settings import Server, Settings, SyncProtocol
from panel.preferences.server_fields import fields_of
from panel.preferences.servers import edit_server
from tests.conftest import NewDatabase
from tests.support.processes import ForkedPanel
from tests.support.real_site import KADAVU, NATIONAL, PAIR, TESTER, Place, Site
from tests.support.repeater import Repeater

# How long it may take until a loop hears that somebody asked it to synchronise.
LOOK, QUICK_LOOK_SECONDS = "panel.sync.loop._LOOK_SECONDS", 0.05

USUAL_INTERVAL_MINUTES = 10

NewSite = Callable[..., Site]
Pair = tuple[Site, Site]


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[NewSite]:
    """Makes servers, as :func:`sites_in` does; they end with the test."""
    with sites_in(tmp_path) as make:
        yield make


@contextmanager
def sites_in(base: Path) -> Iterator[NewSite]:
    """Yield what makes a server, configured and started, on a migrated database.

    A satellite is told where its ``primary`` is, or a ``url`` on the way to it; a primary which
    ``others`` it knows. ``batch`` is how many records go at once, by default as many as suit;
    ``interval`` is in minutes; ``constants`` are those of ForkedPanel.
    """
    numbers = count(1)
    with ExitStack() as closing:

        def make(
            place: Place,
            database_url: str,
            *,
            primary: Site | None = None,
            url: str = "",
            others: Sequence[Place] = (),
            batch: int = 0,
            interval: int = USUAL_INTERVAL_MINUTES,
            constants: Mapping[str, object] | None = None,
        ) -> Site:
            # The Hardware ID comes from the last name: a place keeps its machine if it starts anew.
            folder = base / f"data-{next(numbers)}" / f"server-{place.sync_id}"
            folder.mkdir(parents=True)
            constants = {LOOK: QUICK_LOOK_SECONDS, **(constants or {})}
            process = ForkedPanel(folder, database_url=database_url, constants=constants)
            site = Site(place, process)
            closing.callback(site.close)
            if primary is not None:
                url, others = url or f"{primary.process.url}/", (primary.place,)
            site.configure(url, others)
            if batch:
                site.shrink_batches(batch)
            if interval != USUAL_INTERVAL_MINUTES:
                site.set_interval(interval)
            site.process.start()
            return site

        yield make


# --- a primary and a satellite --------------------------------------------------------------------


@pytest.fixture
def pair(new_site: NewSite, new_database: NewDatabase) -> Pair:
    """A primary and a satellite, with records of both, that are in step."""
    primary = new_site(NATIONAL, new_database(True), others=(KADAVU,))
    kadavu = new_site(KADAVU, new_database(True), primary=primary)
    put(primary, "items", 30)
    put(kadavu, "stock", 10)
    sync_well(kadavu)
    return primary, kadavu


@pytest.fixture
def pair_over_v5(new_site: NewSite, new_database: NewDatabase) -> Pair:
    """A primary and a satellite over v5, with records of both, that are in step."""
    primary = new_site(NATIONAL, new_database(True), others=(KADAVU,))
    kadavu = new_site(KADAVU, new_database(True), primary=primary, interval=0)
    give_own_pair(primary, KADAVU, "kadavu")
    with kadavu.database.writing() as session:
        session.execute(update(Settings).values(user_name="kadavu", protocol=SyncProtocol.V5))
    kadavu.set_interval(10)
    put(primary, "items", 30)
    put(kadavu, "stock", 10)
    assert sync_well(kadavu).protocol == SyncProtocol.V5
    return primary, kadavu


@pytest.fixture
def repeater(pair: Pair) -> Iterator[Repeater]:
    """A proxy on the way of the pair."""
    primary, kadavu = pair
    repeater = Repeater(primary.process.port)
    call(kadavu, repeater.url)
    yield repeater
    repeater.close()


def give_own_pair(primary: Site, place: Place, user_name: str) -> None:
    """Give a row of the primary's list a user name of its own, as v5 wants it."""
    with primary.database.writing() as session:
        row = session.scalars(select(Server).where(Server.sync_id == place.sync_id)).one()
        fields = replace(fields_of(row), user_name=user_name, password=PAIR[1])
        edit_server(session, TESTER, row.id, fields, row.version)


def call(satellite: Site, url: str) -> None:
    """Let a satellite call another address from now on."""
    with satellite.database.writing() as session:
        session.execute(update(Settings).values(url=url))


def put(site: Site, table: str, count: int, value: object = 1) -> None:
    """Write ``count`` records of ``table``, with ids from 0."""
    with site.api() as api:
        lines = [{"table": table, "id": f"{n}", "data": {"n": value}} for n in range(count)]
        api.put_many(lines)


def sync_well(site: Site) -> Run:
    """Press "Sync now", and expect that all goes well."""
    run = site.sync()
    assert (run.result, run.reason) == ("well", "")
    return run


def are_in_step(primary: Site, satellite: Site) -> bool:
    """Say whether both have the same; of what the primary lost, a tombstone is left there."""
    return all(
        {row for row in of_primary if not row[5]} == {row for row in of_satellite if not row[5]}
        for of_primary, of_satellite in (
            (primary.rows(owner=KADAVU.sync_id), satellite.rows(owner=KADAVU.sync_id)),
            (primary.central(), satellite.central()),
        )
    )


def kept(site: Site) -> dict[str, str | None]:
    """Return what this server keeps aside of its own accord, by table and id."""
    with site.database.reading() as session:
        rows = session.scalars(select(Quarantined).where(Quarantined.source == 0))
        return {f"{row.table_name}/{row.record_id}": row.data for row in rows}


def status_of(site: Site) -> str:
    """Return what ``sync-panel status`` says of a server that somebody has to see to."""
    return site.process.shell("status", code=EXIT_NEEDS_ATTENTION)


def health(site: Site) -> tuple[int, str]:
    """Return the status of ``/healthz`` and the code of what is wrong, or "ok"."""
    with closing(HTTPConnection("127.0.0.1", site.process.port, timeout=60)) as connection:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        body = json.loads(response.read())
    return response.status, body.get("error", body).get("code", "ok")
