"""A machine joins its primary with a set-up: both sides, the real messages, in one process."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from panel.activity.log import EventKind
from panel.db import Database, make_engine
from panel.errors import NeedsConfirmation, Refusal
from panel.installation import Installation
from panel.models.people import Activity
from panel.models.runs import Link, Loop, Run, RunResult
from panel.models.settings import IssuedSetup, Server, Settings
from panel.operations.join import NotJoined, join
from panel.preferences.interval import set_interval
from panel.preferences.server_changes import clear_hardware
from panel.preferences.servers import remove_servers
from panel.security.hashes import hash_token
from panel.setups.issued import SetupTarget, issue_setup, revoke_setup
from panel.setups.setup_text import Setup, new_code
from panel.sync.run import SatelliteRun
from panel.sync.transport.http import Target
from tests.conftest import NewDatabase
from tests.support.cast import ASHA
from tests.support.clock import Clock
from tests.support.installations import installation_on
from tests.support.two_sides import Line, LoseAnswer, PrimarySide, Tamper

URL = "https://central.example.org"
OpenDatabase = Callable[[], Database]


@pytest.fixture
def open_database(new_database: NewDatabase) -> Iterator[OpenDatabase]:
    opened: list[Database] = []

    def make() -> Database:
        opened.append(Database(make_engine(new_database(True))))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def primary(new_database: NewDatabase) -> Iterator[PrimarySide]:
    primary = PrimarySide(new_database(True))
    primary.add(7, "Kadavu Health Centre", "KDV-01")
    yield primary
    primary.close()


@pytest.fixture
def kadavu(open_database: OpenDatabase) -> Installation:
    """An empty server."""
    return installation_on(open_database(), "machine-7")


def issue(primary: PrimarySide) -> Setup:
    with primary.database.writing() as session:
        return issue_setup(session, ASHA, primary.row(7).id, SetupTarget(URL))


def join_with(
    setup: Setup, machine: Installation, primary: PrimarySide, tamper: Tamper | None = None
) -> Settings:
    return join(machine, ASHA, setup, open_line=lambda _target: Line(primary, tamper or Tamper()))


def why_not(setup: Setup, machine: Installation, primary: PrimarySide) -> str:
    with pytest.raises(NotJoined) as refused:
        join_with(setup, machine, primary)
    with machine.database.reading() as session:
        assert session.get_one(Settings, 1).sync_id is None, "refused, and yet changed"
    return refused.value.reason_code


def run(machine: Installation, primary: PrimarySide) -> Run:
    def line_to(_target: Target) -> Line:
        return Line(primary, Tamper())

    begun = SatelliteRun(machine, line_to, lambda _session: None)
    with machine.database.writing() as session:
        begun.begin(session)
    return begun.run()


def kinds(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Activity.what).order_by(Activity.id)))


@pytest.mark.both_databases
def test_one_act_fills_everything_and_the_next_sync_is_well(
    primary: PrimarySide, kadavu: Installation
) -> None:
    primary.put("a", {"n": 1})
    setup = issue(primary)
    join_with(setup, kadavu, primary)
    with kadavu.database.reading() as session:
        settings, here = session.get_one(Settings, 1), session.scalars(select(Server)).one()
        assert (settings.sync_id, settings.name, settings.store, settings.url) == (
            *(7, "Kadavu Health Centre", "KDV-01"),
            URL,
        )
        assert (here.sync_id, here.name, here.store) == (1, "National Store", "NAT-01")
        assert session.get_one(Loop, 1).asked_at is not None
    assert primary.row(7).hardware_id == "machine-7"
    assert run(kadavu, primary).result == RunResult.WELL
    assert primary.row(7).has_used_token
    assert {EventKind.SETUP_ISSUED, EventKind.SETUP_USED, EventKind.HARDWARE_BOUND} <= set(
        kinds(primary.database)
    )
    assert EventKind.JOINED in kinds(kadavu.database)


def test_the_characters_are_enough(primary: PrimarySide, kadavu: Installation) -> None:
    join_with(Setup(URL, issue(primary).code), kadavu, primary)
    assert run(kadavu, primary).result == RunResult.WELL


def test_the_primary_keeps_a_hash_only(primary: PrimarySide) -> None:
    code = issue(primary).code
    with primary.database.reading() as session:
        row = session.scalars(select(IssuedSetup)).one()
        assert code not in repr(vars(row))
        assert row.code_hash == hash_token(f"setup {code}")
        assert code not in repr([vars(one) for one in session.scalars(select(Activity))])


@pytest.mark.both_databases
def test_a_lost_answer_is_asked_for_again_within_the_hour(
    primary: PrimarySide, kadavu: Installation, time: Clock
) -> None:
    setup = issue(primary)
    with pytest.raises(NotJoined, match="another hour"):
        join_with(setup, kadavu, primary, LoseAnswer(1))
    time.pass_by(minutes=59)
    join_with(setup, kadavu, primary)
    assert run(kadavu, primary).result == RunResult.WELL
    assert kinds(primary.database).count(EventKind.SETUP_USED) == 1


def test_after_the_hour_the_same_machine_is_refused_too(
    primary: PrimarySide, kadavu: Installation, time: Clock
) -> None:
    setup = issue(primary)
    with pytest.raises(NotJoined):
        join_with(setup, kadavu, primary, LoseAnswer(1))
    time.pass_by(minutes=61)
    assert why_not(setup, kadavu, primary) == "setup_used"


def test_another_machine_is_refused(
    primary: PrimarySide, kadavu: Installation, open_database: OpenDatabase
) -> None:
    setup = issue(primary)
    join_with(setup, kadavu, primary)
    other = installation_on(open_database(), "machine-x")
    assert why_not(setup, other, primary) == "setup_used"
    assert primary.row(7).hardware_id == "machine-7"


def test_a_row_that_is_bound_takes_its_own_machine_only(
    primary: PrimarySide, kadavu: Installation, open_database: OpenDatabase
) -> None:
    join_with(issue(primary), kadavu, primary)
    other = installation_on(open_database(), "machine-x")
    setup = issue(primary)
    assert why_not(setup, other, primary) == "site_incorrect_hardware_id"
    row = primary.row(7)
    with primary.database.writing() as session:
        clear_hardware(session, ASHA, row.id, row.version)
    join_with(setup, other, primary)
    assert run(other, primary).result == RunResult.WELL


def test_a_set_up_ends_and_is_revoked(
    primary: PrimarySide, kadavu: Installation, time: Clock
) -> None:
    first = issue(primary)
    second = issue(primary)
    assert why_not(first, kadavu, primary) == "setup_revoked"
    with primary.database.writing() as session:
        newest = session.scalars(select(IssuedSetup).order_by(IssuedSetup.id.desc())).first()
        assert newest is not None
        revoke_setup(session, ASHA, newest.server_id, newest.id)
    assert why_not(second, kadavu, primary) == "setup_revoked"
    third = issue(primary)
    time.pass_by(days=14)
    assert why_not(third, kadavu, primary) == "setup_ended"
    fourth = issue(primary)
    with primary.database.writing() as session:
        remove_servers(session, ASHA, [primary.row(7).id])
    assert why_not(fourth, kadavu, primary) == "setup_revoked"


def test_guessing_is_slowed_down(primary: PrimarySide, kadavu: Installation, time: Clock) -> None:
    setup = issue(primary)
    codes = [why_not(Setup(URL, new_code()), kadavu, primary) for _ in range(20)]
    assert codes == ["setup_unknown"] * 20
    assert why_not(setup, kadavu, primary) == "too_many_tries"
    time.pass_by(minutes=2)
    join_with(setup, kadavu, primary)


def test_a_paused_primary_keeps_the_set_up_unused(
    primary: PrimarySide, kadavu: Installation
) -> None:
    setup = issue(primary)
    with primary.database.writing() as session:
        set_interval(session, ASHA, 0, session.get_one(Settings, 1).interval_version)
    assert why_not(setup, kadavu, primary) == "sync_paused"
    with primary.database.writing() as session:
        set_interval(session, ASHA, 10, session.get_one(Settings, 1).interval_version)
    join_with(setup, kadavu, primary)


@pytest.mark.parametrize(
    ("header", "body", "code"),
    [
        ("", b"", "setup_unknown"),
        ("Basic x", b"", "setup_unknown"),
        ("Bearer no", b"{", "setup_unknown"),
        ("right", b"{", "bad_request"),
        ("right", b"[]", "bad_request"),
        ("right", b'{"version":1}', "bad_request"),
        ("right", b'{"version":1,"hardware_id":"","app_version":""}', "bad_request"),
        ("right", b'{"version":9,"hardware_id":"m","app_version":""}', "api_version_incompatible"),
    ],
)
def test_what_is_no_joining_is_refused(
    primary: PrimarySide, header: str, body: bytes, code: str
) -> None:
    header = f"Bearer {issue(primary).code}" if header == "right" else header
    reply = primary.service.join(lambda: body, {"Authorization": header}, "192.0.2.7")
    assert f'"code":"{code}"'.encode() in reply.content
    assert primary.row(7).hardware_id is None


def test_nothing_is_sent_where_it_would_be_refused_here(
    primary: PrimarySide, kadavu: Installation
) -> None:
    tamper, code = Tamper(), issue(primary).code
    with pytest.raises(NeedsConfirmation):
        join_with(Setup("http://central.example.org", code), kadavu, primary, tamper)
    with pytest.raises(Refusal, match="is a primary"):
        join_with(Setup(URL, code), installation_on(primary.database, "machine-1"), primary, tamper)
    assert tamper.exchanges == 0


def test_a_satellite_joins_anew(primary: PrimarySide, kadavu: Installation, time: Clock) -> None:
    join_with(issue(primary), kadavu, primary)
    assert run(kadavu, primary).result == RunResult.WELL
    time.pass_by(days=1)
    join_with(issue(primary), kadavu, primary)
    with kadavu.database.reading() as session:
        assert not session.get_one(Link, 1).token_withheld
    assert run(kadavu, primary).result == RunResult.WELL
    assert primary.row(7).last_success_at == time()
