"""The calls of a v5 site, answered in the caller's transaction (PROTOCOL.md, *mSupply Sync v5*)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from panel import clock
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.records import ChangeSequence, Record
from panel.models.runs import RunStep, SiteInitialisation
from panel.sync.msupply_v5 import queue, shared_tables, sites
from panel.sync.msupply_v5.codec import (
    ID_SEPARATOR,
    MOST_RECORDS,
    Change,
    as_handed_back,
    change_of,
    read_changes,
    take_changes,
)
from panel.sync.msupply_v5.sites import Site
from panel.sync.primary.admission import check_room
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.json_reader import LARGEST_RECORD_BYTES, BadMessage, JsonObject
from panel.sync.protocol.messages import MOST_WAITING
from panel.sync.store import change_feed
from panel.sync.store.apply import Outcome, pushed_by
from panel.sync.store.quarantine import note_unreadable, retry_quarantined
from panel.sync.store.sequence import is_lost_number

# With this a site begins its cycle; one that finds another id than its own goes no further.
FIRST = ("GET", "site")
USUAL_LIMIT = 500
_HIGHEST = 2**63 - 1
_HIGHEST_DIGITS = len(str(_HIGHEST))


@dataclass(frozen=True)
class Request:
    """An HTTP request: ``name`` follows ``/sync/v5/``, the names of ``headers`` are lower case.

    ``read_body`` returns the body as it was sent, still compressed.
    """

    method: str
    name: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    read_body: Callable[[], bytes] = bytes
    address: str = ""


@dataclass(frozen=True)
class Calls:
    """The calls of a site; each returns the JSON object of the answer, or None for a 204.

    Each may raise SyncRefusal, or BadMessage for a malformed query or body.
    """

    session: Session
    site: Site
    query: Mapping[str, str]
    sent: JsonObject
    # How many may initialise at once.
    initialises: int

    def describe_site(self) -> dict[str, Any]:
        """Answer ``GET site``, with which a site begins its cycle."""
        server, peer = self.site.server, self.site.peer
        status = peer.initialisation
        if server.hardware_id is None:
            # The machine that was bound before says nothing of this one.
            status = SiteInitialisation.NEW
        else:
            sites.cut_off(self.session, self.site)
            peer.meeting = True
            self._check_state()
        return {
            "id": self._site_id(),
            "siteId": server.sync_id,
            "code": server.store,
            "name": server.name,
            "initialisationStatus": status,
            # There is no second, v6 server.
            "isOmSupplyCentralServer": True,
            "omSupplyCentralServerUrl": "",
            "mSupplyCentralSiteId": PRIMARY_SYNC_ID,
            **self._told_to_ours(),
        }

    def _site_id(self) -> str:
        """Return the id of the site, which for ours names the history of this primary too."""
        uuid = self.site.peer.site_uuid
        if not self.site.is_ours:
            # It refuses another id than it had, for good.
            return uuid
        return f"{uuid}{ID_SEPARATOR}{self.session.get_one(ChangeSequence, 1).generation}"

    def _told_to_ours(self) -> dict[str, Any]:
        is_restored = self.site.is_ours and queue.is_restoring(self.site.peer)
        return {"restored": True} if is_restored else {}

    def initialise(self) -> dict[str, Any]:
        """Answer ``POST initialise``."""
        server, peer = self.site.server, self.site.peer
        try:
            check_room(self.session, peer, self.initialises)
        except SyncRefusal as refusal:
            refusal.server_id = server.id
            raise
        peer.initialising_at = clock.now()
        return {"queueLength": queue.begin_restore(self.session, server, peer)}

    def central_records(self) -> dict[str, Any]:
        """Answer ``GET central_records``."""
        cursor, peer = self._number("cursor", 0, 0), self.site.peer
        self._check_cursor(cursor)
        self._note_initialise_goes_on()
        # A site has no use for what it wrote last itself.
        news = and_(change_feed.central_records(), ~queue.is_known(self.site.server))
        page = change_feed.read(self.session, news, cursor, self._limit())
        # A site that asks for what follows a record has stored that record.
        proven = cursor if page.records else page.cursor
        peer.central_cursor = max(peer.central_cursor, proven)
        newest = self.session.scalar(select(func.max(Record.seq)).where(news))
        last = page.records[-1].seq if page.records else 0
        peer.central_offered = max(peer.central_offered, cursor, last)
        sites.note_pulled(self.session, self.site, RunStep.PULLING_CENTRAL, len(page.records))
        data = [{"ID": record.seq, **self._told(record)} for record in page.records]
        return {"maxCursor": max(cursor, newest or 0), "data": data}

    def queued_records(self) -> dict[str, Any]:
        """Answer ``GET queued_records``; an empty answer ends the cycle."""
        server, peer = self.site.server, self.site.peer
        self._note_initialise_goes_on()
        records = queue.queued(self.session, server, peer, self._limit())
        if not records:
            peer.initialising_at = None
            queue.move_cursors(self.session, server, peer)
            sites.note_end(self.session, self.site)
        data = [
            {"syncOutId": str(record.seq), **self._told(record), **self._owner_told(record)}
            for record in records
        ]
        return {"queueLength": queue.queue_length(self.session, server, peer), "data": data}

    def acknowledge(self) -> None:
        """Answer ``POST acknowledged_records``."""
        ids = [text for text in self.sent.list("syncIDs") if type(text) is str]
        if len(ids) > MOST_RECORDS:
            # No answer had so many, and each is looked for while no other server can write.
            raise BadMessage(f"syncIDs: more than {MOST_RECORDS}")
        dropped = queue.acknowledge(self.session, self.site.server, self.site.peer, ids)
        sites.note_pulled(self.session, self.site, RunStep.PULLING_ADDRESSED, dropped)

    def push(self) -> dict[str, Any]:
        """Answer ``POST queued_records``; the batch is stored with the answer."""
        entries = self.sent.list("data")
        if len(entries) > MOST_RECORDS:
            raise BadMessage(f"data: more than {MOST_RECORDS} records")
        left = max(self.sent.whole("queueLength", 0, MOST_WAITING) - len(entries), 0)
        sync_id = self.site.server.sync_id
        changes, unusable = read_changes(entries, LARGEST_RECORD_BYTES)
        self._note_sent(changes)
        merged = Outcome()
        if not self.site.is_ours:
            changes, merged = shared_tables.merge(self.session, self.site.server, changes)
        outcome = take_changes(self.session, sync_id, sync_id, changes, False)
        outcome.taken += merged.taken
        outcome.refused += merged.refused
        outcome.refused += [
            note_unreadable(self.session, sync_id, change.key, str(change)) for change in unusable
        ]
        sites.note_pushed(self.session, self.site, outcome, left)
        self.site.peer.waiting_there = left
        if not entries:
            retry_quarantined(self.session, sync_id, pushed_by(sync_id))
        return {"integrationStarted": left == 0}

    def _note_sent(self, changes: Sequence[Change]) -> None:
        """Remember the highest number that a satellite of ours gave to what it sent."""
        if self.site.is_ours:
            numbers = [int(change.mark) for change in changes if queue.is_position(change.mark)]
            self.site.peer.sent_seq = max([self.site.peer.sent_seq, *numbers])

    def _owner_told(self, record: Record) -> dict[str, Any]:
        """Tell a satellite of ours who else owns a record; v5 has no owners."""
        is_its_own = record.owner == self.site.server.sync_id
        return {} if is_its_own or not self.site.is_ours else {"owner": record.owner}

    def _told(self, record: Record) -> dict[str, Any]:
        change = change_of(record)
        if not self.site.is_ours and "recordData" in change:
            change["recordData"] = as_handed_back(record.table_name, change["recordData"])
        return change

    def _check_state(self) -> None:
        """Hand back what a satellite of ours had since: it was restored from a backup."""
        peer, state = self.site.peer, self.site.state
        if state is None:
            return
        another = peer.own_generation not in ("", state.generation)
        behind = state.central < peer.asked_cursor or state.queued < peer.addressed_offered
        if another or behind or state.sent < peer.sent_seq:
            queue.set_back(self.session, self.site.server, peer, state.central, state.queued)
            peer.addressed_offered = state.queued
        peer.own_generation, peer.sent_seq = state.generation, state.sent

    def _check_cursor(self, cursor: int) -> None:
        """Refuse a site that goes on from another past than this server's."""
        present = self.session.get_one(ChangeSequence, 1, populate_existing=True)
        peer = self.site.peer
        is_first, peer.meeting = peer.meeting, False
        if cursor < peer.asked_cursor and is_first and not self.site.is_ours:
            raise self._initialise_needed("site_restored")
        if cursor == 0:
            # Who reads from the beginning needs no tombstone of what it never had.
            peer.central_cursor = max(peer.central_cursor, present.purged_seq)
        elif cursor > max(peer.central_offered, peer.central_cursor) and not is_lost_number(
            self.session, cursor
        ):
            raise self._initialise_needed("another_past")
        elif peer.central_cursor < present.purged_seq:
            raise self._initialise_needed("deletes_missed")
        peer.asked_cursor = max(peer.asked_cursor, cursor)

    def _initialise_needed(self, reason: str) -> SyncRefusal:
        # Our satellites have a button for it, and words of their own.
        values = {} if self.site.is_ours else {"reason": reason}
        refusal = SyncRefusal("initialise_needed", **values)
        refusal.server_id = self.site.server.id
        return refusal

    def _note_initialise_goes_on(self) -> None:
        if self.site.peer.initialising_at is not None:
            self.site.peer.initialising_at = clock.now()

    def _number(self, name: str, usual: int, lowest: int) -> int:
        text = self.query.get(name, str(usual))
        is_number = text.isascii() and text.isdigit() and len(text) <= _HIGHEST_DIGITS
        number = int(text) if is_number else -1
        if not lowest <= number <= _HIGHEST:
            raise BadMessage(f"{name}: not a whole number from {lowest} up")
        return number

    def _limit(self) -> int:
        # An answer may have fewer records than asked for.
        return min(self._number("limit", USUAL_LIMIT, 1), MOST_RECORDS)


CALLS: dict[tuple[str, str], Callable[[Calls], dict[str, Any] | None]] = {
    FIRST: Calls.describe_site,
    ("POST", "initialise"): Calls.initialise,
    ("GET", "central_records"): Calls.central_records,
    ("GET", "queued_records"): Calls.queued_records,
    ("POST", "queued_records"): Calls.push,
    ("POST", "acknowledged_records"): Calls.acknowledge,
}
# The body of an initialise is not read.
WITH_BODY = {("POST", "queued_records"), ("POST", "acknowledged_records")}
