"""The panel embedded in a page of another application, in a frame.

The embedding page asks for ``embed=`` and how the panel is to look (:class:`Look`), and every URL
of the answer carries it on. ``framed=1`` beside it says that the frame is in another site: only the
first request of a frame says so, and the attributes of cookies depend on it
(panel.web.auth.session).
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from flask import Flask, Response, current_app, g, request
from markupsafe import Markup

from panel.i18n import say
from panel.web.base.assets import Assets
from panel.web.base.context import hide_name, installation, installation_of
from panel.web.base.errors import error_response
from panel.web.base.htmx import is_fragment

EMBED, FRAMED = "embed", "framed"
# Says that the answer before this request set a cookie.
PROBED = "probed"

_NO_COOKIE = say(
    "This browser keeps no cookies for the panel inside another site's page, so nobody can sign "
    "in or unlock here."
)
_NO_HTTPS = say(
    "Inside another site's page the panel needs https, which this one does not have: nobody can "
    "sign in or unlock here."
)
_NOT_LISTED = say(
    "The page around this may not show the panel. Whoever looks after the panel can list that "
    "page's address."
)


@dataclass(frozen=True)
class Look:
    """The look of an embedded page.

    ``theme`` is "light", "dark", or "auto" for what the reader's system says. ``accent`` is a
    colour of three or six hex digits, ``font`` the name of one on the reader's machine; both may be
    empty.
    """

    theme: str
    accent: str = ""
    font: str = ""

    def __str__(self) -> str:
        """Return it as an address has it, such as "dark,7be,Noto Sans"."""
        return ",".join((self.theme, self.accent, self.font)).rstrip(",")


class Style(NamedTuple):
    """The text of a page's style, and the hash that allows it in the CSP."""

    text: Markup
    hash: str


def init_embed(app: Flask) -> None:
    """Carry the embedding on in every URL, and explain a cookie that the browser does not keep."""
    app.url_defaults(_carry_on)
    app.before_request(_refuse_unlisted)
    app.before_request(_explain_lost_cookie)
    app.jinja_env.globals.update(
        url_for=_remembering_url_for(app),
        embedded=is_embedded,
        framed=is_framed,
        embed_fields=embed_fields,
        hosts=" ".join(installation_of(app).config.embed_origins),
        style=lambda: page_style().text,
    )


def is_embedded() -> bool:
    """Say whether the panel is embedded in another page, so that it has no header of its own."""
    return EMBED in embed_query()


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
        known = g.embed_query = {}
        if look := _known_look(request.args.get(EMBED, "")):
            known[EMBED] = look
        if is_framed():
            known[FRAMED] = "1"
    return known


def page_style() -> Style:
    """Return the style of this page: the panel's own, or as the page around it wants it."""
    assets: Assets = current_app.extensions["assets"]
    look = parse_look(embed_query().get(EMBED, ""))
    if look is None:
        return Style(assets.style, assets.style_hash)
    return _styled(assets.style, look)


# The accent has to be readable on the paper of the style, as WCAG 2.2 AA wants it.
_PAPERS, _LEAST_CONTRAST = {"light": "ffffff", "auto": "ffffff", "dark": "111820"}, 4.5
_THEME = re.compile("light|dark|auto")
_ACCENT = re.compile("[0-9a-fA-F]{3}|[0-9a-fA-F]{6}")
# Nothing that ends a string or a rule of CSS.
_FONT = re.compile("[A-Za-z0-9][A-Za-z0-9 -]{0,39}")


def _known_look(text: str) -> str:
    """Return ``text`` without a colour or font that cannot be; "" if it is no look at all."""
    return text if text == "1" else str(parse_look(text) or "")


def parse_look(text: str) -> Look | None:
    """Return the look that ``text`` of an address is, as in "dark,#7be,Noto Sans"; None if none.

    A colour or font that cannot be is left out.
    """
    if text == "1":
        return Look("light")
    theme, accent, font = (*text.split(",", 2), "", "")[:3]
    if not _THEME.fullmatch(theme):
        return None
    accent = accent.strip().removeprefix("#")
    return Look(
        theme,
        accent if _ACCENT.fullmatch(accent) else "",
        font.strip() if _FONT.fullmatch(font.strip()) else "",
    )


