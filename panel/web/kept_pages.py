"""Pages that were shown a moment ago, kept as they were sent while nothing changes.

A page is drawn from a dozen queries and two hundred calls of templates. Whoever asks again for the
same page, of the same data, in the same minute, gets the same bytes, its masked token included: the
token is the session's own, and a page that reflects anything else has another address and another
mask (see panel.web.csrf).
"""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import cast

from flask import Flask, Response, current_app, g, request, session
from flask_babel import get_locale
from sqlalchemy.orm import Session

from panel import clock
from panel.preferences.mark import data_mark
from panel.web.embed import is_framed
from panel.web.session import CSRF, current_person
from panel.web.unlock_cookie import open_unlock

# A page is about 5 kB compressed; many more readers at once than a site has.
MOST_PAGES = 64

_NAME = "kept_pages"


class KeptPages:
    """The last pages that were sent, by everything that they depend on."""

    def __init__(self) -> None:
        self._pages: OrderedDict[Hashable, Response] = OrderedDict()
        self._lock = Lock()

    def find(self, key: Hashable) -> Response | None:
        """Return the page that was sent for ``key``, to be sent again."""
        with self._lock:
            page = self._pages.get(key)
        return _copy(page) if page else None

    def keep(self, key: Hashable, page: Response) -> None:
        """Remember ``page`` for ``key``, and forget the oldest beyond what there is room for."""
        with self._lock:
            self._pages[key] = _copy(page)
            while len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)


def page_key(data: Session) -> Hashable:
    """Return everything that a page asked for by this request depends on."""
    person = current_person()
    unlock = open_unlock()
    return (
        tuple(data_mark(data)),
        clock.now().replace(second=0, microsecond=0),
        (request.script_root, request.full_path, request.is_secure, is_framed()),
        str(get_locale()),
        (request.headers.get("Accept-Encoding"), request.headers.get("Save-Data")),
        session.get(CSRF),
        person and (person.id, person.generation, person.version),
        unlock and (unlock.expires_at, unlock.generation),
    )


def keep_this(key: Hashable) -> None:
    """Have this request's answer kept once it is whole, compressed and with its headers."""
    g.kept_page_key = key


def init_kept_pages(app: Flask) -> None:
    """Keep what views ask to be kept, after everything else was done to it."""
    app.extensions[_NAME] = KeptPages()
    app.after_request(_keep_asked)


def kept_pages() -> KeptPages:
    """Return the kept pages of the application that answers this request."""
    return cast(KeptPages, current_app.extensions[_NAME])


def _keep_asked(response: Response) -> Response:
    if "kept_page_key" in g and response.status_code == 200:
        kept_pages().keep(g.kept_page_key, response)
    return response


def _copy(page: Response) -> Response:
    return Response(page.get_data(), page.status_code, page.headers)
