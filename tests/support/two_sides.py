"""A primary and satellites in one process: the real two sides, with a line that tests can break."""

import json
import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import select

from panel.db import Database, make_engine
from panel.models.records import Quarantined, Record
from panel.models.runs import InitialiseState, Link, Run
from panel.models.settings import Server, Settings, SyncProtocol
from panel.preferences.interval import set_interval
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import save_parameters
from panel.preferences.server_changes import clear_hardware
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.sync.msupply_v5 import primary as v5
from panel.sync.msupply_v5.calls import Request
from panel.sync.primary.exchange import Primary, Reply
from panel.sync.primary.parts import PartCall
from panel.sync.protocol.body_codec import Body
from panel.sync.protocol.error_codes import STOPPED_BY_HAND
from panel.sync.run import SatelliteRun
from panel.sync.store import records
from panel.sync.store.records import Write
from panel.sync.store.sequence import notice_restore
from panel.sync.transport.batch_size import Meter
from panel.sync.transport.http import LinkFault, Response, Target
from tests.support.cast import ASHA
from tests.support.installations import (
    VAULT,
    WitnessInMemory,
    back_up,
    drop_backup,
    installation_on,
    name_generation,
    restore,
)

PASSWORD = "reef and palm"
PRIMARY_NAME, PRIMARY_STORE = "National Store", "NAT-01"
ADDRESS, V5_PATH = "192.0.2.7", "/sync/v5/"


def parameters(
    sync_id: int, name: str, store: str, url: str, user_name: str = "shared"
) -> Parameters:
    return Parameters(
        sync_id=sync_id,
        name=name,
        store=store,
        user_name=user_name,
        password=PASSWORD,
        url=url,
        request_size=None,
    )


class Side:
    """One server: its database and what a test asks of it."""

    def __init__(
        self,
        url: str,
        sync_id: int,
        name: str,
        store: str,
        primary_url: str,
        user_name: str = "shared",
    ) -> None:
        self.database = Database(make_engine(url))
        self._watch()
        self._url = url
        self.sync_id = sync_id
        self.name, self.store = name, store
        with self.database.writing() as session:
            name_generation(session)
            wanted = parameters(sync_id, name, store, primary_url, user_name)
            save_parameters(session, ASHA, VAULT, wanted, 1, {"url_http"})

    def add(self, sync_id: int, name: str, store: str, user_name: str = "") -> None:
        """Add a row to the list, with a pair of its own if it has a ``user_name``."""
        password = PASSWORD if user_name else None
        fields = ServerFields(sync_id, name, store, user_name=user_name, password=password)
        with self.database.writing() as session:
            add_server(session, ASHA, fields)

    def put(self, record_id: str, data: Mapping[str, Any] | None, to: int | None = None) -> None:
        with self.database.writing() as session:
            records.write_records(session, self.sync_id, [Write("item", record_id, data, to)])

    def put_many(self, count: int, prefix: str = "") -> None:
        writes = [Write("item", f"{prefix}{n:05}", {"n": n, "by": self.name}) for n in range(count)]
        with self.database.writing() as session:
            records.write_records(session, self.sync_id, writes)

    def get(self, record_id: str) -> Any:
        return self.contents().get(("item", record_id))

    def contents(self) -> dict[tuple[str, str], Any]:
        """Everything that is not deleted, by key."""
        with self.database.reading() as session:
            rows = session.scalars(select(Record).where(~Record.deleted))
            return {(r.table_name, r.record_id): json.loads(r.data or "") for r in rows}

    def versions(self) -> dict[tuple[str, str], tuple[int, int, int | None, bool, str | None]]:
        """Everything there is, tombstones too, in full."""
        with self.database.reading() as session:
            return {
                (r.table_name, r.record_id): (r.owner, r.version, r.to, r.deleted, r.data)
                for r in session.scalars(select(Record))
            }

    def asides(self) -> list[Quarantined]:
        with self.database.reading() as session:
            return list(session.scalars(select(Quarantined)))

    def runs(self) -> list[Run]:
        with self.database.reading() as session:
            return list(session.scalars(select(Run).order_by(Run.id)))

    def set_interval(self, minutes: int) -> None:
        with self.database.writing() as session:
            version = session.get_one(Settings, 1).interval_version
            set_interval(session, ASHA, minutes, version)

    def set_request_size(self, size: int | None) -> None:
        with self.database.writing() as session:
            session.get_one(Settings, 1).request_size = size

    def back_up(self) -> str:
        """Return the name of a copy of the database."""
        self.database.close()
        return back_up(self._url)

    def restore(self, name: str, *, noticed: bool = True) -> None:
        """Put a copy in the place of the database; the next start notices unless told not to."""
        self.database.close()
        restore(self._url, name)
        if noticed:
            notice_restore(self.database, self._witness)

    def drop_backup(self, name: str) -> None:
        """Remove a copy of the database."""
        drop_backup(self._url, name)

    def begin_anew(self, name: str) -> None:
        """Be as when the copy ``name`` was made: nobody knows of anything later."""
        self._watch()
        self.restore(name, noticed=False)

    def become(self, other: "Side") -> None:
        """Become a copy of the disk of another server, its witness too."""
        copy = other.back_up()
        self.begin_anew(copy)
        self.drop_backup(copy)
        if (mark := other._witness.read()) is not None:
            self._witness.note(mark)

    def _watch(self) -> None:
        self._witness = WitnessInMemory()
        self.database.after_commit = self._witness.note_commit

    def close(self) -> None:
        self.database.close()


