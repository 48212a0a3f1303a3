"""A primary and its satellites in one process, which begin anew as often as a search wants."""

from collections.abc import Mapping

from panel.models.base import PRIMARY_SYNC_ID
from panel.models.settings import SyncProtocol
from panel.sync.primary.exchange import Primary, Reply
from tests.conftest import NewDatabase
from tests.support.two_sides import V5_PATH, PrimarySide, SatelliteSide, Side

KADAVU, LEVUKA = 7, 8

_Request = tuple[str, str, Mapping[str, str], bytes]


class World:
    """A primary with two satellites, and a machine that may become a copy of the first.

    They are made once: to copy their databases at the beginning of an example takes a fraction of
    the time, and what SQLAlchemy has compiled stays.
    """

    def __init__(self, new_database: NewDatabase) -> None:
        self.primary = _Heard(new_database(True))
        self.primary.add(KADAVU, "Kadavu", "KDV-01")
        # Over v5 a site needs a pair of its own.
        self.primary.add(LEVUKA, "Levuka", "LVK-01", "levuka")
        kadavu = KADAVU, "Kadavu", "KDV-01"
        levuka = LEVUKA, "Levuka", "LVK-01"
        self.satellites = {
            KADAVU: SatelliteSide(new_database(True), self.primary, *kadavu),
            LEVUKA: SatelliteSide(new_database(True), self.primary, *levuka, user_name="levuka"),
        }
        self.servers: dict[int, Side] = {PRIMARY_SYNC_ID: self.primary, **self.satellites}
        self._spare = SatelliteSide(new_database(True), self.primary, *kadavu)
        for satellite in (*self.satellites.values(), self._spare):
            # To ask the primary which one it speaks is tried elsewhere, and takes an exchange more.
            satellite.speak(SyncProtocol.OWN)
        self._beginnings = {server: server.back_up() for server in self.servers.values()}

    def begin_anew(self) -> None:
        """Let every server be as it was before the first run."""
        for server, backup in self._beginnings.items():
            server.begin_anew(backup)
        self.primary.forget()

    def copy_kadavu(self) -> SatelliteSide:
        """Return another machine with all that Kadavu has on its disk."""
        self._spare.become(self.satellites[KADAVU])
        return self._spare

    def repeat_request(self, which: int) -> None:
        """Let the primary get a request once more that it got before; 0 is the latest."""
        sent = self.primary.sent
        if not sent:
            return
        request = sent[-1 - which % len(sent)]
        method, path, _, _ = request
        # Records have no versions over v5: an old push is a new one.
        if (method, path) != ("POST", f"{V5_PATH}queued_records") or request is sent[-1]:
            self.primary.answer_again(request)

    def close(self) -> None:
        """Let go of the databases."""
        for server in (*self.servers.values(), self._spare):
            server.close()


class _Heard(PrimarySide):
    """A primary that remembers every request."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sent: list[_Request] = []

    def forget(self) -> None:
        """Be as a process that has just started."""
        self.sent.clear()
        self.service = Primary(self.database)

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Reply:
        self.sent.append((method, path, dict(headers), content))
        return super().answer(method, path, headers, content)

    def answer_again(self, request: _Request) -> None:
        super().answer(*request)
