"""Servers, runs and records as they stand after some weeks of work, for a page to show."""

from datetime import timedelta

from panel import clock
from panel.models.records import Quarantined
from panel.models.runs import Applicant, InitialiseState, Link, Loop, Peer, Run
from panel.models.settings import Server
from panel.sync.store import records
from tests.browser.serving import Panel

PLACES = (
    "Kadavu Health Centre",
    "Rotuma Hospital",
    "Lau Clinic",
    "Nausori Maternity Unit",
    "Taveuni Sub-divisional Hospital and Nursing Station of the Northern Division",
    "Vunidawa",
    "Ba Mission Hospital",
    "Lomaloma",
)
# How long ago each last synchronised with success, in hours; None was never seen.
HOURS_AGO = (0.05, 0.2, 30, 2, 90, None, 11, 0.3)


def many(count: int) -> list[tuple[int, str, str]]:
    """Return so many rows for the list, in no order of the alphabet."""
    return [
        (number + 2, f"{PLACES[number % len(PLACES)]} {number * 7 % 100:02}", f"ST-{number:04}")
        for number in range(count)
    ]


def busy_primary(panel: Panel) -> None:
    """Be the primary of eight satellites, some late, and know of one that waits to be added."""
    panel.become_primary((number, name, f"ST-{number:02}") for number, name in enumerate(PLACES, 7))
    now = clock.now()
    with panel.database.writing() as session:
        for server, hours in zip(session.query(Server).order_by(Server.id), HOURS_AGO, strict=True):
            if hours is None:
                continue
            server.last_success_at = server.last_contact_at = now - timedelta(hours=hours)
            server.hardware_id = f"{server.sync_id:02}c4d1b27788aa90{server.sync_id:02}"
            session.add(Peer(server_id=server.id, site_uuid=f"site-{server.id}", protocol="own"))
        first = session.query(Server).order_by(Server.id).first()
        assert first is not None
        first.user_name, first.user_name_key = "kadavu", "kadavu"
        first.password_hash, first.password_changed_at = "hash", now
        session.add(
            Applicant(
                sync_id=31, name="Savusavu Hospital", store="SAV-01", hardware_id="77aa0c91e2b8",
                address="192.0.2.31", first_at=now, last_at=now,
            )
        )  # fmt: skip
    add_runs(panel, other=7)


def add_runs(panel: Panel, other: int, count: int = 30) -> None:
    """Let that many runs have ended, one in ten badly."""
    now = clock.now()
    with panel.database.writing() as session:
        for number in range(count):
            begun = now - timedelta(minutes=10 * (count - number))
            bad = number % 10 == 3
            session.add(
                Run(
                    other=other, started_at=begun, ended_at=begun + timedelta(seconds=9),
                    step="applying", pushed=number * number, pulled=number % 4,
                    bytes_up=400 + number * 90, bytes_down=3_000 * number,
                    result="failed" if bad else "well",
                    reason="timed_out" if bad else "",
                    reason_values={"host": "central.example.org"} if bad else None,
                )
            )  # fmt: skip


def busy_satellite(panel: Panel) -> None:
    """Be a satellite whose last run went well some minutes ago."""
    panel.become_satellite()
    now = clock.now()
    with panel.database.writing() as session:
        link = session.get_one(Link, 1)
        link.initialise = InitialiseState.DONE
        link.last_success_at = link.last_attempt_at = now - timedelta(minutes=3)
    add_runs(panel, other=1)


def refuse(panel: Panel, code: str, **values: object) -> None:
    """Let the primary have refused the last run, for that reason."""
    now = clock.now()
    with panel.database.writing() as session:
        loop, link = session.get_one(Loop, 1), session.get_one(Link, 1)
        loop.refusal, loop.refusal_values, loop.refused_at = code, values, now
        link.last_attempt_at, link.last_success_at = now, now - timedelta(days=4)


def begin_run(panel: Panel) -> None:
    """Let a run go on, half done."""
    now = clock.now()
    with panel.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.holder, loop.held_until = "here", now + timedelta(minutes=1)
        session.add(Run(other=1, started_at=now, step="pushing", pushed=1_200, to_push=4_800))


def set_aside(panel: Panel, source: int) -> None:
    """Let two records from that server have been set aside."""
    now = clock.now()
    with panel.database.writing() as session:
        for number in range(2):
            session.add(
                Quarantined(
                    source=source, table_name="stock_line", record_id=f"KDV-01-amox{number}",
                    owner=source, to=None, version=7, deleted=False, data='{"packs": 12}',
                    reason="not_the_owner", reason_values={"owner": 9}, tries=3,
                    first_at=now, last_at=now, left_out_at=None,
                )
            )  # fmt: skip


def put_record(panel: Panel, owner: int) -> None:
    """Let server ``owner`` have written a record."""
    with panel.database.writing() as session:
        records.put_record(session, owner, "stock_line", f"{owner}-amox", {"packs": 12})