class PrimarySide(Side):
    def __init__(self, url: str) -> None:
        super().__init__(url, 1, PRIMARY_NAME, PRIMARY_STORE, "")
        self.service = Primary(self.database)

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Reply:
        """Answer a request of either protocol."""
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query))
        if parts.path.startswith(V5_PATH):
            name = parts.path.removeprefix(V5_PATH)
            lower = {header.lower(): value for header, value in headers.items()}
            call = Request(method, name, query, lower, lambda: content, ADDRESS)
            answered = v5.answer(self.service, call)
            encoding = {"Content-Encoding": answered.encoding} if answered.encoding else {}
            return Reply(answered.status, encoding, answered.body)
        if (method, path) == ("POST", "/sync/exchange"):
            return self.service.exchange(lambda: content, headers, ADDRESS)
        if (method, path) == ("POST", "/sync/join"):
            return self.service.join(lambda: content, headers, ADDRESS)
        piece = PartCall(parts.path.removeprefix("/sync/part/"), query)
        if method == "GET":
            return self.service.give_piece(piece, headers, ADDRESS)
        assert method == "PUT"
        return self.service.take_piece(piece, lambda: content, headers, ADDRESS)

    def row(self, sync_id: int) -> Server:
        with self.database.reading() as session:
            query = select(Server).where(Server.sync_id == sync_id, Server.removed_at.is_(None))
            return session.scalars(query).one()

    def clear(self, sync_id: int) -> None:
        """Let another machine, or one that was set up anew, take the row."""
        row = self.row(sync_id)
        with self.database.writing() as session:
            clear_hardware(session, ASHA, row.id, row.version)


class Line:
    """A line that leads into the primary's process, and does what a test tells it to."""

    def __init__(self, primary: PrimarySide, tamper: "Tamper") -> None:
        self.meter = tamper.meter = Meter()
        self._primary = primary
        self._tamper = tamper

    def send(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Response:
        try:
            self._tamper.before(content)
            sent = Body(content, headers.get("Content-Encoding", ""))
            if (answer := self._tamper.instead(sent)) is not None:
                return Response(200, {}, answer, 0.01)
            reply = self._primary.answer(method, path, headers, content)
            self._tamper.after(reply.content)
        except LinkFault as fault:
            fault.bytes_up = len(content)
            raise
        self.meter.bytes_up += len(content)
        self.meter.bytes_down += len(reply.content)
        return Response(
            reply.status,
            {**reply.headers, **self._tamper.headers},
            reply.content,
            0.01,
            len(content),
        )

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self._tamper.aborted.set()


class Tamper:
    """Lets everything through, and counts it."""

    def __init__(self) -> None:
        self.exchanges = 0
        # Of every answer, beside the primary's own.
        self.headers: dict[str, str] = {}
        self.aborted = threading.Event()
        self.meter = Meter()

    def be_silent(self, seconds: float) -> None:
        """Let it look as if nothing moved for so long."""
        self.meter.moved_at = monotonic() - seconds

    def before(self, content: bytes) -> None:
        self.exchanges += 1

    def instead(self, sent: Body) -> bytes | None:
        """Return what somebody on the way answers, None if the primary does."""
        return None

    def after(self, content: bytes) -> None:
        pass


class CutBefore(Tamper):
    """The line breaks before the n-th exchange reaches the primary."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def before(self, content: bytes) -> None:
        super().before(content)
        if self.exchanges == self._number:
            raise LinkFault("cut_off")


class Hang(Tamper):
    """The primary takes the exchanges from the n-th on, and answers nothing."""

    def __init__(self, number: int = 1) -> None:
        super().__init__()
        self._number = number

    def before(self, content: bytes) -> None:
        super().before(content)
        if self.exchanges >= self._number:
            self.be_silent(25.0)
            assert self.aborted.wait(20), "nobody ended it"
            raise LinkFault(STOPPED_BY_HAND)


class LoseAnswer(Tamper):
    """The n-th exchange reaches the primary, and its answer is lost."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def after(self, content: bytes) -> None:
        if self.exchanges == self._number:
            raise LinkFault("cut_off")


class SatelliteSide(Side):
    def __init__(
        self,
        url: str,
        primary: PrimarySide,
        sync_id: int = 7,
        name: str = "Kadavu Health Centre",
        store: str = "KDV-01",
        hardware_id: str = "",
        user_name: str = "shared",
    ) -> None:
        super().__init__(url, sync_id, name, store, "https://central.example.org", user_name)
        self.primary = primary
        self.installation = installation_on(self.database, hardware_id or f"machine-{sync_id}")
        self.add(1, PRIMARY_NAME, PRIMARY_STORE)

    def sync(self, tamper: Tamper | None = None) -> Run:
        tamper = tamper or Tamper()

        def open_line(_target: Target) -> Line:
            return Line(self.primary, tamper)

        run = SatelliteRun(self.installation, open_line, lambda _session: None)
        with self.database.writing() as session:
            run.begin(session)
        return run.run()

    def speak(self, protocol: SyncProtocol) -> None:
        """Choose the protocol of the next run."""
        with self.database.writing() as session:
            session.get_one(Settings, 1).protocol = protocol

    def initialise(self) -> None:
        """Press "Initialise": the next run begins it."""
        with self.database.writing() as session:
            session.get_one(Link, 1).initialise = InitialiseState.NEEDED

    def agree_to_remove(self, records: int) -> None:
        """Agree to what the initialise that waits would remove."""
        with self.database.writing() as session:
            session.get_one(Link, 1).removal_consent = records


def is_in_step(*servers: Side) -> bool:
    """Say whether all have the same records in the same versions."""
    everything = [server.versions() for server in servers]
    return all(one == everything[0] for one in everything)
