"""Our satellite synchronises with a central server of mSupply, in the client's order."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, select

from panel.db import Database
from panel.models.records import Inbox, Quarantined, Record
from panel.models.runs import InitialiseState, Link, Run
from panel.models.settings import Settings
from panel.operations.connection_test import try_connection
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.servers import add_server
from panel.sync.msupply_v5 import satellite
from panel.sync.run import SatelliteRun
from panel.sync.store.records import delete_record, put_record
from panel.sync.transport import http
from panel.sync.transport.http import HttpTransport
from tests.support.cast import ASHA, NATIONAL
from tests.support.central_server import Answer, CentralServer, error, serve
from tests.support.installations import VAULT, installation_on

OWN = 7
IDLE_CYCLE = [
    "GET site",
    "POST queued_records",
    "GET site_status",
    "GET central_records",
    "GET queued_records",
]


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(satellite, "POLL_SECONDS", 0.0)


@pytest.fixture
def central() -> Iterator[tuple[CentralServer, str]]:
    server = CentralServer("kadavu", "coral letters 1", OWN)
    listening = serve(server)
    yield server, f"http://127.0.0.1:{listening.server_address[1]}"
    listening.shutdown()
    listening.server_close()


@dataclass
class Remote:
    """Our satellite, and the central server that it goes to."""

    database: Database
    central: CentralServer

    def sync(self) -> Run:
        """Make one run, and forget the calls of those before."""
        self.central.calls.clear()
        installation = installation_on(self.database, "machine-7")
        run = SatelliteRun(installation, HttpTransport, lambda _session: None)
        with self.database.writing() as session:
            run.begin(session)
        return run.run()

    def put(self, record_id: str, data: dict[str, Any]) -> None:
        with self.database.writing() as session:
            put_record(session, OWN, "stock", record_id, data)

    def url(self) -> str:
        with self.database.reading() as session:
            return session.get_one(Settings, 1).url

    def change(self, **values: Any) -> None:
        with self.database.writing() as session:
            settings = session.get_one(Settings, 1)
            for name, value in values.items():
                setattr(settings, name, value)

    def initialise_again(self) -> None:
        with self.database.writing() as session:
            session.get_one(Link, 1).initialise = InitialiseState.NEEDED

    def has(self) -> dict[str, tuple[int, str | None]]:
        """Return owner and data of every record that is not deleted, by id."""
        with self.database.reading() as session:
            rows = session.scalars(select(Record).where(~Record.deleted)).all()
            assert session.scalars(select(Inbox)).first() is None
        return {row.record_id: (row.owner, row.data) for row in rows}


@pytest.fixture
def remote(engine: Engine, central: tuple[CentralServer, str]) -> Remote:
    server, url = central
    database = Database(engine)
    wanted = Parameters(
        sync_id=OWN,
        name="Kadavu",
        store="KDV-01",
        user_name="kadavu",
        password="coral letters 1",
        url=url,
        protocol="v5",
    )
    with database.writing() as session:
        save_parameters(session, ASHA, VAULT, wanted, 1)
        add_server(session, ASHA, NATIONAL)
    return Remote(database, server)


@pytest.mark.both_databases
def test_the_first_sync_initialises_in_the_clients_order(remote: Remote) -> None:
    remote.central.restored = [
        {"syncOutId": "x-1", **change} for change in [stock("s1", {"quantity": 5})]
    ]
    remote.central.add_central("a", {"name": "Item a"})
    run = remote.sync()
    assert (run.result, run.protocol, run.pulled, run.pushed) == ("well", "v5", 2, 0)
    assert remote.central.names() == [
        "GET site",
        "POST initialise",
        "GET site_status",
        "GET central_records",
        "GET central_records",
        "GET queued_records",
        "POST acknowledged_records",
        "GET queued_records",
        *IDLE_CYCLE[1:],
    ]
    assert remote.has() == {"a": (1, '{"name":"Item a"}'), "s1": (OWN, '{"quantity":5}')}


def stock(record_id: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "tableName": "stock",
        "recordId": record_id,
        "action": "insert",
        "recordData": data,
    }


def test_every_call_has_the_headers_of_the_client_and_no_content_type(remote: Remote) -> None:
    remote.sync()
    for call in remote.central.calls:
        assert "content-type" not in call.headers
        assert call.headers["authorization"].startswith("Basic ")
        assert call.headers["msupply-site-uuid"] == "machine-7"
        assert call.headers["version"] == "14"
        assert call.headers["app-name"] == "Sync Panel"
        assert call.headers["app-version"]
        assert call.headers["accept-encoding"] == "gzip"


def test_an_idle_cycle_is_five_requests(remote: Remote) -> None:
    remote.sync()
    run = remote.sync()
    assert remote.central.names() == IDLE_CYCLE
    assert (run.result, run.pushed, run.pulled, run.to_push, run.to_pull) == ("well", 0, 0, 0, 0)
    assert run.bytes_up > 0
    assert run.bytes_down > 0


@pytest.mark.both_databases
def test_our_own_records_go_up_once(remote: Remote) -> None:
    remote.sync()
    remote.put("s1", {"quantity": 5})
    remote.put("s2", {"quantity": 6})
    with remote.database.writing() as session:
        delete_record(session, OWN, "stock", "s2")
    run = remote.sync()
    assert (run.result, run.pushed, run.to_push) == ("well", 2, 2)
    assert remote.central.stored == {"s1": {"quantity": 5}, "s2": None}
    pushes = [call.body for call in remote.central.calls if call.name == "POST queued_records"]
    assert [push["queueLength"] for push in pushes] == [2, 0]
    assert pushes[1]["data"] == []
    assert remote.sync().pushed == 0


def test_the_request_size_bounds_every_batch(remote: Remote) -> None:
    remote.sync()
    remote.change(request_size=10)
    for number in range(25):
        remote.put(f"own{number:02}", {"quantity": number})
        remote.central.add_central(f"c{number:02}", {"quantity": number})
        remote.central.add_queued(f"q{number:02}", {"quantity": number})
    run = remote.sync()
    assert (run.result, run.pushed, run.pulled) == ("well", 25, 50)
    sizes = [
        len(call.body["data"])
        for call in remote.central.calls
        if call.name == "POST queued_records"
    ]
    assert sizes == [10, 10, 5, 0]
    assert remote.central.names().count("POST acknowledged_records") == 3
    assert len(remote.has()) == 75
    assert remote.sync().pulled == 0


@pytest.mark.parametrize("action", ["insert", "Insert", "update", "Update"])
def test_actions_are_understood_in_any_case(remote: Remote, action: str) -> None:
    remote.central.add_central("a", {"name": "A"}, action)
    remote.sync()
    assert remote.has()["a"] == (1, '{"name":"A"}')


@pytest.mark.parametrize("action", ["delete", "Delete"])
def test_deletes_arrive(remote: Remote, action: str) -> None:
    remote.central.add_central("a", {"name": "A"})
    remote.central.add_queued("s1", {"quantity": 1})
    remote.sync()
    remote.central.add_central("a", None, action)
    remote.central.add_queued("s1", None, action)
    remote.sync()
    assert remote.has() == {}


def test_what_a_restored_central_server_lacks_goes_up_again(remote: Remote) -> None:
    remote.sync()
    remote.put("s1", {"quantity": 1})
    remote.put("s2", {"quantity": 2})
    remote.sync()
    remote.central.stored.clear()
    remote.central.restored = [{"syncOutId": "x-1", **stock("s1", {"quantity": 0})}]
    remote.initialise_again()
    assert remote.sync().pushed == 1
    assert remote.central.stored == {"s2": {"quantity": 2}}
    assert remote.has() == {"s1": (OWN, '{"quantity":0}'), "s2": (OWN, '{"quantity":2}')}


def test_a_central_server_may_take_its_time_to_queue_everything(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SILENCE_SECONDS", 0.5)
    remote.central.restored = [{"syncOutId": "x-1", **stock("s1", {"quantity": 5})}]
    asked, given_up = threading.Event(), threading.Event()

    def be_slow(name: str) -> None:
        if name == "POST initialise":
            asked.set()
            assert given_up.wait(20)
        elif name == "GET site_status":
            given_up.set()

    remote.central.before = be_slow
    remote.central.statuses = ["initialisation_in_progress", "initialisation_in_progress"]
    run = remote.sync()
    assert (run.result, run.reason) == ("well", "")
    assert remote.central.names().count("POST initialise") == 1
    assert remote.has() == {"s1": (OWN, '{"quantity":5}')}


def test_an_initialise_that_the_central_server_never_heard_of_is_asked_for_again(
    remote: Remote,
) -> None:
    remote.central.restored = [{"syncOutId": "x-1", **stock("s1", {"quantity": 5})}]
    remote.central.hang_up = {"POST initialise"}
    run = remote.sync()
    assert (run.result, run.reason) == ("failed", "cut_off")
    remote.central.hang_up = set()
    assert remote.sync().result == "well"
    assert remote.has() == {"s1": (OWN, '{"quantity":5}')}


@pytest.mark.parametrize("action", ["merge", "Merge"])
def test_a_merge_deletes_what_went_into_another(remote: Remote, action: str) -> None:
    remote.central.add_central("keep", {"name": "A"})
    remote.central.add_central("gone", {"name": "A too"})
    remote.sync()
    merge = {"mergeIdToKeep": "keep", "mergeIdToDelete": "gone"}
    remote.central.add_central("keep", merge, action)
    remote.sync()
    assert set(remote.has()) == {"keep"}


@pytest.mark.both_databases
def test_of_what_is_queued_the_last_change_counts(remote: Remote) -> None:
    remote.sync()
    for quantity in (1, 2, 3, 1):
        remote.central.add_queued("s1", {"quantity": quantity})
    assert remote.sync().pulled == 4
    assert remote.has()["s1"] == (OWN, '{"quantity":1}')


def test_what_was_handed_back_can_be_written_and_goes_up(remote: Remote) -> None:
    remote.central.add_queued("s1", {"quantity": 1})
    remote.sync()
    remote.put("s1", {"quantity": 2})
    assert remote.sync().pushed == 1
    assert remote.central.stored == {"s1": {"quantity": 2}}


@pytest.mark.both_databases
def test_what_waits_to_be_pushed_is_not_overwritten(remote: Remote) -> None:
    remote.put("s1", {"quantity": 2})
    remote.central.restored = [{"syncOutId": "x-1", **stock("s1", {"quantity": 1})}]
    remote.sync()
    assert remote.has()["s1"] == (OWN, '{"quantity":2}')
    assert remote.central.stored == {"s1": {"quantity": 2}}


@pytest.mark.both_databases
def test_a_record_that_cannot_be_taken_holds_up_nothing(remote: Remote) -> None:
    with remote.database.writing() as session:
        put_record(session, OWN, "item", "b", {"name": "ours"})
    for one in "abc":
        remote.central.add_central(one, {"name": one})
    run = remote.sync()
    assert (run.result, run.set_aside) == ("well", 1)
    assert set(remote.has()) == {"a", "b", "c"}
    with remote.database.reading() as session:
        assert session.scalars(select(Quarantined)).one().reason == "owned_by_another"


@pytest.mark.both_databases
def test_records_that_nobody_could_keep_hold_up_nothing(remote: Remote) -> None:
    remote.sync()
    deep: Any = {}
    for _ in range(200):
        deep = {"in": deep}
    remote.central.add_central("deep", deep)
    remote.central.add_central("fine", {"name": "ORS"})
    remote.central.add_queued("as deep", deep)
    remote.central.add_queued("good", {"n": 2})
    run = remote.sync()
    assert (run.result, run.reason, run.set_aside) == ("well", "", 2)
    assert {"fine", "good"} == remote.has().keys()
    assert remote.central.queue == []
    with remote.database.reading() as session:
        aside = session.scalars(select(Quarantined)).all()
    assert {(one.reason, one.record_id) for one in aside} == {
        ("unreadable", "deep"),
        ("unreadable", "as deep"),
    }
    # They do not come again, and nothing else does.
    assert (again := remote.sync()).result == "well"
    assert (again.pulled, again.set_aside) == (0, 0)


def test_the_status_is_polled_until_idle(remote: Remote) -> None:
    remote.sync()
    remote.central.statuses = ["sync_is_running", "integration_in_progress"]
    assert remote.sync().result == "well"
    assert remote.central.names().count("GET site_status") == 3


@pytest.mark.parametrize(
    "call",
    [
        "GET site",
        "POST initialise",
        "GET central_records",
        "GET queued_records",
        "POST acknowledged_records",
        "POST queued_records",
        "GET site_status",
    ],
)
@pytest.mark.parametrize("status", [500, 502])
def test_a_run_that_breaks_anywhere_is_made_up_for(remote: Remote, call: str, status: int) -> None:
    remote.put("own", {"quantity": 1})
    remote.central.add_central("a", {"name": "A"})
    remote.central.restored = [{"syncOutId": "x-1", **stock("s1", {"quantity": 5})}]
    remote.central.instead[call] = [(status, "<html>Bad gateway</html>")]
    broken = remote.sync()
    assert (broken.result, broken.reason) == ("failed", "server_error")
    assert remote.sync().result == "well"
    assert set(remote.has()) == {"own", "a", "s1"}
    assert remote.central.stored == {"own": {"quantity": 1}}
    assert remote.central.queue == []
    assert remote.sync().pulled == 0


@pytest.mark.parametrize(
    ("code", "status", "data"),
    [
        ("site_name_not_found", 401, None),
        ("site_incorrect_password", 401, None),
        ("site_incorrect_hardware_id", 401, None),
        ("site_has_no_store", 401, None),
        ("site_auth_timeout", 503, None),
        ("api_version_incompatible", 409, {"minVersion": 20, "maxVersion": 22, "code": "odd"}),
        ("sync_is_running", 503, "text"),
        ("never_heard_of", 418, [1]),
    ],
)
def test_every_refusal_is_kept_by_its_code(
    remote: Remote, code: str, status: int, data: Any
) -> None:
    remote.central.instead["GET site"] = [error(code, status, data)]
    run = remote.sync()
    assert (run.result, run.reason) == ("refused", code)
    assert remote.central.names() == ["GET site"]


@pytest.mark.parametrize(
    "answer",
    [
        (200, "<html>Sign in to the hotel's network</html>"),
        (200, []),
        (200, {"id": 7}),
        (404, "nothing"),
    ],
)
def test_what_is_no_sync_server_is_said_to_be_none(remote: Remote, answer: Any) -> None:
    remote.central.instead["GET site"] = [answer]
    run = remote.sync()
    assert (run.result, run.reason) == ("failed", "not_a_sync_server")


def test_records_out_of_order_are_not_believed(remote: Remote) -> None:
    remote.central.add_central("a", {"name": "A"})
    remote.central.central[0]["ID"] = 0
    page = (200, {"maxCursor": 5, "data": remote.central.central})
    remote.central.instead["GET central_records"] = [page]
    assert remote.sync().reason == "not_a_sync_server"
    assert remote.has() == {}


def test_a_queue_that_never_ends_is_a_fault(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.sync()
    remote.central.add_queued("s1", {"n": 1})

    def ignore(_body: Any) -> Answer:
        assert len(remote.central.calls) < 100, "it asks for ever"
        return 204, None

    with monkeypatch.context() as patched:
        patched.setattr(remote.central, "_acknowledge", ignore)
        run = remote.sync()
    assert (run.result, run.reason) == ("failed", "not_a_sync_server")
    assert remote.sync().result == "well"
    assert remote.has() == {"s1": (OWN, '{"n":1}')}


def test_the_number_of_what_is_left_fits_any_database(remote: Remote) -> None:
    remote.central.instead["GET central_records"] = [(200, {"maxCursor": 2**60, "data": []})]
    run = remote.sync()
    assert (run.result, run.to_pull) == ("well", 10**9)


def test_a_cursor_that_no_database_holds_is_not_believed(remote: Remote) -> None:
    remote.central.add_central("a", {"name": "A"})
    record = {**remote.central.central[0], "syncOutId": "9" * 40}
    remote.central.instead["GET central_records"] = [(200, {"maxCursor": 5, "data": [record]})]
    assert remote.sync().reason == "not_a_sync_server"
    assert remote.has() == {}


def test_a_server_that_does_not_begin_to_integrate_is_not_well(remote: Remote) -> None:
    remote.sync()
    remote.central.instead["POST queued_records"] = [(200, {"integrationStarted": False})]
    assert remote.sync().reason == "integration_not_started"


def test_another_site_of_the_same_name_is_not_taken_for_ours(remote: Remote) -> None:
    remote.sync()
    remote.central.uuid = "c0ffee00-0000-4000-8000-000000000002"
    run = remote.sync()
    assert (run.result, run.reason) == ("refused", "initialise_needed")
    remote.initialise_again()
    assert remote.sync().result == "well"


def test_another_sync_id_is_named(remote: Remote) -> None:
    remote.central.site_id = 8
    run = remote.sync()
    assert (run.result, run.reason) == ("refused", "identity_differs")
    assert run.reason_values == {"differences": [["sync_id", 8, OWN]]}


def test_an_interval_of_0_stops_after_the_batch_in_hand(remote: Remote) -> None:
    remote.sync()
    remote.change(request_size=10)
    for number in range(25):
        remote.central.add_central(f"c{number:02}", {"quantity": number})

    def pause(name: str) -> None:
        if name == "GET central_records":
            remote.change(interval_minutes=0)

    remote.central.before = pause
    run = remote.sync()
    assert (run.result, run.pulled) == ("paused", 10)
    remote.central.before = lambda _name: None
    remote.change(interval_minutes=10)
    run = remote.sync()
    assert (run.result, run.pulled) == ("well", 15)
    assert len(remote.has()) == 25


def test_what_was_begun_with_one_server_does_not_go_on_with_another(remote: Remote) -> None:
    remote.sync()
    remote.put("s1", {"quantity": 1})

    def lead_elsewhere(name: str) -> None:
        if name == "GET site":
            remote.change(url="http://127.0.0.1:9", user_name="another")

    remote.central.before = lead_elsewhere
    run = remote.sync()
    assert (run.result, run.pushed) == ("paused", 0)
    assert remote.central.names() == ["GET site"]


def test_asked_to_find_out_ours_is_tried_first_and_the_answer_remembered(remote: Remote) -> None:
    remote.change(protocol="ask")
    assert remote.sync().result == "well"
    assert remote.central.names()[:2] == ["POST /sync/exchange", "GET site"]
    assert remote.sync().result == "well"
    assert remote.central.names() == IDLE_CYCLE


@pytest.mark.parametrize("answer", [error("internal_error", 500), error("odd", 418)])
def test_an_answer_that_says_nothing_of_the_protocol_is_not_remembered(
    remote: Remote, answer: Any
) -> None:
    remote.change(protocol="ask")
    remote.central.instead["POST /sync/exchange"] = [answer, answer]
    assert remote.sync().result != "well"
    remote.central.instead.clear()
    assert remote.sync().result == "well"
    assert remote.central.names()[:2] == ["POST /sync/exchange", "GET site"]


def test_another_url_may_speak_another_protocol(remote: Remote) -> None:
    remote.change(protocol="ask")
    remote.sync()
    url = remote.url().replace("127.0.0.1", "localhost")
    wanted = Parameters(
        sync_id=OWN,
        name="Kadavu",
        store="KDV-01",
        user_name="kadavu",
        password=None,
        url=url,
    )
    with remote.database.writing() as session:
        save_parameters(session, ASHA, VAULT, wanted, 2, {"url_http"})
    assert remote.sync().result == "well"
    assert remote.central.names()[:2] == ["POST /sync/exchange", "GET site"]


def test_told_to_speak_ours_alone_v5_is_not_tried(remote: Remote) -> None:
    remote.change(protocol="own")
    run = remote.sync()
    assert (run.result, run.reason) == ("failed", "not_a_sync_server")
    assert remote.central.names() == ["POST /sync/exchange"]


@pytest.mark.parametrize("protocol", ["ask", "v5"])
def test_the_connection_can_be_tested_over_v5(remote: Remote, protocol: str) -> None:
    remote.change(protocol=protocol)
    installation = installation_on(remote.database, "machine-7")
    assert try_connection(installation, ASHA).is_well
    remote.central.password = "another"
    assert try_connection(installation, ASHA).code == "site_incorrect_password"
    assert "POST initialise" not in remote.central.names()
