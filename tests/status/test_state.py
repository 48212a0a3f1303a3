"""The state: what sync does, or why it does not, as the tables of the service tell it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from panel.db import Database, make_engine
from panel.models.records import Record
from panel.models.runs import Link, Loop, Run
from panel.models.settings import Server, Settings
from panel.preferences.readiness import blocking_urls
from panel.preferences.server_fields import ServerFields
from panel.preferences.server_list import server_state
from panel.security.vault import Vault
from panel.status.state import State, read_state, recent_runs
from tests.support.cast import KADAVU, LEVUKA, NATIONAL, PRIMARY, SATELLITE
from tests.support.clock import Clock
from tests.support.steps import add, become, become_standalone


class Site:
    """One server, whose sync service the test plays."""

    def __init__(self, database: Database, time: Clock) -> None:
        self.database, self.time = database, time

    def state(self) -> State:
        with self.database.reading() as session:
            return read_state(session, self.time.now)

    def told(self) -> tuple[str, str, str]:
        state = self.state()
        return state.kind, state.severity, str(state.sentence)

    def set(self, table: type[Settings] | type[Link] | type[Loop], **values: Any) -> None:
        with self.database.writing() as session:
            row = session.get_one(table, 1)
            for name, value in values.items():
                setattr(row, name, value)

    def run(self, started_at: datetime, ended_at: datetime | None, **values: Any) -> None:
        with self.database.writing() as session:
            session.add(Run(other=1, started_at=started_at, ended_at=ended_at, **values))


@pytest.fixture
def site(database: Database, time: Clock) -> Site:
    return Site(database, time)


@pytest.fixture
def satellite(site: Site, vault: Vault) -> Site:
    become(site.database, vault, SATELLITE)
    add(site.database, NATIONAL)
    return site


@pytest.fixture
def primary(site: Site, vault: Vault) -> Site:
    become(site.database, vault, PRIMARY)
    return site


# --- stand-alone and satellite --------------------------------------------------------------------


def test_a_new_server_stands_alone(site: Site, vault: Vault) -> None:
    assert site.told()[:2] == ("standalone", "off")
    become_standalone(site.database, vault)
    assert site.told()[:2] == ("standalone", "off")


def test_a_new_satellite_has_not_synchronised_yet(satellite: Site) -> None:
    assert satellite.told()[:2] == ("never", "off")


@pytest.mark.parametrize(
    ("age", "kind"),
    [
        (timedelta(0), "up_to_date"),
        (timedelta(hours=23, minutes=59), "up_to_date"),
        (timedelta(days=1), "late"),
        (timedelta(days=2, hours=23), "late"),
        (timedelta(days=3), "very_late"),
        (timedelta(days=400), "very_late"),
    ],
)
def test_late_is_counted_from_the_last_success_not_the_last_attempt(
    satellite: Site, age: timedelta, kind: str
) -> None:
    now = satellite.time.now
    satellite.set(Link, last_success_at=now - age, last_attempt_at=now)
    state = satellite.state()
    assert (state.kind, state.severity) == (kind, "well" if kind == "up_to_date" else kind)
    assert (state.last_success_at, state.last_attempt_at) == (now - age, now)


def test_interval_0_is_paused(satellite: Site) -> None:
    satellite.set(Settings, interval_minutes=0)
    assert satellite.told() == ("paused", "off", "Paused: the interval is 0.")


@pytest.mark.both_databases
def test_a_run_that_goes_on_is_seen_while_somebody_holds_the_loop(satellite: Site) -> None:
    now = satellite.time.now
    satellite.run(now, None, step="pushing", to_push=9, pushed=3)
    satellite.set(Loop, holder="one", held_until=now + timedelta(seconds=30))
    state = satellite.state()
    assert (state.kind, state.severity) == ("syncing", "working")
    assert state.run is not None
    assert (state.run.pushed, state.run.to_push) == (3, 9)
    satellite.set(Settings, interval_minutes=0)
    assert "then pausing" in str(satellite.state().sentence)
    # Its process was killed: nobody renewed the lease.
    satellite.time.pass_by(seconds=30)
    assert (satellite.state().kind, satellite.state().run) == ("paused", None)


def test_a_refusal_waits_for_a_person_and_says_its_reason(satellite: Site) -> None:
    satellite.set(Loop, refusal="identity", refusal_values={"here": "KDV-01"})
    state = satellite.state()
    assert (state.kind, state.severity) == ("refused", "very_late")
    assert (state.reason, state.reason_values) == ("identity", {"here": "KDV-01"})


def test_a_line_that_is_down_is_named_and_grows_worse_with_time(satellite: Site) -> None:
    satellite.set(Loop, failures=2)
    satellite.set(Link, last_success_at=satellite.time.now)
    assert satellite.told()[:2] == ("unreachable", "waiting")
    satellite.time.pass_by(days=1)
    assert satellite.told()[:2] == ("unreachable", "late")
    satellite.time.pass_by(days=3)
    assert satellite.told()[:2] == ("unreachable", "very_late")


@pytest.mark.parametrize(
    ("missing", "named"),
    [({"url": ""}, "URL"), ({"user_name": ""}, "user name"), ({"password_sealed": None}, "passw")],
    ids=["url", "user name", "password"],
)
def test_what_is_missing_is_named(satellite: Site, missing: dict[str, Any], named: str) -> None:
    satellite.set(Settings, **missing)
    kind, severity, sentence = satellite.told()
    assert (kind, severity) == ("not_ready", "late")
    assert named in sentence


def test_a_list_without_the_primary_is_named(site: Site, vault: Vault) -> None:
    become(site.database, vault, SATELLITE)
    kind, _, sentence = site.told()
    assert kind == "not_ready"
    assert "list of servers" in sentence


def test_what_waits_was_asked_or_is_initialised_is_told(satellite: Site) -> None:
    with satellite.database.writing() as session:
        session.add_all(
            Record(
                table_name="item", record_id=str(number), owner=7, version=1, seq=number,
                data="{}", waiting=number < 3, changed_at=satellite.time.now,
            )
            for number in range(5)
        )  # fmt: skip
    satellite.set(Loop, asked_at=satellite.time.now)
    satellite.set(Link, initialise="needed")
    state = satellite.state()
    assert (state.waiting, state.asked, state.initialise) == (3, True, "needed")


# --- primary --------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_a_primary_counts_its_satellites(primary: Site) -> None:
    rows = add(primary.database, *(ServerFields(number, "Site", "ST") for number in range(2, 9)))
    now = primary.time.now
    ages = [timedelta(0), timedelta(hours=23), timedelta(days=1), timedelta(days=3), None, None]
    with primary.database.writing() as session:
        for row, age in zip(rows[:6], ages, strict=True):
            server = session.get_one(Server, row.id)
            server.last_success_at = None if age is None else now - age
        session.get_one(Server, rows[6].id).removed_at = now
    state = primary.state()
    assert (state.kind, state.severity) == ("open", "very_late")
    counts = state.counts
    assert (counts.total, counts.up_to_date, counts.late) == (6, 2, 1)
    assert (counts.very_late, counts.not_seen) == (1, 2)
    assert state.last_success_at == now
    assert "6" in str(state.sentence)


def test_a_primary_without_satellites_says_so(primary: Site) -> None:
    kind, severity, sentence = primary.told()
    assert (kind, severity) == ("open", "well")
    assert "none" in sentence


def test_every_url_on_a_primary_is_a_culprit(primary: Site, vault: Vault) -> None:
    kadavu, _ = add(primary.database, replace(KADAVU, url="kadavu.example"), LEVUKA)
    assert primary.told()[:2] == ("disabled", "very_late")
    become(primary.database, vault, PRIMARY.replace(url="own.example"))
    with primary.database.reading() as session:
        own, row = blocking_urls(session)
    assert (own.kind, own.server_id, own.label) == ("settings", None, "National Store")
    assert (row.kind, row.server_id) == ("server", kadavu.id)
    assert row.label == "7 Kadavu Health Centre"


def test_a_satellites_url_is_no_culprit(satellite: Site) -> None:
    with satellite.database.reading() as session:
        assert blocking_urls(session) == []


# --- runs, rows, cost -----------------------------------------------------------------------------


@pytest.mark.both_databases
def test_the_last_runs_come_oldest_first(satellite: Site) -> None:
    now = satellite.time.now
    for minute in range(30):
        moment = now + timedelta(minutes=minute)
        satellite.run(moment, moment, pushed=minute, result="well")
    with satellite.database.reading() as session:
        assert [run.pushed for run in recent_runs(session)] == list(range(6, 30))
        assert [run.pushed for run in recent_runs(session, 2)] == [28, 29]


def test_a_row_is_as_late_as_its_server(time: Clock) -> None:
    ages = [timedelta(0), timedelta(days=1), timedelta(days=3)]
    told = [server_state(time.now - age, time.now) for age in ages]
    assert told == ["up_to_date", "late", "very_late"]
    assert server_state(None, time.now) == "not_seen"


@pytest.mark.both_databases
def test_the_state_takes_a_handful_of_queries(satellite: Site) -> None:
    sent: list[str] = []
    event.listen(
        satellite.database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: sent.append(statement),
    )
    satellite.state()
    assert len([statement for statement in sent if statement.startswith("SELECT")]) <= 6


def test_what_waits_is_counted_by_the_index_of_what_waits(
    sqlite_url: str, vault: Vault, time: Clock
) -> None:
    # On SQLite alone: PostgreSQL reads a small table whole, whatever indexes it has.
    database = Database(make_engine(sqlite_url))
    become(database, vault, SATELLITE)
    sent: list[tuple[str, Any]] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, parameters, *_: sent.append((statement, parameters)),
    )
    Site(database, time).state()
    (count,) = [one for one in sent if "count" in one[0] and "records" in one[0]]
    with database.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {count[0]}", count[1]).all()
    assert "INDEX ix_records_waiting" in str(plan)
    database.close()
