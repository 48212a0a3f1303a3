"""What the templates of the page show, and where in its list the reader is."""

import base64
import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, urlsplit

from flask import current_app, request, session, url_for
from flask_babel import get_locale
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from panel import clock
from panel.errors import NotFound
from panel.i18n import Message, say, say_count
from panel.models.base import NAME_LENGTH
from panel.models.records import Record
from panel.models.runs import Loop, Run
from panel.models.settings import Server, Settings, read_settings
from panel.operations.adopt_identity import Waiting, list_applicants
from panel.operations.connection_test import was_tested_well
from panel.preferences.parameter_table import PROTOCOL
from panel.preferences.readiness import Step, row_without_pair, steps_of_primary, steps_of_satellite
from panel.preferences.server_list import (
    BY_STATE,
    SORTS,
    STATE_WORDS,
    Counts,
    ListedServer,
    Listing,
    Look,
    ServerState,
    is_row_refused,
    list_servers,
    server_state,
)
from panel.status.history import Disagreement, disagreements
from panel.status.sentences import SEVERITIES, Severity, StateKind
from panel.status.state import PlottedRun, State, read_state, recent_runs
from panel.sync.protocol.error_codes import explain
from panel.web.auth.lock import open_unlock
from panel.web.auth.session import CSRF, current_person
from panel.web.base.assets import Assets
from panel.web.base.context import installation, reading
from panel.web.base.embed import embed_query
from panel.web.base.htmx import is_fragment
from panel.web.base.language import moment, show
from panel.web.base.language import translated as _
from panel.web.page.forms import ParametersForm

# --- where in its list the reader is --------------------------------------------------------------

# No key of the database is higher.
HIGHEST_ID = 2**31 - 1


@dataclass(frozen=True)
class Place(Look):
    """Where in the list of servers the reader is, as the address says it."""

    def query(self, **changes: Any) -> dict[str, Any]:
        """Return what an address needs to lead to this place, or to this place with ``changes``."""
        place = replace(self, **changes)
        query = {
            "find": place.find,
            "state": place.state or "",
            "sort": place.sort if place.sort != BY_STATE else "",
            "dir": "down" if place.descending else "",
            "page": place.page if place.page > 1 else "",
        }
        return {name: value for name, value in query.items() if value}

    def sorted_by(self, column: str) -> dict[str, Any]:
        """Return what leads to the list sorted by ``column``, the other way if it is already."""
        again = column == self.sort
        return self.query(sort=column, descending=again and not self.descending, page=1)


def current_place() -> Place:
    """Return the place in the list that the reader's address names."""
    arguments = request.args
    if is_fragment() and request.endpoint != "page.show":
        # A form may be older than the place that the reader has come to since.
        _, _, after = request.headers.get("HX-Current-URL", "").partition("?")
        arguments = MultiDict(parse_qsl(after.partition("#")[0]))
    sort, state = arguments.get("sort", ""), arguments.get("state", "")
    return Place(
        find=arguments.get("find", "").strip()[:NAME_LENGTH],
        state=ServerState(state) if state in set(ServerState) else None,
        sort=sort if sort in SORTS else BY_STATE,
        descending=arguments.get("dir") == "down",
        page=min(max(1, arguments.get("page", 1, type=int)), HIGHEST_ID),
    )


def url_pattern(endpoint: str, argument: str, **query: Any) -> str:
    """Return the address of ``endpoint`` with %d for the id in it: one look-up for many rows."""
    values: dict[str, Any] = {argument: HIGHEST_ID, **query}
    found = url_for(endpoint, **values).replace("%", "%%")
    return found.replace(f"/{HIGHEST_ID}", "/%d", 1)


# --- what there is to show ------------------------------------------------------------------------

HIGHEST_BAR = 9
# In an address, the page of those that wait to be added.
WAITING_PAGE = "waiting"
NOBODY_WAITS = Waiting(1, 1, [])
# Enough to tell the versions of a page apart that one browser may hold, and short in its header;
# and those of the verdict, which every page holds.
_MARK_BYTES, _STATE_MARK_BYTES = 6, 3
# A run that is due has ended by then, as a rule.
_A_LITTLE = timedelta(seconds=10)


