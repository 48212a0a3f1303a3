"""What the templates of the page show, and where in its list the reader is."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from flask import current_app, request, session
from flask_babel import get_locale
from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from panel import clock
from panel.errors import NotFound
from panel.i18n import say
from panel.models.base import NAME_LENGTH, Server, Settings
from panel.models.sync import Run
from panel.preferences.server_list import SORTS, Listing, list_servers
from panel.preferences.servers import label
from panel.status.peer_status import refused_among
from panel.status.state import Culprit, State, culprits, read_state, recent_runs, server_severity
from panel.web.auth.session import CSRF, current_person
from panel.web.auth.unlock_cookie import open_unlock
from panel.web.base.assets import Assets
from panel.web.base.context import services
from panel.web.base.embed import kept
from panel.web.base.htmx import is_fragment
from panel.web.page.forms import IntervalForm, ParametersForm
from panel.web.page.sync_data import SyncScreen

# No key of the database is higher.
HIGHEST_ID = 2**31 - 1
HIGHEST_BAR = 9


@dataclass(frozen=True)
class Place:
    """Where in the list of servers the reader is, as the address says it."""

    find: str = ""
    sort: str = "sync_id"
    descending: bool = False
    page: int = 1

    def query(self, **changes: Any) -> dict[str, Any]:
        """Return what an address needs to lead here, or to here with ``changes``."""
        place = replace(self, **changes)
        query = {
            "find": place.find,
            "sort": place.sort if place.sort != "sync_id" else "",
            "dir": "down" if place.descending else "",
            "page": place.page if place.page > 1 else "",
        }
        return {name: value for name, value in query.items() if value}

    def sorted_by(self, column: str) -> dict[str, Any]:
        """Return what leads to the list sorted by ``column``, the other way if it is already."""
        again = column == self.sort
        return self.query(sort=column, descending=again and not self.descending, page=1)


def here() -> Place:
    """Return the place in the list that the reader's address names."""
    arguments = request.args
    if is_fragment() and request.endpoint != "page.show":
        # A form may be older than the place that the reader has come to since.
        _, _, after = request.headers.get("HX-Current-URL", "").partition("?")
        arguments = MultiDict(parse_qsl(after.partition("#")[0]))
    sort = arguments.get("sort", "")
    return Place(
        find=arguments.get("find", "").strip()[:NAME_LENGTH],
        sort=sort if sort in SORTS else "sync_id",
        descending=arguments.get("dir") == "down",
        page=min(max(1, arguments.get("page", 1, type=int)), HIGHEST_ID),
    )


