"""Where in the list of servers the reader is: what is looked for, the order, the page."""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from flask import request, url_for
from werkzeug.datastructures import MultiDict

from panel.models.base import NAME_LENGTH
from panel.preferences.server_list import BY_STATE, SORTS, Look, ServerState
from panel.web.base.htmx import is_fragment

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
