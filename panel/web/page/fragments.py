"""The page: all of the screen at once, or the few parts of it that an answer brings up to date."""

from typing import Any

from flask import (
    Blueprint,
    Response,
    current_app,
    make_response,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from panel.models.settings import Settings
from panel.web.auth.lock import unlocked_now
from panel.web.base.context import installation
from panel.web.base.htmx import INSIDE, back_to_page, is_fragment, retarget
from panel.web.page.data import PageData, named, protocols
from panel.web.page.list_place import current_place, url_pattern

blueprint = Blueprint("page", __name__)

# What is different once the list was sorted, searched or turned; a question was about rows gone.
_LIST = ("rows.html", "head.html", "count.html", "pager.html", "question.html")
# What is different once the lock was opened or closed; the rows of the list see it by the bar.
LOCKABLE = ("bar.html", "parameters.html", "toolbar.html")

blueprint.add_app_template_global(named)
blueprint.add_app_template_global(protocols)
blueprint.add_app_template_global(url_pattern)


@blueprint.app_template_global()
def has_endpoint(name: str) -> bool:
    """Say whether some module of this installation answers as ``name``."""
    return name in current_app.view_functions


@blueprint.get("/")
def show() -> ResponseReturnValue:
    """Show the page; nothing but its list to htmx, which sorts, finds and turns pages so."""
    with installation().database.reading() as session:
        screen = PageData(session)
        if is_fragment():
            parts = _parts(screen, _LIST, brief=True)
            address = url_for("page.show", **screen.place.query())
            return Response(parts, headers={"HX-Replace-Url": address})
        version = screen.version()
        if request.if_none_match.contains_weak(version):
            page = Response(status=304)
        else:
            page = make_response(render_template("page.html", screen=screen))
    page.set_etag(version, weak=True)
    return page


def full_page(**opened: Any) -> str:
    """Return the page with a form of it ``opened``, as who has no scripting needs it."""
    with installation().database.reading() as session:
        return render_template("page.html", screen=PageData(session), **opened)


def show_part(name: str, status: int = 200, **opened: Any) -> Response:
    """Answer with the part of the page in the template ``name``, or the page with it ``opened``."""
    if not is_fragment():
        return make_response(full_page(**opened), status)
    with installation().database.reading() as session:
        return Response(_parts(PageData(session), (name, *_about_lock()), **opened), status)


def after_change(*names: str, anchor: str, **shown: Any) -> ResponseReturnValue:
    """Answer a change that was made: with the parts it concerns, or 303 back to the page.

    The first of the templates ``names`` takes the place of the form, the others are elsewhere on
    the page. ``said`` is announced; ``focus`` names the part that gets it, by default the first.
    """
    if not is_fragment():
        return back_to_page(_anchor=anchor, **current_place().query())
    with installation().database.reading() as session:
        return Response(_parts(PageData(session), (*names, *_about_lock(), "said.html"), **shown))


def whole_page(anchor: str, **shown: Any) -> ResponseReturnValue:
    """Answer a change that concerns every part of the page."""
    if not is_fragment():
        return back_to_page(_anchor=anchor, **current_place().query())
    with installation().database.reading() as session:
        names = ("main.html", "who.html", "said.html")
        parts = _parts(PageData(session), names, focus=anchor, **shown)
        return retarget(parts, "main", INSIDE)


def parameters_are_open() -> bool:
    """Say whether the reader's page has the parameters as fields, in which somebody may type."""
    return request.values.get("parameters") != "text"


def unlocked_parts() -> tuple[str, ...]:
    """Name the parts that look different once the lock was opened.

    Where it ran out while somebody typed, the fields stand open still and stay as they are. The
    toolbar may hold the question for the code then.
    """
    return ("bar.html", "toolbar.html") if parameters_are_open() else LOCKABLE


def about_count() -> tuple[str, ...]:
    """Name the parts that look different once servers came or went."""
    with installation().database.reading() as session:
        is_satellite = session.get_one(Settings, 1).is_satellite
    # A satellite, which lists its primary only, may have come to its end of adding.
    return ("toolbar.html", "status.html") if is_satellite else ("count.html", "state.html")


def _about_lock() -> tuple[str, ...]:
    """Name the parts that look different because this very request opened the lock."""
    return unlocked_parts() if unlocked_now() else ()


def _parts(screen: PageData, names: tuple[str, ...], **context: Any) -> str:
    context.setdefault("focus", names[0].removesuffix(".html"))
    first, *others = dict.fromkeys(names)
    parts = [render_template(first, screen=screen, **context)]
    for name in others:
        part = render_template(name, screen=screen, oob=True, **context)
        # In a <template>, since a row of a table and a section cannot stand side by side.
        parts.append(f"<template>{part}</template>")
    return "".join(parts)