class Screen:
    """What there is to show, read as templates ask for it: a part costs its own queries only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._now = clock.now()
        self.place = here()
        self.own_hardware_id = services().hardware_id

    @cached_property
    def settings(self) -> Settings:
        """The preferences of this server."""
        return self._session.get_one(Settings, 1)

    @cached_property
    def state(self) -> State:
        """How sync stands."""
        return read_state(self._session, self._now)

    @cached_property
    def sync(self) -> SyncScreen:
        """What goes on, and what the sync asks of people."""
        return SyncScreen(self._session, self.settings, self.state, self._now)

    @cached_property
    def culprits(self) -> list[Culprit]:
        """Whose URL disables sync on a primary."""
        return culprits(self._session)

    @cached_property
    def runs(self) -> list[Run]:
        """The last runs, the oldest first."""
        return recent_runs(self._session)

    @cached_property
    def listing(self) -> Listing:
        """The page of the list that the address names."""
        return list_servers(self._session, **asdict(self.place))

    @cached_property
    def refused(self) -> set[int]:
        """The ids of those rows whose server was refused when it last called."""
        ids = [server.id for server in self.listing.rows]
        return refused_among(self._session, ids) if self.settings.is_primary else set()

    @cached_property
    def removed(self) -> list[Server]:
        """The servers that the address says were removed just now, as they can be put back."""
        ids = read_ids(request.args.get("removed", "").split(","))
        return find_servers(self._session, ids, removed=True) if ids else []

    @property
    def takes_servers(self) -> bool:
        """Say whether a server could be added: a satellite lists its primary only."""
        settings = self.settings
        return settings.is_primary or (settings.is_satellite and not self.listing.total)

    def last_success_at(self, server: Server) -> datetime | None:
        """Return when ``server`` and this one last synchronised with success."""
        return server.last_success_at if self.settings.is_primary else self.state.last_success_at

    def severity(self, server: Server) -> str:
        """Say how a server of the list stands, by its last success."""
        return server_severity(self.last_success_at(server), self._now)

    def bar_height(self, run: Run) -> int:
        """Return how high a run's bar is: one unit, and more with its records' logarithm."""
        return min(HIGHEST_BAR, 1 + round(2 * math.log10(1 + run.pushed + run.pulled)))

    def interval_form(self) -> IntervalForm:
        """Return the form as it is saved."""
        settings = self.settings
        return IntervalForm(
            data={
                "interval_minutes": settings.interval_minutes,
                "version": settings.interval_version,
            }
        )

    def parameters_form(self) -> ParametersForm:
        """Return the form as it is saved."""
        return ParametersForm(obj=self.settings, version=self.settings.parameters_version)

    def columns(self) -> dict[str, str]:
        """Return the heads of the list's columns by what they sort by."""
        url = {"url": _("URL")} if self.settings.is_satellite else {}
        last = _("Last sync") if self.settings.is_satellite else _("Last success")
        return {
            "sync_id": _("Sync ID"),
            "name": _("Name"),
            "store": _("Store"),
            **url,
            "hardware_id": _("Hardware ID"),
            "last_success_at": last,
        }

    def version(self) -> str:
        """Return a mark of everything that the page shows, which changes with any of it."""
        settings, listing = self.settings, self.listing
        rows = [
            (row.id, row.version, row.hardware_id, self.last_success_at(row), self.severity(row))
            for row in listing.rows
        ]
        runs = [(run.id, run.step, run.pushed, run.pulled, run.result) for run in self.runs]
        person = current_person()
        assets: Assets = current_app.extensions["assets"]
        shown = (
            *(settings.interval_version, settings.parameters_version, self.own_hardware_id),
            *(replace(self.state, run=None), self.sync.version(), self.culprits, runs),
            *(listing.count, listing.total, rows, sorted(self.refused)),
            [row.id for row in self.removed],
            *(request.full_path, kept(), str(get_locale()), open_unlock(), assets),
            # The page holds the session's CSRF token.
            session.get(CSRF),
            person and (person.name, person.version, person.language),
        )
        return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def protocols() -> dict[str, str]:
    """Return what people call the protocols."""
    return {"ask": _("ask, ours first"), "own": _("ours"), "v5": _("mSupply Sync v5")}


def named(servers: Iterable[Server]) -> str:
    """Return the servers as people call them, in one line."""
    return str(_(", ")).join(label(server) for server in servers)


def read_ids(texts: Iterable[str]) -> list[int]:
    """Return the ids among ``texts``; whatever could not be one is left out."""
    found = (int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 11)
    return [number for number in found if number <= HIGHEST_ID]


def find_servers(session: Session, ids: list[int], removed: bool = False) -> list[Server]:
    """Return the servers with these ids that are in the list, or that were removed from it."""
    where = Server.removed_at.is_not(None) if removed else Server.removed_at.is_(None)
    query = select(Server).where(Server.id.in_(ids), where).order_by(Server.sync_id)
    return list(session.scalars(query))


def find_server(server_id: int) -> Server:
    """Return a server of the list. Raise :class:`NotFound` if it is not there any more."""
    with services().database.reading() as session:
        found = find_servers(session, [server_id])
    if not found:
        raise NotFound(say("This server is not in the list any more."))
    return found[0]
