"""The list of servers: searched by prefix, sorted by any column, in pages of 50.

It takes at most three queries, however long the list is, and an index answers each. A prefix is a
range: "ab" is everything from "ab" to "ab" and the last Unicode character. The queries name columns
of the table, not the attributes of its class: without objects of the ORM a page of rows takes a
third of the time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, exists, func, or_, select
from sqlalchemy.orm import Session

from panel.models.base import HIGHEST_SYNC_ID, NAME_LENGTH, searchable
from panel.models.runs import Peer
from panel.models.settings import Server

PAGE_SIZE = 50
_server, _peer = Server.__table__.c, Peer.__table__.c
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
_SEARCHED = (_server.name_key, _server.store_key, _server.user_name_key)
_LAST_CHARACTER = "\U0010ffff"
_listed = _server.removed_at.is_(None)
_COUNT = select(func.count()).where(_listed)


class ListedServer(NamedTuple):
    """A row of the list, to be read; ``is_refused`` says whether its last call was."""

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


_is_refused = exists().where(_peer.server_id == _server.id, _peer.refusal != "")
_ROWS = select(*(_server[name] for name in ListedServer._fields[:-1]), _is_refused).where(_listed)


@dataclass
class Listing:
    """One page of the list: ``count`` of ``total`` rows match; ``page`` counts from 1."""

    rows: list[ListedServer]
    count: int
    total: int
    page: int
    pages: int


def list_servers(
    session: Session,
    *,
    find: str = "",
    sort: str = "sync_id",
    descending: bool = False,
    page: int = 1,
    total: int | None = None,
) -> Listing:
    """Return one page of the rows whose Sync ID, name, store or user name starts with ``find``.

    ``sort`` is a key of :data:`SORTS`; an unknown one sorts by Sync ID. A page out of range is the
    first or the last. ``total`` is the number of all rows, where it is known already.
    """
    total = count = (session.scalar(_COUNT) or 0) if total is None else total
    query = _sorted(sort, descending=descending)
    prefix = "".join(filter(str.isprintable, searchable(find)))[:NAME_LENGTH]
    if prefix:
        begins_so = or_(*_ranges(prefix))
        query = query.where(begins_so)
        count = session.scalar(_COUNT.where(begins_so)) or 0
    pages = max(1, -(-count // PAGE_SIZE))
    page = min(max(1, page), pages)
    rows = session.execute(query, {"skipped": (page - 1) * PAGE_SIZE})
    return Listing([ListedServer(*row) for row in rows], count, total, page, pages)


def _ranges(prefix: str) -> Iterator[ColumnElement[bool]]:
    for column in _SEARCHED:
        yield column.between(prefix, prefix + _LAST_CHARACTER)
    if prefix.isascii() and prefix.isdecimal() and not prefix.startswith("0"):
        # 12 is a prefix of 12, of 120 to 129, of 1200 to 1299, and so on.
        lowest, width = int(prefix), 1
        while lowest <= HIGHEST_SYNC_ID:
            yield _server.sync_id.between(lowest, min(lowest + width - 1, HIGHEST_SYNC_ID))
            lowest, width = lowest * 10, width * 10


# Made once for each order: making a statement takes longer than running it.
@lru_cache(maxsize=2 * len(SORTS))
def _sorted(sort: str, *, descending: bool) -> Select[Any]:
    """Return a page by a column, then by Sync ID; NULL is the lowest on every database."""
    column = SORTS.get(sort, _server.sync_id)
    order = column.desc() if descending else column.asc()
    if sort in _MAY_BE_NULL:
        order = order.nulls_last() if descending else order.nulls_first()
    page = _ROWS.limit(PAGE_SIZE).offset(bindparam("skipped"))
    return page.order_by(order, _server.sync_id)
