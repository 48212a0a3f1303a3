"""What synchronising costs on the clinic's line: idle, one record, ten thousand up and down."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, update

from panel.migrate import upgrade
from panel.models.runs import Run
from panel.models.settings import Server, Settings
from panel.preferences.parameter_table import parameters_of
from panel.preferences.parameters import save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import edit_server
from panel.security.vault import Vault
from tests.bench.rate import resident_mebibytes
from tests.bench.stock import BATCH, bytes_of_whole, stock_records
from tests.support.line import CLINIC, HEADER_BYTES, OPEN, SEGMENT_BYTES, Line
from tests.support.processes import PanelProcess
from tests.support.real_site import KADAVU, NATIONAL, TESTER, Site

PATIENCE_SECONDS = 3_600.0
OWN_PAIR = ("kadavu", "frigate bird 7")


@dataclass(frozen=True)
class Exchanged:
    """TCP payload each way, connections, records that moved, and seconds from start to end."""

    up: int
    down: int
    connections: int
    records: int
    seconds: float

    @property
    def line_seconds(self) -> float:
        """How long these bytes take on the line if it is never idle."""
        return max(
            _on_the_wire(self.up) * 8 / CLINIC.up_bits_per_second,
            _on_the_wire(self.down) * 8 / CLINIC.down_bits_per_second,
        )


def _on_the_wire(payload_bytes: int) -> float:
    return payload_bytes * (1 + HEADER_BYTES / SEGMENT_BYTES)


class Clinic:
    """A satellite at the far end of a line, and its primary."""

    def __init__(self, folder: Path, primary_url: str = "") -> None:
        self.primary = Site(NATIONAL, new_process(folder / "primary", primary_url))
        self.primary.configure(others=[KADAVU])
        self.primary.process.start()
        self.line = Line(self.primary.process.port)
        self.satellite = Site(KADAVU, new_process(folder / "satellite"))
        url = f"http://127.0.0.1:{self.line.port}/"
        self.satellite.configure(url, [NATIONAL])
        self.satellite.process.start()

    def close(self) -> None:
        """End both servers."""
        self.satellite.close()
        self.primary.close()
        self.line.close()

    def speak(self, protocol: str) -> None:
        """Have the satellite speak ``protocol``, and get over its first acquaintance."""
        with self.satellite.database.writing() as session:
            session.execute(update(Settings).values(protocol=protocol))
        # Whoever changes the protocol has to begin with it anew.
        self.satellite.ask_to_initialise()
        self.exchange(shaped=False)

    def use_own_pair(self) -> None:
        """Give the satellite a user name of its own, by which v5 knows a site."""
        with self.primary.database.writing() as session:
            row = session.scalars(select(Server)).one()
            place = (row.sync_id, row.name, row.store)
            edit_server(session, TESTER, row.id, ServerFields(*place, "", *OWN_PAIR), row.version)
        process = self.satellite.process
        with self.satellite.database.writing() as session:
            settings = session.get_one(Settings, 1)
            user_name, password = OWN_PAIR
            wanted = parameters_of(settings).replace(user_name=user_name, password=password)
            vault = Vault(process.config.secret_keys)
            save_parameters(session, TESTER, vault, wanted, settings.parameters_version)

    def exchange(self, *, shaped: bool = True) -> Exchanged:
        """Press "Sync now" on the satellite and wait; on the clinic's line if ``shaped``."""
        self.line.shape(CLINIC if shaped else OPEN)
        self.line.recount()
        run = self.satellite.sync(PATIENCE_SECONDS)
        count = self.line.count
        self.line.shape(OPEN)
        return _exchanged(run, count.up, count.down, count.connections)


def new_process(folder: Path, database_url: str = "") -> PanelProcess:
    """Return a server on a new, migrated database; not yet started."""
    folder.mkdir(parents=True)
    process = PanelProcess(folder, database_url=database_url)
    upgrade(process.config.database_url)
    return process


def _exchanged(run: Run, up: int, down: int, connections: int) -> Exchanged:
    assert run.result == "well", f"{run.result}: {run.reason}"
    assert run.ended_at is not None
    seconds = (run.ended_at - run.started_at).total_seconds()
    return Exchanged(up, down, connections, run.pushed + run.pulled, seconds)


def measure_exchanges(folder: Path) -> Iterator[tuple[str, Exchanged]]:
    """Yield what each exchange costs, as it is measured."""
    with closing(Clinic(folder)) as clinic:
        for protocol, title in (("own", "ours"), ("v5", "v5")):
            clinic.speak(protocol)
            yield f"{title}: idle", clinic.exchange()
            _put(clinic.satellite, [{"table": "item", "id": protocol, "data": {"name": "ORS"}}])
            yield f"{title}: one record up", clinic.exchange()
            if protocol == "own":
                yield from _ten_thousand(clinic)
                clinic.use_own_pair()


def _ten_thousand(clinic: Clinic) -> Iterator[tuple[str, Exchanged]]:
    for way, site in (("up", clinic.satellite), ("down", clinic.primary)):
        _put(site, stock_records(way))
        yield f"ours: 10 000 records {way}", clinic.exchange()


def sizes_of_whole() -> dict[str, tuple[int, int]]:
    """Return the bytes of both sets of records as JSON Lines, plain and through ``gzip -6``."""
    return {way: bytes_of_whole(stock_records(way)) for way in ("up", "down")}


def memory_of(folder: Path) -> dict[str, float]:
    """Return the resident mebibytes of a primary and a satellite after 10 000 records."""
    with closing(Clinic(folder)) as clinic:
        clinic.speak("own")
        _put(clinic.satellite, stock_records("up"))
        clinic.exchange(shaped=False)
        return {
            "primary": resident_mebibytes(clinic.primary.process.pid),
            "satellite": resident_mebibytes(clinic.satellite.process.pid),
        }


def _put(site: Site, records: list[dict[str, object]]) -> None:
    with site.api() as api:
        for first in range(0, len(records), BATCH):
            api.put_many(records[first : first + BATCH])
