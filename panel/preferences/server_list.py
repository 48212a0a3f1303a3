"""The list of servers: searched by prefix, sorted by any column, in pages of 50.

It takes at most three queries, however long the list is, and an index answers each. A prefix is a
range: "ab" is everything from "ab" to "ab" and the last Unicode character.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import ColumnElement, Select, bindparam, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from panel.models.base import HIGHEST_SYNC_ID, NAME_LENGTH, searchable
from panel.models.settings import Server

PAGE_SIZE = 50
SORTS: dict[str, InstrumentedAttribute[object]] = {
    "sync_id": Server.sync_id,
    "name": Server.name_key,
    "store": Server.store_key,
    "user_name": Server.user_name_key,
    "url": Server.url,
    "hardware_id": Server.hardware_id,
    "last_success_at": Server.last_success_at,
}
_MAY_BE_NULL = {"hardware_id", "last_success_at"}
_SEARCHED = (Server.name_key, Server.store_key, Server.user_name_key)
_LAST_CHARACTER = "\U0010ffff"
_listed = Server.removed_at.is_(None)
_COUNT = select(func.count()).where(_listed)


@dataclass
class Listing:
    """One page of the list: ``count`` of ``total`` rows match; ``page`` counts from 1."""

    rows: list[Server]
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
        query = query.where(or_(*_ranges(prefix)))
        count = session.scalar(query.order_by(None).with_only_columns(func.count())) or 0
    pages = max(1, -(-count // PAGE_SIZE))
    page = min(max(1, page), pages)
    rows = session.scalars(
        query.limit(PAGE_SIZE).offset(bindparam("skipped")), {"skipped": (page - 1) * PAGE_SIZE}
    )
    return Listing(list(rows), count, total, page, pages)


def _ranges(prefix: str) -> Iterator[ColumnElement[bool]]:
    for column in _SEARCHED:
        yield column.between(prefix, prefix + _LAST_CHARACTER)
    if prefix.isascii() and prefix.isdecimal() and not prefix.startswith("0"):
        # 12 is a prefix of 12, of 120 to 129, of 1200 to 1299, and so on.
        lowest, width = int(prefix), 1
        while lowest <= HIGHEST_SYNC_ID:
            yield Server.sync_id.between(lowest, min(lowest + width - 1, HIGHEST_SYNC_ID))
            lowest, width = lowest * 10, width * 10


# Made once for each order: making a statement takes longer than running it.
@lru_cache(maxsize=2 * len(SORTS))
def _sorted(sort: str, *, descending: bool) -> Select[Server]:
    """Return the rows by a column, then by Sync ID; NULL is the lowest on every database."""
    column = SORTS.get(sort, Server.sync_id)
    order = column.desc() if descending else column.asc()
    if sort in _MAY_BE_NULL:
        order = order.nulls_last() if descending else order.nulls_first()
    return select(Server).where(_listed).order_by(order, Server.sync_id)
