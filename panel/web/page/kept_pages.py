"""Pages that were shown a moment ago, kept as they were sent while nothing changes.

A page is drawn from a dozen queries and two hundred calls of templates. Whoever sends the very same
request again, every header and cookie alike, in the same minute and of the same data, gets the same
bytes. What lets people in is data too: whoever was shut out meanwhile is asked anew.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

from flask import request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from panel import clock
from panel.db import Database
from panel.web.base.proxy import TRUSTED_PEER
from panel.web.page.mark import data_mark

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# A page is about 5 kB compressed; many more readers at once than a site has.
MOST_PAGES = 64
# Not compressed, a page of 50 servers with all its forms has a fifth of it.
LARGEST_PAGE_BYTES = 256 * 1024
# Where a view finds the wish that it may make for its answer.
_WISH = "panel.keep"
_MINUTE = timedelta(minutes=1)


@dataclass
class _Wish:
    """Until when an answer may be sent again."""

    until: datetime | None = None


@dataclass(frozen=True)
class _Kept:
    """An answer, and what has to be so still for it to be sent again."""

    answer: Response
    mark: Hashable
    drawn_at: datetime
    until: datetime


def keep_until(*ends: datetime | None) -> None:
    """Let this answer be sent again to the same request, within the minute and before all ``ends``.

    Within the minute, since the page says how long ago things were.
    """
    minute_ends_at = clock.now().replace(second=0, microsecond=0) + _MINUTE
    wish: _Wish = request.environ.get(_WISH, _Wish())
    wish.until = min([minute_ends_at, *filter(None, ends)])


class KeptPages:
    """WSGI middleware that answers for ``path``, where it can, before anything else is asked."""

    def __init__(self, app: "WSGIApplication", database: Database, path: str) -> None:
        self._app = app
        self._database = database
        self._path = path
        self._pages: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = Lock()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if not self._may_be_kept(environ):
            return self._app(environ, start_response)
        # Before anything that the page is drawn from, so that no change falls in between.
        mark, key, now = self._mark(), _everything_said(environ), clock.now()
        with self._lock:
            kept = self._pages.get(key)
        if kept and mark is not None and kept.mark == mark and kept.drawn_at <= now < kept.until:
            return kept.answer(environ, start_response)
        wish = _Wish()
        answer = Response.from_app(self._app, {**environ, _WISH: wish}, buffered=True)
        if mark is not None and wish.until and _is_good_again(answer):
            self._keep(key, _Kept(answer, mark, now, wish.until))
        return answer(environ, start_response)

    def _may_be_kept(self, environ: "WSGIEnvironment") -> bool:
        # Strangers, who bring no cookie, get no page and shall cost no query.
        asks_for_it = environ["REQUEST_METHOD"] == "GET" and environ.get("PATH_INFO") == self._path
        return asks_for_it and "HTTP_COOKIE" in environ

    def _mark(self) -> Hashable | None:
        try:
            with self._database.reading() as session:
                return tuple(data_mark(session))
        except SQLAlchemyError:
            # The application says so, in its own way.
            return None

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        with self._lock:
            self._pages[key] = kept
            self._pages.move_to_end(key)
            while len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)


def _is_good_again(answer: Response) -> bool:
    is_whole = answer.status_code in (200, 304) and "Set-Cookie" not in answer.headers
    return is_whole and len(answer.get_data()) <= LARGEST_PAGE_BYTES


def _everything_said(environ: "WSGIEnvironment") -> Hashable:
    """Return all that is known of who asks, and for what."""
    place = ("wsgi.url_scheme", "SCRIPT_NAME", "QUERY_STRING", "REMOTE_ADDR", TRUSTED_PEER)
    said = sorted(one for one in environ.items() if one[0].startswith("HTTP_"))
    return tuple(environ.get(name) for name in place), tuple(said)
