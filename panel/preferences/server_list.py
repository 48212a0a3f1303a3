"""The list of servers: found by words, sorted, counted and filtered by state, in pages of 50.

It takes at most three queries, however long the list is, and an index answers each. A beginning is
a range: "ab" is everything from "ab" to "ab" and the last Unicode character. The queries name
columns of the table, not the attributes of its class: without objects of the ORM a page of rows
takes a third of the time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    union,
    union_all,
)
from sqlalchemy.orm import Session

from panel import clock
from panel.i18n import Message, say
from panel.models.base import HIGHEST_SYNC_ID, NAME_LENGTH, folded
from panel.models.runs import Peer
from panel.models.settings import Server, ServerWord
from panel.sync.protocol.error_codes import PASSING_BY_ITSELF

PAGE_SIZE = 50
LATE, VERY_LATE = timedelta(days=1), timedelta(days=3)
# A success that is dated later than this from now is none: a clock was wrong then.
_CLOCK_TOLERANCE = timedelta(minutes=2)
# By their states, the worst first, and of one state who had the last success longest ago.
BY_STATE = "state"
_server, _peer, _word = Server.__table__.c, Peer.__table__.c, ServerWord.__table__.c
SORTS: dict[str, ColumnElement[Any]] = {
    "sync_id": _server.sync_id,
    "name": _server.name_key,
    "store": _server.store_key,
    "user_name": _server.user_name_key,
    "url": _server.url,
    "hardware_id": _server.hardware_id,
    "last_success_at": _server.last_success_at,
}
_MAY_BE_NULL = {"hardware_id", "last_success_at"}
_LAST_CHARACTER = "\U0010ffff"
_listed = _server.removed_at.is_(None)


class ServerState(StrEnum):
    """The state of a satellite, as its primary sees it; the worst first."""

    REFUSED = "refused"
    VERY_LATE = "very_late"
    LATE = "late"
    NOT_SEEN = "not_seen"
    UP_TO_DATE = "up_to_date"


STATE_WORDS: Mapping[ServerState, Message] = {
    ServerState.REFUSED: say("refused"),
    ServerState.VERY_LATE: say("very late"),
    ServerState.LATE: say("late"),
    ServerState.NOT_SEEN: say("not yet seen"),
    ServerState.UP_TO_DATE: say("up to date"),
}


def is_future(moment: datetime, now: datetime) -> bool:
    """Say whether ``moment`` was noted by a clock that was ahead of the present one."""
    return moment > now + _CLOCK_TOLERANCE


def server_state(
    last_success_at: datetime | None, now: datetime, *, is_refused: bool = False
) -> ServerState:
    """Return the state of a server whose last success was then: late after one day.

    It is very late after three, and not seen without any success. One in the future is none.
    """
    if is_refused:
        return ServerState.REFUSED
    if last_success_at is None or is_future(last_success_at, now):
        return ServerState.NOT_SEEN
    age = now - last_success_at
    if age >= VERY_LATE:
        return ServerState.VERY_LATE
    return ServerState.LATE if age >= LATE else ServerState.UP_TO_DATE


# The same for the database; who is up to date comes last. Statements that every page runs are made
# once: making one takes longer than running it. A partial index is named in its very words.
_success = _server.last_success_at
_RANGES: tuple[tuple[ServerState, ColumnElement[bool]], ...] = (
    (ServerState.VERY_LATE, _success <= bindparam("very_late")),
    (ServerState.LATE, and_(_success > bindparam("very_late"), _success <= bindparam("late"))),
    (ServerState.NOT_SEEN, _success.is_(None)),
    (ServerState.NOT_SEEN, _success > bindparam("latest")),
    (ServerState.UP_TO_DATE, and_(_success > bindparam("late"), _success <= bindparam("latest"))),
)
_refusal = and_(text("peers.refusal <> ''"), _peer.refusal.not_in(sorted(PASSING_BY_ITSELF)))
_is_refused = _server.id.in_(select(_peer.server_id).where(_refusal))
# The parts of the list in the order of states.
_ARMS = (
    (ServerState.REFUSED, _is_refused),
    *((state, and_(where, not_(_is_refused))) for state, where in _RANGES),
)
_RANK = case(*((where, number) for number, (_state, where) in enumerate(_ARMS)))


def _moments(now: datetime) -> dict[str, datetime]:
    return {"late": now - LATE, "very_late": now - VERY_LATE, "latest": now + _CLOCK_TOLERANCE}


@dataclass(frozen=True)
class Counts:
    """The numbers of servers in the list, in each state and in all, and when the last succeeded.

    ``with_url`` have a URL, which disables sync on a primary. ``arms`` are the numbers of those
    parts that the list in the order of states consists of.
    """

    total: int = 0
    refused: int = 0
    very_late: int = 0
    late: int = 0
    not_seen: int = 0
    up_to_date: int = 0
    last_success_at: datetime | None = None
    with_url: int = 0
    arms: Sequence[int] = field(default=(0,) * len(_ARMS), repr=False, compare=False)

    def of(self, state: ServerState) -> int:
        """Return the number of servers in ``state``."""
        number: int = getattr(self, state.value)
        return number


def _counted(*where: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count()).select_from(Server.__table__).where(*where).scalar_subquery()


@cache
def _count_statement() -> Select[Any]:
    # Only what is not as it should be is counted, row by row along its index; the rest is left.
    refused = select(
        func.count().label("refused"),
        *(func.count(case((where, 1))).label(f"of{n}") for n, (_s, where) in enumerate(_RANGES)),
    )
    refused = refused.select_from(Peer.__table__).join(Server.__table__).where(_refusal, _listed)
    others = _RANGES[:-1]
    past = select(func.max(_success)).where(_listed, _success <= bindparam("latest"))
    return select(
        select(func.count()).select_from(Server.__table__).scalar_subquery(),
        _counted(_server.removed_at.is_not(None)),
        past.scalar_subquery(),
        # Greater than "": the index of URLs answers that, unlike "not equal".
        _counted(_listed, _server.url > ""),
        *(_counted(_listed, where) for _state, where in others),
        *refused.subquery().c,
    )


def count_servers(session: Session, now: datetime) -> Counts:
    """Return the counts of the list at ``now``."""
    row = session.execute(_count_statement(), _moments(now)).one()
    rows, removed, last_success_at, with_url, *numbers = tuple(row)
    most = len(_RANGES) - 1
    ranges, refused, of_refused = numbers[:most], numbers[most], numbers[most + 1 :]
    total = rows - removed
    ranges.append(total - sum(ranges))
    arms = [refused, *(n - less for n, less in zip(ranges, of_refused, strict=True))]
    of_state = dict.fromkeys(ServerState, 0)
    for (state, _where), number in zip(_ARMS, arms, strict=True):
        of_state[state] += number
    found: dict[str, Any] = {state.value: number for state, number in of_state.items()}
    found |= {"last_success_at": last_success_at, "with_url": with_url}
    return Counts(total, **found, arms=arms)


class ListedServer(NamedTuple):
    """A row of the list, read and not to be changed; ``is_refused`` is of its last call."""

    id: int
    sync_id: int
    name: str
    store: str
    url: str
    user_name: str
    password_hash: str | None
    hardware_id: str | None
    version: int
    last_contact_at: datetime | None
    last_success_at: datetime | None
    is_refused: bool

    def state(self, now: datetime) -> ServerState:
        """Return the state of the server, as its primary sees it."""
        return server_state(self.last_success_at, now, is_refused=self.is_refused)


_ROWS = select(*(_server[name] for name in ListedServer._fields[:-1]), _is_refused).where(_listed)


@dataclass
class Listing:
    """One page of the list: ``count`` of ``total`` rows match; ``page`` counts from 1."""

    rows: list[ListedServer]
    count: int
    total: int
    page: int
    pages: int


@dataclass(frozen=True)
class Look:
    """What is shown of the list: the rows in ``state`` that have a word beginning with ``find``.

    ``sort`` is a key of :data:`SORTS`; anything else is the order of states.
    """

    find: str = ""
    state: ServerState | None = None
    sort: str = BY_STATE
    descending: bool = False
    page: int = 1


def list_servers(session: Session, look: Look, counts: Counts | None = None) -> Listing:
    """Return one page of the list.

    Searched are Sync ID, name, store and user name, without accents. A page out of range is the
    first or the last. ``counts`` are those of the list, where they are known already.
    """
    sort, descending, state = look.sort, look.descending, look.state
    now = clock.now()
    counts = count_servers(session, now) if counts is None else counts
    found = _found(look.find)
    where: list[ColumnElement[bool]] = [] if found is None else [_server.id.in_(found)]
    if state is not None:
        where.append(or_(*(one for of, one in _ARMS if of is state)))
    count = counts.of(state) if state else counts.total
    if found is not None:
        matching = select(func.count()).select_from(Server.__table__).where(_listed, *where)
        count = session.scalar(matching, _moments(now)) or 0
    pages = max(1, -(-count // PAGE_SIZE))
    page = min(max(1, look.page), pages)
    skipped = (page - 1) * PAGE_SIZE
    if sort in SORTS or found is not None:
        query = _sorted(sort, where, descending=descending)
        given: dict[str, object] = {**_moments(now), "skipped": skipped}
    else:
        query = _by_state(descending=descending)
        given = {**_moments(now), **_cuts(counts, state, skipped, descending=descending)}
    rows = [ListedServer(*row) for row in session.execute(query, given)]
    return Listing(rows, count, counts.total, page, pages)


def _found(find: str) -> CompoundSelect[int] | None:
    """Return the ids of the rows of which ``find`` is the beginning of a word; None for none."""
    prefix = "".join(filter(str.isprintable, folded(find)))[:NAME_LENGTH]
    if not prefix:
        return None
    words = _word.word.between(prefix, prefix + _LAST_CHARACTER)
    numbers = (select(_server.id).where(_listed, one) for one in _sync_ids(prefix))
    return union(select(_word.server_id).where(words), *numbers)


def _sync_ids(prefix: str) -> Iterator[ColumnElement[bool]]:
    if prefix.isascii() and prefix.isdecimal() and not prefix.startswith("0"):
        # 12 is the beginning of 12, of 120 to 129, of 1200 to 1299, and so on.
        lowest, width = int(prefix), 1
        while lowest <= HIGHEST_SYNC_ID:
            yield _server.sync_id.between(lowest, min(lowest + width - 1, HIGHEST_SYNC_ID))
            lowest, width = lowest * 10, width * 10


def _sorted(sort: str, where: Sequence[ColumnElement[bool]], *, descending: bool) -> Select[Any]:
    """Return a page of the rows by a column, then by Sync ID; what is no column is the state.

    NULL is the lowest on every database.
    """
    if sort in SORTS:
        column = SORTS[sort].desc() if descending else SORTS[sort].asc()
        if sort in _MAY_BE_NULL:
            column = column.nulls_last() if descending else column.nulls_first()
        order = [column, _server.sync_id]
    else:
        order = [_RANK.desc() if descending else _RANK, *_longest(descending=descending)]
    query = _ROWS.where(*where).order_by(*order)
    return query.limit(PAGE_SIZE).offset(bindparam("skipped"))


def _longest(*, descending: bool) -> Sequence[ColumnElement[Any]]:
    if descending:
        return [_success.desc().nulls_last(), _server.sync_id.desc()]
    return [_success.asc().nulls_first(), _server.sync_id.asc()]


def _within(state: ServerState, *, descending: bool) -> Sequence[ColumnElement[Any]]:
    """Return the order within a part; only among the refused are both, rows with a success and not.

    An index of PostgreSQL has NULL last: elsewhere its order is not named, so that it serves.
    """
    if state is ServerState.REFUSED:
        return _longest(descending=descending)
    order = [_server.sync_id] if state is ServerState.NOT_SEEN else [_success, _server.sync_id]
    return [column.desc() for column in order] if descending else order


@cache
def _by_state(*, descending: bool) -> Select[Any]:
    """Return a page of the rows by their states: of each part of the list what the page has of it.

    So each part is read along the index of the last success, and no row is sorted.
    """
    parts = []
    for number, (state, where) in enumerate(_ARMS):
        part = select(_server.id, literal(number).label("part")).where(_listed, where)
        part = part.order_by(*_within(state, descending=descending))
        part = part.limit(bindparam(f"limit{number}")).offset(bindparam(f"skip{number}"))
        parts.append(select(part.subquery()))
    page = union_all(*parts).subquery()
    place = page.c.part.desc() if descending else page.c.part
    query = _ROWS.join(page, page.c.id == _server.id)
    return query.order_by(place, *_longest(descending=descending))


def _cuts(
    counts: Counts, state: ServerState | None, skipped: int, *, descending: bool
) -> dict[str, int]:
    """Return how many rows of each part stand before the page, and how many on it."""
    cuts: dict[str, int] = {}
    room = PAGE_SIZE
    parts = list(enumerate(zip(_ARMS, counts.arms, strict=True)))
    for number, ((of, _where), rows) in reversed(parts) if descending else parts:
        is_shown = state is None or of is state
        before = min(skipped, rows) if is_shown else 0
        taken = min(room, rows - before) if is_shown else 0
        cuts |= {f"skip{number}": before, f"limit{number}": taken}
        skipped, room = skipped - before, room - taken
    return cuts


def every_server(session: Session, look: Look) -> Iterator[ListedServer]:
    """Yield every row of ``look``, whichever its page."""
    counts, page, pages = count_servers(session, clock.now()), 1, 1
    while page <= pages:
        listing = list_servers(session, replace(look, page=page), counts)
        yield from listing.rows
        page, pages = page + 1, listing.pages


def is_row_refused(session: Session, server: Server | ListedServer) -> bool:
    """Say whether the last call of ``server`` was refused and waits for somebody."""
    if isinstance(server, ListedServer):
        return server.is_refused
    return session.scalar(_REFUSED, {"id": server.id}) is not None


_REFUSED = select(_peer.server_id).where(_peer.server_id == bindparam("id"), _refusal)
