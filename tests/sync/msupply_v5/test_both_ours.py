"""Our satellite against our primary over v5, through the primary's own routes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest
from flask import Flask
from sqlalchemy import delete, select

from panel.db import Database, make_engine
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import Quarantined, Record
from panel.models.runs import Loop, Peer, Run
from panel.models.settings import Server, Settings
from panel.operations.sync_requests import ask_to_initialise
from panel.preferences.parameter_table import Parameters, parameters_of
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.json_reader import load_json
from panel.sync.run import SatelliteRun, check_connection
from panel.sync.satellite.sync_settings import read_sync_settings
from panel.sync.store.records import delete_record, put_record
from panel.sync.transport.batch_size import Meter
from panel.sync.transport.http import LinkFault, Response, Target
from tests.conftest import NewDatabase
from tests.support.cast import ASHA, NATIONAL
from tests.support.installations import VAULT, installation_on
from tests.support.remote_site import (
    PASSWORD,
    SITE_ID,
    USER_NAME,
    RemoteSite,
    error_of,
    message_of,
)


class Line:
    """A line into the primary's application, in the same process."""

    def __init__(self, app: Flask, exchanges: int) -> None:
        self.meter = Meter()
        self._left = exchanges
        self._client = app.test_client()

    def send(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Response:
        if not self._left:
            raise LinkFault("cut_off")
        self._left -= 1
        answer = self._client.open(path, method=method, headers=dict(headers), data=content)
        return Response(answer.status_code, dict(answer.headers), answer.data, 0.01)

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is under way in another thread."""


class Satellite:
    def __init__(self, url: str, app: Flask) -> None:
        self.database = Database(make_engine(url))
        self._app = app
        wanted = Parameters(
            sync_id=SITE_ID,
            name="Kadavu Health Centre",
            store="KDV-01",
            user_name=USER_NAME,
            password=PASSWORD,
            url="https://central.example",
            protocol="v5",
        )
        with self.database.writing() as session:
            save_parameters(session, ASHA, VAULT, wanted, 1)
            add_server(session, ASHA, NATIONAL)

    def speak(self, protocol: str) -> None:
        """Choose the protocol, as somebody does in the parameters."""
        with self.database.writing() as session:
            settings = session.get_one(Settings, 1)
            wanted = parameters_of(settings).replace(protocol=protocol)
            version = settings.parameters_version
            save_parameters(session, ASHA, VAULT, wanted, version)

    def sync(self, exchanges: int = 100) -> Run:
        """Make one run, over a line that breaks after so many exchanges."""

        def open_line(_target: Target) -> Line:
            return Line(self._app, exchanges)

        installation = installation_on(self.database, "machine-7")
        run = SatelliteRun(installation, open_line, lambda _session: None)
        with self.database.writing() as session:
            run.begin(session)
        return run.run()


def contents(database: Database) -> dict[str, str | None]:
    with database.reading() as session:
        rows = session.scalars(select(Record).where(~Record.deleted)).all()
    return {row.record_id: row.data for row in rows}


def put(database: Database, owner: int, *ids: str, to: int | None = None) -> None:
    with database.writing() as session:
        for one in ids:
            put_record(session, owner, "item", one, {"name": one, "by": owner}, to)


@pytest.fixture
def new_satellite(new_database: NewDatabase, app: Flask) -> Iterator[Callable[[], Satellite]]:
    """Makes satellites that begin with nothing."""
    with ExitStack() as stack:

        def make() -> Satellite:
            satellite = Satellite(new_database(True), app)
            stack.callback(satellite.database.close)
            return satellite

        yield make


@pytest.fixture
def satellite(new_satellite: Callable[[], Satellite]) -> Satellite:
    return new_satellite()


@pytest.mark.both_databases
def test_both_have_everything_and_a_second_run_moves_nothing(
    satellite: Satellite, database: Database
) -> None:
    put(database, PRIMARY_SYNC_ID, "a", "b", "c")
    put(database, PRIMARY_SYNC_ID, "for-kadavu", to=SITE_ID)
    put(satellite.database, SITE_ID, "s1", "s2")
    run = satellite.sync()
    assert (run.result, run.reason, run.protocol) == ("well", "", "v5")
    assert contents(satellite.database) == contents(database)
    assert len(contents(database)) == 6
    again = satellite.sync()
    assert (again.result, again.pushed, again.pulled) == ("well", 0, 0)


@pytest.mark.both_databases
def test_deletes_travel_both_ways(satellite: Satellite, database: Database) -> None:
    put(database, PRIMARY_SYNC_ID, "a", "b")
    put(satellite.database, SITE_ID, "s1", "s2")
    satellite.sync()
    with database.writing() as session:
        delete_record(session, PRIMARY_SYNC_ID, "item", "a")
    with satellite.database.writing() as session:
        delete_record(session, SITE_ID, "item", "s1")
    satellite.sync()
    assert set(contents(database)) == set(contents(satellite.database)) == {"b", "s2"}


@pytest.mark.both_databases
def test_an_empty_machine_is_restored(
    satellite: Satellite, database: Database, new_satellite: Callable[[], Satellite]
) -> None:
    put(database, PRIMARY_SYNC_ID, "a")
    put(satellite.database, SITE_ID, "s1", "s2")
    satellite.sync()
    fresh = new_satellite()
    assert fresh.sync().result == "well"
    assert contents(fresh.database) == contents(database)
    put(fresh.database, SITE_ID, "s1")
    put(fresh.database, SITE_ID, "s3")
    assert fresh.sync().result == "well"
    assert contents(fresh.database) == contents(database)


def test_a_change_of_protocol_initialises_and_loses_nothing(
    satellite: Satellite, database: Database
) -> None:
    """There and back: what is known over one protocol means nothing to the other."""
    put(database, PRIMARY_SYNC_ID, "a")
    put(satellite.database, SITE_ID, "s1", "s2")
    satellite.sync()
    for protocol, new in (("own", "b"), ("v5", "c")):
        satellite.speak(protocol)
        put(database, PRIMARY_SYNC_ID, new)
        with satellite.database.writing() as session:
            put_record(session, SITE_ID, "item", "s1", {"name": protocol})
        run = satellite.sync()
        assert (run.result, run.reason) == ("refused", "initialise_needed")
        with satellite.database.writing() as session:
            ask_to_initialise(session, ASHA)
        run = satellite.sync()
        assert (run.result, run.reason, run.protocol) == ("well", "", protocol)
        assert contents(satellite.database) == contents(database)
        assert contents(database)["s1"] == f'{{"name":"{protocol}"}}'


def test_an_initialise_begun_over_the_other_protocol_is_begun_anew(
    satellite: Satellite, database: Database
) -> None:
    put(database, PRIMARY_SYNC_ID, *(str(number) for number in range(25)))
    satellite.speak("own")
    with satellite.database.writing() as session:
        session.get_one(Settings, 1).request_size = 10
    assert satellite.sync(exchanges=2).result == "failed"
    satellite.speak("v5")
    assert satellite.sync().reason == "initialise_needed"
    with satellite.database.writing() as session:
        ask_to_initialise(session, ASHA)
    assert satellite.sync().result == "well"
    assert contents(satellite.database) == contents(database)


def test_a_tested_connection_changes_nothing_and_waits_for_no_writer(
    satellite: Satellite, database: Database, app: Flask
) -> None:
    satellite.sync()

    def seen() -> tuple[object, ...]:
        with database.reading() as session:
            row, peer = session.query(Server).filter_by(sync_id=SITE_ID).one(), session.query(Peer)
            return row.last_contact_at, row.hardware_id, peer.one().meeting, peer.one().refusal

    def check(machine: str = "machine-7") -> None:
        here = installation_on(satellite.database, machine)
        with satellite.database.reading() as session:
            settings = read_sync_settings(session, here)
        check_connection(Line(app, 1), settings)

    before = seen()
    with database.writing() as session:
        session.query(Server).filter_by(sync_id=SITE_ID).with_for_update().one()
        check()
    with pytest.raises(SyncRefusal, match="site_incorrect_hardware_id"):
        check("another")
    assert seen() == before


NUMBERS = (
    '{"price":10.50,"big":12345678901234567.89,"long":0.1000000000000000055511151231257827,'
    '"exponent":1E2,"zero":-0,"whole":123456789012345678901234567890}'
)


def test_numbers_arrive_as_they_were_written(
    satellite: Satellite, database: Database, new_satellite: Callable[[], Satellite]
) -> None:
    with database.writing() as session:
        put_record(session, PRIMARY_SYNC_ID, "item", "central", load_json(NUMBERS))
        put_record(session, PRIMARY_SYNC_ID, "item", "queued", load_json(NUMBERS), SITE_ID)
    with satellite.database.writing() as session:
        put_record(session, SITE_ID, "item", "own", load_json(NUMBERS))
    satellite.sync()
    everything = dict.fromkeys(("central", "queued", "own"), NUMBERS)
    assert contents(satellite.database) == contents(database) == everything
    fresh = new_satellite()
    fresh.sync()
    assert contents(fresh.database) == everything


# --- what an initialise would remove, and how many initialise at once -----------------------------


def initialise(satellite: Satellite, confirmed: str = "") -> Run:
    """Ask for it as a person does, and make the run that follows, as the loop does."""
    with satellite.database.writing() as session:
        ask_to_initialise(session, ASHA, [confirmed])
    run = satellite.sync()
    with satellite.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.refusal, loop.refusal_values = run.reason, run.reason_values
    return run


@pytest.mark.both_databases
def test_an_emptied_primary_removes_nothing_without_a_question(
    satellite: Satellite, database: Database
) -> None:
    central = [f"c{number}" for number in range(30)]
    put(database, PRIMARY_SYNC_ID, *central)
    put(satellite.database, SITE_ID, "s1")
    satellite.sync()
    with database.writing() as session:
        session.execute(delete(Record))
    put(database, PRIMARY_SYNC_ID, "new")
    for run in (initialise(satellite), satellite.sync()):
        assert (run.result, run.reason) == ("refused", "removal_needs_consent")
        assert run.reason_values == {"records": 30, "primary": NATIONAL.name}
        assert set(contents(satellite.database)) == {*central, "s1"}
    run = initialise(satellite, "remove=30")
    assert (run.result, run.reason) == ("well", "")
    assert contents(satellite.database) == contents(database)
    assert set(contents(database)) == {"new", "s1"}
    with satellite.database.reading() as session:
        aside = session.scalars(select(Quarantined.record_id)).all()
    assert set(aside) == set(central)


def test_few_are_removed_without_a_question_and_kept_aside(
    satellite: Satellite, database: Database
) -> None:
    put(database, PRIMARY_SYNC_ID, *(f"c{number}" for number in range(20)))
    satellite.sync()
    with database.writing() as session:
        session.execute(delete(Record))
    assert initialise(satellite).result == "well"
    assert contents(satellite.database) == {}
    with satellite.database.reading() as session:
        assert len(session.scalars(select(Quarantined)).all()) == 20


def test_as_many_initialise_at_once_as_the_primary_admits(
    satellite: Satellite, database: Database, app: Flask, site: RemoteSite
) -> None:
    app.extensions["panel.primary"].initialises = 1
    with database.writing() as session:
        other = ServerFields(9, "Rotuma", "ROT-01", user_name="rotuma", password=PASSWORD)
        add_server(session, ASHA, other)
    put(database, PRIMARY_SYNC_ID, "a")
    rotuma = RemoteSite(site.client, user_name="rotuma")
    rotuma.get("site")
    rotuma.initialise()
    run = satellite.sync()
    assert (run.result, run.reason) == ("refused", "initialise_later")
    assert run.reason_values
    # It goes on, and may begin anew.
    rotuma.pull_central()
    rotuma.initialise()
    kadavu = site.on_another_machine()
    with database.writing() as session:
        session.query(Server).filter_by(sync_id=SITE_ID).update({"hardware_id": None})
    refused = kadavu.call("POST", "initialise", {})
    assert error_of(refused) == (503, "initialise_later")
    assert "Many other sites initialise" in message_of(refused)
    # Once it is through, the next one begins.
    rotuma.pull_queued()
    assert kadavu.initialise() == 0
