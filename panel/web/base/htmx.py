"""The headers and attributes of htmx, and the headers that caches need because of them."""

import re
from typing import Any

from flask import Flask, Response, redirect, url_for
from htmx_flask import Htmx, request
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as AnyResponse

# The region of every page for a sentence that belongs to no form (templates/base.html).
NOTICE = "#notice"
# The place in a form where the authorisation code is asked for; a selector relative to the form.
PROMPT = "find .prompt"
# How a fragment is swapped in: it replaces what is inside its target, or the target, or nothing.
INSIDE, WHOLE, NOTHING = "innerHTML", "outerHTML", "none"


def init_htmx(app: Flask) -> None:
    """Give requests ``request.htmx``, templates the attributes below, and answers cache headers."""
    Htmx(app)
    app.jinja_env.globals.update(
        post_to=post_to, get_from=get_from, oob_if=oob_if, focus_if=focus_if
    )
    app.after_request(_tell_caches)


def is_fragment() -> bool:
    """Say whether the answer to this request is swapped into an open page.

    To restore a page of its history, htmx needs the whole page; htmx-flask 0.1 does not know that.
    """
    return bool(request.htmx) and not request.htmx.history_restore_request


def back_to_page(endpoint: str = "page.show", **query: Any) -> AnyResponse:
    """Return a redirect (303) to ``endpoint``, the answer to a post without script.

    The browser then gets the page, so that reloading it does not send the post again.
    """
    return redirect(url_for(endpoint, **query), 303)


def leave_for(url: str) -> AnyResponse:
    """Return an answer that takes the browser to the page ``url``, one of our own.

    It is a redirect (303), or the header ``HX-Redirect`` for a request of htmx.
    """
    if is_fragment():
        return Response(status=204, headers={"HX-Redirect": url})
    return redirect(url, 303)


def retarget(html: str, target: str, swap: str = INSIDE, status: int = 200) -> Response:
    """Return ``html`` as a fragment for ``target`` (a CSS selector), whatever the form says."""
    return Response(html, status, {"HX-Retarget": target, "HX-Reswap": swap})


def not_kept(response: Response) -> Response:
    """Return ``response``, which shows or sends a secret once, so that no browser keeps it."""
    response.headers["Cache-Control"] = "no-store"
    return response


def _tell_caches(response: Response) -> Response:
    response.vary.add("HX-Request")
    if "Cache-Control" not in response.headers:
        # The browser may keep a page, but asks each time whether it is still valid.
        response.headers["Cache-Control"] = "no-store" if is_fragment() else "private, no-cache"
    if response.mimetype == "text/html":
        # Without a charset, to save bytes: scripts take such a text for UTF-8, and pages say so.
        response.headers["Content-Type"] = "text/html"
    return response


# The id of a row, in at most as many decimal digits as a database takes.
_NUMBER = re.compile(r"[0-9]{1,18}")


def number_in_address(name: str) -> int | None:
    """Return the whole number that the query of the URL has for ``name``; None if there is none."""
    text = request.args.get(name, "")
    return int(text) if _NUMBER.fullmatch(text) else None


_FOCUS, _OOB, _NONE = Markup(" autofocus"), Markup(' hx-swap-oob="true"'), Markup()


def post_to(url: str, target: str) -> Markup:
    """Return the attributes of a form that swaps: the script sends it to its action."""
    return Markup(f' method="post" action="{escape(url)}" hx-post hx-target="{escape(target)}"')  # noqa: S704


def get_from(url: str, target: str) -> Markup:
    """Return the attributes of a link that swaps: the script asks for its href."""
    # Not Markup.format, which takes five times as long: a list asks for one in each row.
    return Markup(f' href="{escape(url)}" hx-get hx-target="{escape(target)}"')  # noqa: S704


def oob_if(oob: object) -> Markup:
    """Return the attribute that swaps an element by its id, out of band; nothing unless ``oob``."""
    return _OOB if oob else _NONE


def focus_if(yes: object) -> Markup:
    """Return the attribute that gives an element the focus; nothing unless ``yes``."""
    return _FOCUS if yes else _NONE
