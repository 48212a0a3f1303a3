"""The panel inside another page, in a frame: what keeps it there, and that its cookies come back.

Whoever shows it asks for ``embed=1``. Every address that such an answer names carries it on, and
``framed=1`` beside it where the frame is another site's: that only the frame's first request tells,
and cookies depend on it (see panel.web.auth.session).
"""

from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Flask, Response, current_app, request
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
    """Keep embedded pages embedded, and tell who cannot work in a frame where they can."""
    app.url_defaults(_carry_on)
    app.before_request(_tell_of_lost_cookie)
    app.jinja_env.globals.update(
        embedded=is_embedded,
        framed=is_framed,
        embed_fields=embed_fields,
        hosts=" ".join(installation_of(app).config.embed_origins),
    )


def is_embedded() -> bool:
    """Say whether the answer is a part of another page: without a header of its own."""
    return request.args.get(EMBED) == "1"


def is_framed() -> bool:
    """Say whether a frame in a page of another site sends this, under https.

    The answer is no where that cannot be told (browsers before 2023), or is not wanted.
    """
    if not (request.is_secure and installation().config.embed_origins):
        return False
    destination = request.headers.get("Sec-Fetch-Dest", "document")
    if destination == "iframe" and request.headers.get("Sec-Fetch-Site") == "cross-site":
        return True
    # What leads out of the frame, to a tab, is no more in it whatever the address says.
    return destination != "document" and request.args.get(FRAMED) == "1"


def embed_query() -> dict[str, str]:
    """Return what every address of the answer carries, so that it leads to where this one is."""
    places = {EMBED: is_embedded(), FRAMED: is_framed()}
    return {name: "1" for name, is_here in places.items() if is_here}


def with_embed_query(path: str) -> str:
    """Return ``path``, one of ours, with what this request's address carries."""
    if not embed_query():
        return path
    address, _, query = path.partition("?")
    values = dict.fromkeys([*parse_qsl(query), *embed_query().items()])
    return f"{address}?{urlencode(list(values))}"


def embed_fields() -> Markup:
    """Return what a form needs that is sent with GET, which forgets the query of its address."""
    if is_fragment():
        return Markup()
    field = Markup('<input type="hidden" name="{}" value="{}">')
    return Markup().join(field.format(*one) for one in embed_query().items())


def _carry_on(_endpoint: str, values: dict[str, Any]) -> None:
    for name, value in embed_query().items():
        # Unless the address says None, for what is to leave the frame.
        values.setdefault(name, value)


def _tell_of_lost_cookie() -> Response | None:
    """Answer a form whose page was given a cookie that did not come back, instead of asking again.

    Each of our pages gives one. Without it there is no signing in, however often one tries.
    """
    in_frame = embed_query() or request.headers.get("Sec-Fetch-Dest") == "iframe"
    if request.method != "POST" or not in_frame:
        return None
    cookie = current_app.session_interface.get_cookie_name(current_app)
    if cookie in request.cookies:
        return None
    return error_response(400, "no_cookie", _NO_COOKIE, "no_cookie.html")
