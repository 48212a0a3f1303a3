"""The headers and attributes of htmx in one module, and what caches must know because of them."""

import re
from typing import Any

from flask import Flask, Response, redirect, url_for
from htmx_flask import Htmx, request
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as AnyResponse

# The region of every page for a sentence that belongs to no form (templates/base.html).
NOTICE = "#notice"
# The slot of a form for the question for the authorisation code, seen from the form itself.
PROMPT = "find .prompt"
# Where a view may say the swap of a region whole, or of what is inside it.
INSIDE, WHOLE, NOTHING = "innerHTML", "outerHTML", "none"


def init_htmx(app: Flask) -> None:
    """Let requests know whether htmx sent them, and let caches know that it matters."""
    Htmx(app)
    app.jinja_env.globals.update(
        post_to=post_to, get_from=get_from, oob_if=oob_if, focus_if=focus_if
    )
    app.after_request(_tell_caches)


def is_fragment() -> bool:
    """Say whether the answer is to be swapped into a page that stands.

    A history restore wants the whole page back, and htmx-flask 0.1 does not know that.
    """
    return bool(request.htmx) and not request.htmx.history_restore_request


def back_to_page(endpoint: str = "page.show", **query: Any) -> AnyResponse:
    """Answer a plain post: get the page (303), so that loading it again sends nothing twice."""
    return redirect(url_for(endpoint, **query), 303)


def leave_for(url: str) -> AnyResponse:
    """Send the whole browser to ``url``, one of our own: by 303, or by htmx's word for it."""
    if is_fragment():
        return Response(status=204, headers={"HX-Redirect": url})
    return redirect(url, 303)


def retarget(html: str, target: str, swap: str = INSIDE, status: int = 200) -> Response:
    """Return ``html`` as a fragment that goes to ``target`` instead of where the form says."""
    return Response(html, status, {"HX-Retarget": target, "HX-Reswap": swap})


def _tell_caches(response: Response) -> Response:
    response.vary.add("HX-Request")
    if "Cache-Control" not in response.headers:
        # A page may be kept by its browser, which asks each time whether it is still good.
        response.headers["Cache-Control"] = "no-store" if is_fragment() else "private, no-cache"
    if response.mimetype == "text/html":
        # UTF-8 is what a script takes a text for that says nothing else, and what a page says.
        response.headers["Content-Type"] = "text/html"
    return response


# A row's number on the largest database, in decimal digits.
_NUMBER = re.compile(r"[0-9]{1,18}")


def number_in_address(name: str) -> int | None:
    """Return the whole number that the address gives for ``name``; None for anything else."""
    text = request.args.get(name, "")
    return int(text) if _NUMBER.fullmatch(text) else None


_FOCUS, _OOB, _NONE = Markup(" autofocus"), Markup(' hx-swap-oob="true"'), Markup()


def post_to(url: str, target: str) -> Markup:
    """Return the attributes that say where a form goes, with script and without."""
    url, target = escape(url), escape(target)
    return Markup(f' method="post" action="{url}" hx-post="{url}" hx-target="{target}"')  # noqa: S704


def get_from(url: str, target: str) -> Markup:
    """Return the attributes of a link that swaps: the script asks for its href."""
    # Not Markup.format, which takes five times as long: a list asks for one in each row.
    return Markup(f' href="{escape(url)}" hx-get hx-target="{escape(target)}"')  # noqa: S704


def oob_if(oob: object) -> Markup:
    """Return the attribute of a part that finds its place by its id, if it is such a one."""
    return _OOB if oob else _NONE


def focus_if(yes: object) -> Markup:
    """Return the attribute of what gets the focus."""
    return _FOCUS if yes else _NONE
