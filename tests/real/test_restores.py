"""Real servers that are restored, copied or replaced: nothing is lost without a sentence."""

from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from sqlalchemy import select, update

from panel.cli.sync import EXIT_NEEDS_ATTENTION
from panel.models.records import Quarantined
from panel.models.runs import Run
from panel.models.settings import Server, Settings, SyncProtocol
from panel.preferences.server_changes import clear_hardware
from panel.preferences.server_fields import fields_of
from panel.preferences.servers import edit_server
from tests.conftest import NewDatabase
from tests.real.conftest import NewSite
from tests.support.real_site import KADAVU, NATIONAL, PAIR, TESTER, Row, Site

pytestmark = pytest.mark.both_databases

Pair = tuple[Site, Site]


@pytest.fixture
def pair(new_site: NewSite, new_database: NewDatabase) -> Pair:
    """A primary and a satellite, with records of both, that are in step."""
    primary = new_site(NATIONAL, new_database(True), others=(KADAVU,))
    kadavu = new_site(KADAVU, new_database(True), primary=primary)
    put(primary, "items", 30)
    put(kadavu, "stock", 10)
    sync_well(kadavu)
    return primary, kadavu


def put(site: Site, table: str, count: int, value: object = 1) -> None:
    with site.api() as api:
        lines = [{"table": table, "id": f"{n}", "data": {"n": value}} for n in range(count)]
        api.put_many(lines)


def sync_well(site: Site) -> Run:
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
    with site.database.reading() as session:
        rows = session.scalars(select(Quarantined).where(Quarantined.source == 0))
        return {f"{row.table_name}/{row.record_id}": row.data for row in rows}


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
    assert "Two computers use Sync ID 2" in _status(kadavu)
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
    _call(kadavu, emptied)
    run = kadavu.sync()
    assert (run.result, run.reason) == ("refused", "removal_needs_consent")
    assert "30 records that are here are not at National Store" in _status(kadavu)
    with kadavu.api() as api:
        assert len(api.list_all("items")) == 30
    _call(kadavu, primary)
    sync_well(kadavu)
    assert are_in_step(primary, kadavu)
    assert kept(kadavu) == {}
    _call(kadavu, emptied)
    assert kadavu.sync().reason == "removal_needs_consent"
    shell = kadavu.process.shell
    run = kadavu.sync(ask=lambda: shell("sync", "initialise", "--confirm", "remove=30"))
    assert run.result == "well"
    with kadavu.api() as api:
        assert api.list_all("items") == {}
    assert len(kept(kadavu)) == 30
    assert emptied.rows(owner=KADAVU.sync_id) == kadavu.rows(owner=KADAVU.sync_id)


# --- over mSupply Sync v5 -------------------------------------------------------------------------


@pytest.fixture
def pair_over_v5(new_site: NewSite, new_database: NewDatabase) -> Pair:
    """A primary and a satellite over v5, with records of both, that are in step."""
    primary = new_site(NATIONAL, new_database(True), others=(KADAVU,))
    kadavu = new_site(KADAVU, new_database(True), primary=primary, interval=0)
    with primary.database.writing() as session:
        row = session.scalars(select(Server).where(Server.sync_id == KADAVU.sync_id)).one()
        fields = replace(fields_of(row), user_name="kadavu", password=PAIR[1])
        edit_server(session, TESTER, row.id, fields, row.version)
    with kadavu.database.writing() as session:
        session.execute(update(Settings).values(user_name="kadavu", protocol=SyncProtocol.V5))
    kadavu.set_interval(10)
    put(primary, "items", 30)
    put(kadavu, "stock", 10)
    assert sync_well(kadavu).protocol == SyncProtocol.V5
    return primary, kadavu


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


class Repeater:
    """Passes exchanges on to a primary, keeps each request, and sends it again when told to."""

    def __init__(self, primary: Site) -> None:
        self.sent: list[tuple[dict[str, str], bytes]] = []
        repeater, port = self, primary.process.port

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = dict(self.headers), body
                repeater.sent.append(request)
                status, headers, content = _send(port, request)
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() in ("content-encoding", "content-length"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._port = port
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def repeat(self, number: int) -> None:
        _send(self._port, self.sent[number])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _send(
    port: int, request: tuple[dict[str, str], bytes]
) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/sync/exchange", request[1], request[0])
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.getheaders(), content


@pytest.fixture
def repeater(pair: Pair) -> Iterator[Repeater]:
    primary, kadavu = pair
    repeater = Repeater(primary)
    with kadavu.database.writing() as session:
        session.execute(update(Settings).values(url=repeater.url))
    yield repeater
    repeater.close()


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


def _status(site: Site) -> str:
    """Return what ``sync-panel status`` says of a server that somebody has to see to."""
    return site.process.shell("status", code=EXIT_NEEDS_ATTENTION)


def _call(satellite: Site, primary: Site) -> None:
    with satellite.database.writing() as session:
        session.execute(update(Settings).values(url=f"{primary.process.url}/"))