# A loop hears "Sync now" within seconds. Where none does, the page says so and stops asking.
HEARD_WITHIN = timedelta(seconds=30)


# The loop hears nothing then, and need not: the sentence says why.
_OFF = (StateKind.PAUSED, StateKind.DISABLED, StateKind.NOT_READY, StateKind.FULL)
# Their headlines say how much waits, or cannot say that it is safe.
_SAY_WHAT_WAITS = (
    *(StateKind.UNREACHABLE, StateKind.UP_TO_DATE, StateKind.LATE, StateKind.VERY_LATE),
    StateKind.FULL,
)


# What a server without a Sync ID can become.
ROLES = ("primary", "satellite")
# Where each is done that has no field of its own name.
_PLACES = {
    Step.PASSWORD: "#f-user_name",
    Step.URL: "#p-url",
    Step.PRIMARY: "#servers",
    Step.SATELLITE: "#servers",
    Step.SETUP: "#f-user_name",
    Step.TEST: "#parameters",
}
# A satellite before its first success.
_NEW = (StateKind.STANDALONE, StateKind.NOT_READY, StateKind.NEVER)


class SyncData:
    """Read as the templates ask for it: a part costs its own queries only."""

    def __init__(self, session: Session, settings: Settings, state: State, now: datetime) -> None:
        self._session = session
        self._settings = settings
        self._state = state
        self._now = now

    @cached_property
    def goes_on(self) -> bool:
        """Say whether a run lasts, or was asked for just now: then the page asks how it goes."""
        state = self._state
        waits = state.asked and state.kind not in _OFF and not self.is_unheard
        return state.run is not None or waits

    @property
    def saves_data(self) -> bool:
        """Say whether the browser is to save data: then its page asks little by itself."""
        return request.headers.get("Save-Data") == "on"

    @property
    def poll_seconds(self) -> int:
        """How often the page asks how a run goes."""
        return 30 if self.saves_data else 5

    @property
    def is_silent(self) -> bool:
        """Say whether the primary answers nothing: then the run can be stopped here."""
        return self._state.kind is StateKind.NO_ANSWER

    @property
    def may_begin(self) -> bool:
        """Say whether a run could begin now: none lasts, and nothing keeps sync off."""
        return not self.goes_on and self._state.kind not in _OFF

    @cached_property
    def is_unheard(self) -> bool:
        """Say whether "Sync now" was pressed and nothing has begun: no loop runs, it seems."""
        if not self._settings.is_satellite:
            # Nobody can ask a primary to sync: its satellites come to it.
            return False
        asked_at = self._session.get_one(Loop, 1).asked_at
        if asked_at is None or self._state.kind in _OFF:
            return False
        return self._now - asked_at > HEARD_WITHIN

    @cached_property
    def is_empty(self) -> bool:
        """Say whether this satellite has no record at all, as a new or restored one."""
        return (
            self._settings.is_satellite and self._session.scalar(select(Record.id).limit(1)) is None
        )

    @property
    def offers_initialise(self) -> bool:
        """Say whether nothing is here, and it is not so that this is all there is."""
        return self.is_empty and self.may_begin and self._state.severity is not Severity.WELL

    @cached_property
    def applicants(self) -> Waiting:
        """Who waits to be added to this primary: the page of them that the address names."""
        if not self._settings.is_primary:
            return NOBODY_WAITS
        page = min(request.args.get(WAITING_PAGE, 1, type=int), HIGHEST_ID)
        return list_applicants(self._session, page)

    @cached_property
    def disagreements(self) -> list[Disagreement]:
        """Where this satellite and its primary do not agree on who they are."""
        state = self._state
        return disagreements(state.reason, state.reason_values, at_primary=False)

    def version(self) -> tuple[object, ...]:
        """Return marks that change with what is shown of this."""
        waiting = self.applicants
        applicants = (
            waiting.pages,
            [
                (one.sync_id, one.name, one.store, one.hardware_id, one.address, one.last_at)
                for one in waiting.rows
            ],
        )
        return (self.goes_on, self.saves_data, self.is_unheard, self.offers_initialise, applicants)

    def mark(self) -> str:
        """Return a mark that changes with the verdict, but not with the last success alone.

        On a primary it changes every hour, so that the times in the rows of the list are brought
        up to date too.
        """
        # A primary's sentence has its counts.
        state, settings = replace(self._state, run=None, counts=Counts()), self._settings
        hour = self._now.hour if settings.is_primary else None
        if settings.is_primary or state.severity is Severity.WELL:
            state = replace(state, last_success_at=None, last_attempt_at=None, next_try_at=None)
        shown = (
            state,
            self.goes_on,
            self.is_unheard,
            self.offers_initialise,
            settings.interval_minutes,
            hour,
        )
        return self._around() + _mark(shown, _STATE_MARK_BYTES)

    def is_alone_changed(self, was: str) -> bool:
        """Say whether the verdict is not what it ``was``, but what stands beside it is."""
        return was != self.mark() and was[:1] == self._around()

    def _around(self) -> str:
        """Return a letter that changes with what stands beside the verdict: acts, warnings."""
        shown = (self.may_begin, self.is_unheard, self.offers_initialise)
        return "abcdefgh"[sum(2**number for number, yes in enumerate(shown) if yes)]

    def next_question_at(self) -> datetime | None:
        """When the page asks by itself how sync stands; None if nothing is to be expected.

        While something goes on, it asks how that goes.
        """
        if self.goes_on:
            return None
        at = self._state.next_try_at
        if at is None and (minutes := self._settings.interval_minutes):
            at = self._now + timedelta(minutes=minutes)
        return at and at + _A_LITTLE


