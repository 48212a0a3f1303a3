"""The panel embedded in a page of another application, in a frame.

The embedding page asks for ``embed=1``, and every URL of the answer carries it on. ``framed=1``
beside it says that the frame is in another site: only the first request of a frame says so, and
the attributes of cookies depend on it (panel.web.auth.session).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Flask, Response, current_app, g, request
from markupsafe import Markup

from panel.i18n import say
from panel.web.base.context import installation, installation_of
from panel.web.base.errors import error_response
from panel.web.base.htmx import is_fragment

EMBED, FRAMED = "embed", "framed"

_NO_COOKIE = say(
    "This browser keeps no cookies for the panel inside another site's page, so nobody can sign "
    "in or unlock here."
)


def init_embed(app: Flask) -> None:
    """Carry the embedding on in every URL, and explain a cookie that the browser does not keep."""
    app.url_defaults(_carry_on)
    app.before_request(_explain_lost_cookie)
    app.jinja_env.globals.update(
        url_for=_remembering_url_for(app),
        embedded=is_embedded,
        framed=is_framed,
        embed_fields=embed_fields,
        hosts=" ".join(installation_of(app).config.embed_origins),
    )


def is_embedded() -> bool:
    """Say whether the panel is embedded in another page, so that it has no header of its own."""
    return request.args.get(EMBED) == "1"


def is_framed() -> bool:
    """Say whether the request comes from a frame in a page of another site, under https.

    False where the browser does not say so (before 2023) or no origin may embed the panel.
    """
    if not (request.is_secure and installation().config.embed_origins):
        return False
    destination = request.headers.get("Sec-Fetch-Dest", "document")
    if destination == "iframe" and request.headers.get("Sec-Fetch-Site") == "cross-site":
        return True
    # A link that opens a tab has left the frame, whatever its URL says.
    return destination != "document" and request.args.get(FRAMED) == "1"


def embed_query() -> dict[str, str]:
    """Return the query parameters that carry the embedding on: ``embed``, ``framed`` or none."""
    # Every URL of a page asks for them.
    known: dict[str, str] | None = g.get("embed_query")
    if known is None:
        flags = {EMBED: is_embedded(), FRAMED: is_framed()}
        known = g.embed_query = {name: "1" for name, is_set in flags.items() if is_set}
    return known


def with_embed_query(path: str) -> str:
    """Return ``path``, one of our own, with :func:`embed_query` added to its query."""
    if not embed_query():
        return path
    address, _, query = path.partition("?")
    values = dict.fromkeys([*parse_qsl(query), *embed_query().items()])
    return f"{address}?{urlencode(list(values))}"


def embed_fields() -> Markup:
    """Return :func:`embed_query` as hidden fields, for a form with GET, which drops its query."""
    if is_fragment():
        return Markup()
    field = Markup('<input type="hidden" name="{}" value="{}">')
    return Markup().join(field.format(*one) for one in embed_query().items())


def _remembering_url_for(app: Flask) -> Callable[..., str]:
    """Return a ``url_for`` of paths for templates, of which each page has the same twenty."""

    # Werkzeug takes ten times as long to put one together.
    @lru_cache(maxsize=1_000)
    def path_of(script_root: str, endpoint: str, values: tuple[tuple[str, Any], ...]) -> str:
        return app.url_map.bind("", script_name=script_root).build(endpoint, dict(values))

    def url_for(endpoint: str, **values: Any) -> str:
        _carry_on(endpoint, values)
        return path_of(request.script_root, endpoint, tuple(values.items()))

    return url_for


def _carry_on(_endpoint: str, values: dict[str, Any]) -> None:
    for name, value in embed_query().items():
        # A link that leaves the frame says None, which stays.
        values.setdefault(name, value)


def _explain_lost_cookie() -> Response | None:
    """Explain that the browser did not send back the cookie that every page of ours sets.

    Without it nobody can sign in, however often they try.
    """
    in_frame = embed_query() or request.headers.get("Sec-Fetch-Dest") == "iframe"
    if request.method != "POST" or not in_frame:
        return None
    cookie = current_app.session_interface.get_cookie_name(current_app)
    if cookie in request.cookies:
        return None
    return error_response(400, "no_cookie", _NO_COOKIE, "no_cookie.html")
