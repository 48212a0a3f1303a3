"""The status line: how sync stands in one line, for every page that knows its address.

The address holds a key that nobody can guess, so it needs no session: any page may show the line,
and any script may read it. It names neither a person nor a server.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple, cast

from flask import Blueprint, Flask, Response, current_app, render_template, request
from flask_babel import gettext as _
from markupsafe import Markup
from sqlalchemy.orm import Session

from panel import clock
from panel.accounts.tokens import opens_status
from panel.i18n import Message, say
from panel.status.sentences import Severity
from panel.status.state import read_state
from panel.web.base.assets import Assets
from panel.web.base.context import installation
from panel.web.base.embed import Look, hash_source, parse_look
from panel.web.base.language import show

blueprint = Blueprint("status_line", __name__, url_prefix="/status/<key>")

_LAST_LINE = "panel.status_line"
# However many pages ask: within this time the state is read once.
_READ_AGAIN_AFTER = timedelta(seconds=5)
# How long caches may keep an answer, and how often the page of the line loads itself again.
_CACHE_SECONDS, _REFRESH_SECONDS = 60, 300
_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": f"public, max-age={_CACHE_SECONDS}",
    "Cross-Origin-Resource-Policy": "cross-origin",
    # The language is that of the cookie, where the browser has one.
    "Vary": "Accept-Language, Cookie",
}
_NOTHING = say("There is nothing at this address.")
# The shape of each, as the page has it, and the name of its colour in panel.css.
_SHAPES: Mapping[Severity, tuple[str, str]] = {
    Severity.WELL: ("●", "good"),
    Severity.LATE: ("▲", "warn"),
    Severity.VERY_LATE: ("■", "bad"),
    Severity.WORKING: ("◐", "go"),
    Severity.WAITING: ("◐", "mute"),
    Severity.OFF: ("○", "mute"),
    Severity.NOT_SEEN: ("○", "mute"),
}
# About as wide as a letter of 15 px, so that the picture is wide enough for its words.
_LETTER_PIXELS, _MARGIN_PIXELS = 8, 30


class Line(NamedTuple):
    """What the line says: the state in words that name nobody, how bad it is, and who acts.

    ``state``, ``severity`` and ``acts`` are as in :class:`panel.status.state.State`.
    """

    state: str
    words: Message
    severity: Severity
    acts: str
    last_success_at: datetime | None


class LastLine:
    """The line as this process read it last, for whoever asks within some seconds."""

    def __init__(self) -> None:
        self._read_at: datetime | None = None
        self._line: Line | None = None

    def line(self, session: Session) -> Line:
        """Return the line, read in ``session`` if the last one is too old."""
        now = clock.now()
        age = None if self._read_at is None else now - self._read_at
        # The clock may have been set back.
        is_fresh = age is not None and timedelta() <= age < _READ_AGAIN_AFTER
        if self._line is None or not is_fresh:
            state = read_state(session, now)
            self._line = Line(
                state.kind, state.nameless, state.severity, state.acts, state.last_success_at
            )
            self._read_at = now
        return self._line


def init_status_line(app: Flask) -> None:
    """Register the addresses on ``app``."""
    app.extensions[_LAST_LINE] = LastLine()
    app.register_blueprint(blueprint)


@blueprint.get("/")
def show_line(key: str) -> Response:
    """Answer with the line as a page, for a frame."""
    line = _read(key)
    if line is None:
        return _nothing()
    shape, colour = _SHAPES[line.severity]
    style = _style(_look(), colour)
    page = render_template(
        "status_line.html",
        line=line,
        shape=shape,
        style=Markup(style),  # noqa: S704 - ours, but for the font, which was checked
        refresh=_REFRESH_SECONDS,
    )
    policy = f"default-src 'none';style-src '{hash_source(style)}';frame-ancestors *"
    return _answer(page, "text/html", {"Content-Security-Policy": policy})


@blueprint.get("/status.json")
def show_facts(key: str) -> Response:
    """Answer with what the line says, for a script."""
    line = _read(key)
    if line is None:
        return _nothing()
    at = line.last_success_at
    facts = {
        "state": line.state,
        "words": show(line.words),
        "severity": line.severity,
        "acts": line.acts,
        "last_success_at": at.isoformat() if at else None,
    }
    return _answer(json.dumps(facts, ensure_ascii=False), "application/json")


@blueprint.get("/status.svg")
def show_picture(key: str) -> Response:
    """Answer with the line as a picture, for an <img>."""
    line = _read(key)
    if line is None:
        return _nothing()
    shape, colour = _SHAPES[line.severity]
    look = _look()
    colours = _colours(_assets().style, look.theme)
    words = _("Synchronisation: %(state)s", state=show(line.words))
    picture = render_template(
        "status_line.svg",
        words=words,
        shape=shape,
        width=_LETTER_PIXELS * len(words) + _MARGIN_PIXELS,
        colour=colours[colour],
        ink=colours["ink"],
        font=look.font,
    )
    return _answer(picture, "image/svg+xml")


def _read(key: str) -> Line | None:
    """Return the line, None if ``key`` is not the one in its address."""
    last: LastLine = current_app.extensions[_LAST_LINE]
    # Not reading(), which would first write what this process remembers, for every page that asks.
    with installation().database.reading() as session:
        return last.line(session) if opens_status(session, key) else None


def _answer(text: str, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(text, 200, {**_HEADERS, **(headers or {})}, mimetype=media_type)
    # Weak, since it is compressed for whoever can read that.
    response.set_etag(hashlib.sha256(text.encode()).hexdigest()[:16], weak=True)
    return cast(Response, response.make_conditional(request))


def _nothing() -> Response:
    # As short as it can be, and for every page too: it may stand in one that does not know yet.
    headers = {**_HEADERS, "Cache-Control": "no-store"}
    return Response(show(_NOTHING), 404, headers, mimetype="text/plain")


def _look() -> Look:
    return parse_look(request.args.get("look", "")) or Look("light")


def _assets() -> Assets:
    return cast(Assets, current_app.extensions["assets"])


def _style(look: Look, colour: str) -> str:
    """Return the style of the line, whose shape has this ``colour`` of the page."""
    light, dark = (_colours(_assets().style, theme) for theme in ("light", "dark"))
    first = dark if look.theme == "dark" else light
    scheme = "light dark" if look.theme == "auto" else look.theme
    font = f'"{look.font}",system-ui' if look.font else "system-ui"
    text = (
        f":root{{color-scheme:{scheme}}}*{{margin:0}}"
        f"body{{font:1rem/1.5 {font},sans-serif;color:#{first['ink']}}}b{{color:#{first[colour]}}}"
        'time::after{content:" UTC"}'
    )
    if look.theme == "auto":
        others = f"body{{color:#{dark['ink']}}}b{{color:#{dark[colour]}}}"
        text += f"@media(prefers-color-scheme:dark){{{others}}}"
    return text


@cache
def _colours(style: str, theme: str) -> Mapping[str, str]:
    """Return the colours in the style of the page, by their names."""
    found = re.findall(r"--([a-z]+):#([0-9a-f]+)", style)
    # Those of the dark theme stand below the others.
    return dict(found if theme == "dark" else found[::-1])