def due(url: str, at: datetime) -> str:
    """Return what the script reads in ``data-due``: which URL it asks ``at`` that time, by itself.

    The time is so many seconds from now; in a page, which may be one that the browser kept, it is
    the moment too.
    """
    seconds = max(0, math.ceil((at - clock.now()).total_seconds()))
    return f"{url} {seconds}" if is_fragment() else f"{url} {seconds} {at.timestamp():.0f}"


def bar_height(run: PlottedRun | Run) -> int:
    """Return how high a run's bar is: one unit, and more with its records' logarithm."""
    return min(HIGHEST_BAR, 1 + round(2 * math.log10(1 + run.pushed + run.pulled)))


def _mark(shown: object, size_bytes: int) -> str:
    mark = hashlib.sha256(repr(shown).encode()).digest()[:size_bytes]
    return base64.urlsafe_b64encode(mark).decode()


def _facts(state: State, settings: Settings, success: str) -> Iterator[str]:
    # A fragment is only read where the script writes the times.
    brief = is_fragment()
    if state.refused_at:
        yield _("Refused since %(at)s", at=moment(state.refused_at, "at", brief=brief))
    elif state.kind is StateKind.UNREACHABLE and state.waiting_since:
        yield _("Waiting since %(at)s", at=moment(state.waiting_since, "at", brief=brief))
    if state.waiting and state.kind not in _SAY_WHAT_WAITS:
        yield show(
            say_count(
                "%(num)s record is safe on this computer",
                "%(num)s records are safe on this computer",
                state.waiting,
            )
        )
    if state.kind is StateKind.UNREACHABLE and state.reason and not state.verdict.field:
        yield show(explain(state.reason, state.reason_values).what)
    at, tried = state.last_success_at, state.last_attempt_at
    yield success
    if tried and (at is None or tried > at):
        yield _("last attempt %(at)s", at=moment(tried, brief=brief))
    if state.severity is not Severity.WELL and state.next_try_at:
        yield _("next try %(at)s", at=moment(state.next_try_at, "at", brief=brief))
    elif state.severity is Severity.WELL and settings.is_satellite:
        minutes = settings.interval_minutes
        yield show(say_count("syncs every minute", "syncs every %(num)s minutes", minutes))
    if state.set_aside and not state.parts and state.kind is not StateKind.SET_ASIDE:
        words = show(
            say_count(
                "%(num)s record needs a decision",
                "%(num)s records need a decision",
                state.set_aside,
            )
        )
        yield Markup('<a href="{}">{}</a>').format(url_for("set_aside.show"), words)