# As they stand in the built style.
_DARK, _SCHEMES = "@media screen and (prefers-color-scheme:dark)", "color-scheme:light dark"


@lru_cache(maxsize=32)
def _styled(style: Markup, look: Look) -> Style:
    """Return ``style`` changed so that it has this look."""
    text = str(style)
    if look.theme != "auto":
        media = "screen" if look.theme == "dark" else "not all"
        text = text.replace(_DARK, f"@media {media}").replace(_SCHEMES, "color-scheme:light")
    if look.theme == "dark":
        text += "@media screen{:root{color-scheme:dark}}"
    if look.accent and _contrast(look.accent, _PAPERS[look.theme]) >= _LEAST_CONTRAST:
        rule = f":root{{--go:#{look.accent}}}"
        text += f"@media(prefers-color-scheme:light){{{rule}}}" if look.theme == "auto" else rule
    if look.font:
        text += f'body{{font-family:"{look.font}",system-ui,sans-serif}}'
    return Style(Markup(text), hash_source(text))  # noqa: S704 - ours, but for what was checked


def hash_source(style: str) -> str:
    """Return the hash that allows ``style`` in a page, as its CSP writes it, without quotes."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours in hex digits, from 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


# Below it the curve of sRGB is a line.
_LINEAR_UP_TO = 0.04045


def _luminance(colour: str) -> float:
    """Return the relative luminance of a colour in hex digits (WCAG 2.2)."""
    size = len(colour) // 3
    parts = [int((colour[at : at + size] * 2)[:2], 16) / 255 for at in range(0, 3 * size, size)]
    red, green, blue = (
        part / 12.92 if part <= _LINEAR_UP_TO else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def with_embed_query(path: str) -> str:
    """Return ``path``, one of our own, with :func:`embed_query` added to its query."""
    if not embed_query():
        return path
    address, _, query = path.partition("?")
    values = dict.fromkeys([*parse_qsl(query), *embed_query().items()])
    return f"{address}?{urlencode(list(values))}"


def embed_fields() -> Markup:
    """Return :func:`embed_query` as hidden fields, for a form with GET, which drops its query."""
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


def has_cookie() -> bool:
    """Say whether the browser sent the cookie that every page of ours sets."""
    name = current_app.session_interface.get_cookie_name(current_app)
    return name in request.cookies


def _explain_lost_cookie() -> Response | None:
    """Explain that the browser did not send back the cookie of the answer before.

    Without it nobody can sign in, however often they try.
    """
    in_frame = embed_query() or request.headers.get("Sec-Fetch-Dest") == "iframe"
    is_due = request.method == "POST" or PROBED in request.args
    if not (in_frame and is_due) or has_cookie():
        return None
    words = _NO_COOKIE if request.is_secure else _NO_HTTPS
    return error_response(400, "no_cookie", words, "no_cookie.html")


# What Sec-Fetch-Dest says of a page within another; browsers before 2023 say nothing.
_FRAMES = ("", "iframe", "frame", "embed", "object")


def _refuse_unlisted() -> Response | None:
    """Explain to a page that may not show the panel why it does not.

    The browser would show only that it refused to connect. This answer alone may stand in any page:
    it holds nothing but the sentence, and a link that leaves the frame.
    """
    if request.method != "GET" or not is_embedded() or is_fragment() or not _is_asked_by_host():
        return None
    try:
        around = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        # No browser sends such a one. As without any, the policy of the page decides.
        return None
    listed = installation().config.embed_origins
    if around.netloc in ("", request.host) or f"{around.scheme}://{around.netloc}" in listed:
        return None
    hide_name()
    g.may_stand_anywhere = True
    return error_response(403, "not_listed", _NOT_LISTED, "no_cookie.html")


def _is_asked_by_host() -> bool:
    """Say whether the page around a frame may have asked for this, and not a page of the panel."""
    headers = request.headers
    is_frame = headers.get("Sec-Fetch-Dest", "") in _FRAMES
    return is_frame and headers.get("Sec-Fetch-Site") not in ("same-origin", "none")
