"""The client of an mSupply central server, one method a call (PROTOCOL.md, *mSupply Sync v5*)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from panel import APP_NAME, __version__
from panel.sync.msupply_v5.codec import (
    SPOKEN_VERSION,
    STATE_HEADER,
    TRIAL,
    Change,
    SatelliteState,
    Unusable,
    read_changes,
    read_mark,
    to_bytes,
)
from panel.sync.protocol.json_reader import JsonObject
from panel.sync.protocol.messages import MOST_WAITING
from panel.sync.satellite.sync_settings import SyncSettings
from panel.sync.transport.exchange_client import basic, read_error, read_json
from panel.sync.transport.http import Response, Transport

NOTHING: Mapping[str, str] = MappingProxyType({})
SITE_ID_LENGTH = 64
_HIGHEST = 2**62


@dataclass(frozen=True)
class SiteIdentity:
    """The answer to ``site``: who the central server takes us for; ``uuid`` is constant."""

    uuid: str
    sync_id: int
    # A primary of ours noticed that this satellite was restored, and hands back what it lost.
    is_restored: bool


@dataclass(frozen=True)
class Queued:
    """A page of queued records or of central data.

    ``marks`` are the ``syncOutId`` or ``ID`` of all its entries, in order; ``changes`` are those
    that can be stored, ``unusable`` those that cannot. ``length`` is the ``queueLength`` or
    ``maxCursor``.
    """

    marks: list[str]
    changes: list[Change]
    unusable: list[Unusable]
    length: int


class Central:
    """The calls of v5 over one open connection.

    Each raises SyncRefusal, LinkFault, or BadMessage for an answer that is not v5's.
    """

    def __init__(self, line: Transport, sync_settings: SyncSettings) -> None:
        self._line = line
        self._headers = {
            "Authorization": basic(sync_settings.pair),
            "msupply-site-uuid": sync_settings.identity.hardware_id,
            "version": str(SPOKEN_VERSION),
            "app-name": APP_NAME,
            "app-version": __version__,
            "Accept-Encoding": "gzip",
        }

    def site(self, state: SatelliteState | None = None) -> SiteIdentity:
        """Call ``GET site``; a primary of ours is told the ``state`` of this satellite."""
        return self._site("" if state is None else state.to_header())

    def try_site(self) -> SiteIdentity:
        """Call ``GET site`` without consequences at a primary of ours."""
        return self._site(TRIAL)

    def _site(self, told: str) -> SiteIdentity:
        more = {STATE_HEADER: told} if told else NOTHING
        answer = JsonObject(read_json(self._send("GET", "site", more=more)))
        return SiteIdentity(
            answer.text("id", SITE_ID_LENGTH),
            answer.whole("siteId", 1, _HIGHEST),
            answer.flag("restored"),
        )

    def is_idle(self) -> bool:
        """Call ``GET site_status``, and say whether no call of ours is still under way."""
        return self._get("site_status").text("code", 40) == "idle"

    def initialise(self) -> int:
        """Call ``POST initialise``, which queues this site's records; return how many."""
        return self._post("initialise", {}).whole("queueLength", 0, MOST_WAITING)

    def central_records(self, cursor: int, limit: int) -> Queued:
        """Return at most ``limit`` central records after ``cursor``."""
        answer = self._get(f"central_records?cursor={cursor}&limit={limit}")
        return _queued(answer, "maxCursor")

    def queued_records(self, limit: int) -> Queued:
        """Return the ``limit`` oldest records that are queued for this site."""
        return _queued(self._get(f"queued_records?limit={limit}"), "queueLength")

    def acknowledge(self, marks: Sequence[str]) -> None:
        """Call ``POST acknowledged_records`` with the ``syncOutId`` of stored records."""
        self._send("POST", "acknowledged_records", to_bytes({"syncIDs": list(marks)}))

    def push(self, left: int, changes: Sequence[Mapping[str, Any]]) -> bool:
        """Send a batch; ``left`` counts it too. Return whether the integration has started."""
        answer = self._post("queued_records", {"queueLength": left, "data": list(changes)})
        return answer.flag("integrationStarted")

    def _get(self, path: str) -> JsonObject:
        return JsonObject(read_json(self._send("GET", path)))

    def _post(self, path: str, body: Mapping[str, Any]) -> JsonObject:
        return JsonObject(read_json(self._send("POST", path, to_bytes(body))))

    def _send(
        self, method: str, path: str, content: bytes = b"", more: Mapping[str, str] = NOTHING
    ) -> Response:
        headers = {**self._headers, **more}
        response = self._line.send(method, f"/sync/v5/{path}", headers, content)
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise read_error(response)
        return response


def _queued(answer: JsonObject, length: str) -> Queued:
    entries = answer.list("data")
    changes, unusable = read_changes(entries)
    marks = [read_mark(JsonObject(entry)) for entry in entries]
    return Queued(marks, changes, unusable, answer.whole(length, 0, _HIGHEST))