class Standing(NamedTuple):
    """How a server of the list stands, in a shape and a word, and when it last succeeded."""

    server: ListedServer | Server
    severity: str
    word: str
    at: datetime | None


class PageData:
    """What there is to show, read as templates ask for it: a part costs its own queries only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._now = clock.now()
        self.place = current_place()
        self.own_hardware_id = installation().hardware_id

    @cached_property
    def settings(self) -> Settings:
        """The preferences of this server."""
        return read_settings(self._session)

    @cached_property
    def state(self) -> State:
        """How sync stands."""
        return read_state(self._session, self._now)

    @cached_property
    def sync(self) -> SyncData:
        """What goes on, and what the sync asks of people."""
        return SyncData(self._session, self.settings, self.state, self._now)

    @cached_property
    def runs(self) -> list[PlottedRun]:
        """The last runs, the oldest first."""
        return recent_runs(self._session)

    @cached_property
    def listing(self) -> Listing:
        """The page of the list that the address names."""
        counts = self.state.counts if self.settings.is_primary else None
        return list_servers(self._session, self.place, counts)

    @cached_property
    def removed(self) -> list[Server]:
        """The servers that the address says were removed just now, as they can be put back."""
        ids = read_ids(request.args.get("removed", "").split(","))
        return find_servers(self._session, ids, removed=True) if ids else []

    @cached_property
    def role(self) -> str:
        """What a server without a Sync ID is to become, as the address of the page says."""
        here = request.args.get("first", "")
        page = urlsplit(request.headers.get("HX-Current-URL", "")).query
        chosen = here or parse_qs(page).get("first", [""])[0]
        return chosen if chosen in ROLES else ""

    @cached_property
    def first_steps(self) -> dict[Step, bool] | None:
        """The first steps of a new server, and whether each is done; None once all are."""
        settings, kind = self.settings, self.state.kind
        if settings.is_primary or (settings.sync_id is None and self.role == "primary"):
            is_missing = kind in (StateKind.NOT_READY, StateKind.STANDALONE)
            has_row = self.state.counts.total > 0
            steps = steps_of_primary(settings, has_row=has_row, is_missing=is_missing)
        elif kind in _NEW:
            is_tested = was_tested_well(self._session)
            steps = steps_of_satellite(settings, self.state.there, is_tested=is_tested)
        else:
            return None
        # Once nothing else is missing, the first sync is the test.
        is_done = all(done for step, done in steps.items() if step is not Step.TEST)
        return None if is_done else steps

    def place_of(self, step: Step) -> str:
        """Return the address of where a first step is done."""
        if step is Step.SETUP and (row := row_without_pair(self._session)) is not None:
            return url_for("runs.show_server", server_id=row, _anchor="setups")
        return _PLACES.get(step, f"#f-{step}")

    @property
    def takes_servers(self) -> bool:
        """Say whether a server could be added: a satellite lists its primary only."""
        settings = self.settings
        return settings.is_primary or (settings.is_satellite and not self.listing.total)

    def last_success_at(self, server: ListedServer | Server) -> datetime | None:
        """Return when ``server`` and this one last synchronised with success."""
        return server.last_success_at if self.settings.is_primary else self.state.last_success_at

    def standing(self, servers: Iterable[ListedServer | Server]) -> Iterator[Standing]:
        """Yield how each of these servers of the list stands: on a satellite as the sync does."""
        if not self.settings.is_primary:
            severity, word = self.state.severity.value, show(self.state.words)
            yield from (
                Standing(one, severity, word, self.state.last_success_at) for one in servers
            )
            return
        word_of = {one: show(message) for one, message in STATE_WORDS.items()}
        for server in servers:
            # A row that was added or changed just now is not of the page of the list.
            is_refused = is_row_refused(self._session, server)
            at = server.last_success_at
            one = server_state(at, self._now, is_refused=is_refused)
            yield Standing(server, SEVERITIES[one].value, word_of[one], at)

    def filter_words(self) -> Message | None:
        """Return which servers alone are listed, None where all are."""
        return STATE_WORDS[self.place.state] if self.place.state else None

    def facts(self) -> list[str]:
        """Return what the verdict follows from, in the order of its second line."""
        if self.settings.sync_id is None:
            return [
                _("To start, give this server a Sync ID: 1 for the primary, else a higher one.")
            ]
        return list(_facts(self.state, self.settings, self.success()))

    def success(self) -> Markup:
        """Return the last success, in the part that asks by itself how sync stands (panel.js)."""
        at = self.state.last_success_at
        told = at and moment(at, brief=is_fragment())
        words = _("last success %(at)s", at=told) if at else _("no success yet")
        expected_at = self.sync.next_question_at()
        if expected_at is None:
            return words
        # Without a URL the script asks nothing, and says how old the verdict is.
        saves_data = self.sync.saves_data
        url = "" if saves_data else url_for("sync_page.progress", was=self.sync.mark())
        return Markup('<span data-due="{}">{}</span>').format(due(url, expected_at), words)

    def parameters_form(self) -> ParametersForm:
        """Return the form as it is saved."""
        return ParametersForm(obj=self.settings, version=self.settings.parameters_version)

    def version(self) -> str:
        """Return a mark of everything that the page shows, which changes with any of it."""
        settings, listing, run = self.settings, self.listing, self.state.run
        rows = [
            (row.server.id, row.server.version, row.server.hardware_id, row.word, row.at)
            for row in self.standing(listing.rows)
        ]
        person = current_person()
        assets: Assets = current_app.extensions["assets"]
        shown = (
            *(settings.interval_version, settings.parameters_version, self.own_hardware_id),
            *(replace(self.state, run=None), self.sync.version(), self.runs),
            run and (run.id, run.step, run.pushed, run.to_push, run.pulled, run.to_pull),
            *(listing.count, listing.total, rows),
            [row.id for row in self.removed],
            *(request.full_path, embed_query(), str(get_locale()), open_unlock()),
            *(assets.script, assets.style_hash),
            # The page holds the session's CSRF token.
            session.get(CSRF),
            person and (person.name, person.version, person.language),
        )
        return _mark(shown, _MARK_BYTES)


def protocols() -> dict[str, str]:
    """Return what people call the protocols."""
    return {value: show(label) for value, label in PROTOCOL.choices.items()}


def named(servers: Iterable[Server]) -> str:
    """Return the servers as people call them, in one line."""
    return str(_(", ")).join(server.label for server in servers)


def read_ids(texts: Iterable[str]) -> list[int]:
    """Return the ids among ``texts``; whatever could not be one is left out."""
    longest = len(str(HIGHEST_ID))
    digits = (text for text in texts if text.isascii() and text.isdigit() and len(text) <= longest)
    return [number for text in digits if (number := int(text)) <= HIGHEST_ID]


def find_servers(session: Session, ids: list[int], removed: bool = False) -> list[Server]:
    """Return the servers with these ids that are in the list, or that were removed from it."""
    where = Server.removed_at.is_not(None) if removed else Server.removed_at.is_(None)
    query = select(Server).where(Server.id.in_(ids), where).order_by(Server.sync_id)
    return list(session.scalars(query))


def find_server(server_id: int) -> Server:
    """Return a server of the list. Raise :class:`NotFound` if it is not there any more."""
    found = find_servers(reading(), [server_id])
    if not found:
        raise NotFound(say("This server is not in the list any more."))
    return found[0]
