"""The page: all of the screen at once, or the few parts of it that an answer brings up to date."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from flask import Blueprint, Response, current_app, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from panel.i18n import Message
from panel.models.settings import Server
from panel.operations.connection_test import Trial
from panel.web.auth.lock import unlocked_now
from panel.web.base.context import reading
from panel.web.base.htmx import INSIDE, back_to_page, is_fragment, retarget
from panel.web.page.data import (
    PageData,
    bar_height,
    current_place,
    due,
    named,
    protocols,
    url_pattern,
)
from panel.web.page.forms import IntervalForm, PanelForm, ParametersForm, ServerForm

blueprint = Blueprint("page", __name__)

# What is different once the list was sorted, searched or turned; a question was about rows gone.
_LIST = ("rows.html", "head.html", "count.html", "pager.html", "question.html")

blueprint.add_app_template_global(bar_height)
blueprint.add_app_template_global(due)
blueprint.add_app_template_global(named)
blueprint.add_app_template_global(protocols)
blueprint.add_app_template_global(url_pattern)


@blueprint.app_template_global()
def has_endpoint(name: str) -> bool:
    """Say whether some module of this installation answers as ``name``."""
    return name in current_app.view_functions


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page's templates know besides its data: each of them gets all of it.

    Forms are those that stand open because of this request; without them a template shows what is
    saved. ``focus`` names the part that gets it, "" none, and None that of the first.
    """

    interval_form: IntervalForm | None = None
    parameters_form: ParametersForm | None = None
    shared_form: PanelForm | None = None
    theirs_form: PanelForm | None = None
    applicant_form: PanelForm | None = None
    undo_form: PanelForm | None = None
    act_form: PanelForm | None = None
    # A new row as fields, or the row of ``server``, whose fields are ``form``; ``of`` tells its
    # fields from those of other forms.
    new_form: ServerForm | None = None
    server: Server | None = None
    form: ServerForm | None = None
    of: str = ""
    # The act that is asked about before it is done, and of which form the code is asked for.
    asking: str = ""
    asked: str | int = ""
    # Its Sync ID and its Hardware ID.
    asked_applicant: tuple[int, str] | None = None
    # Rows to be removed, that were removed just now, and that were put back; ``gone`` are the ids
    # whose places the reader's page still holds.
    removing: Sequence[Server] = ()
    removed: Sequence[Server] = ()
    restored: Sequence[Server] = ()
    gone: Sequence[int] = ()
    dialog: bool = False
    refusal: Message | None = None
    problem: Message | None = None
    trial: Trial | None = None
    as_typed: bool = False
    said: str = ""
    focus: str | None = None
    # Of a part that finds its place by its id, and of one whose times only script reads.
    oob: bool = False
    brief: bool = False


def draw(screen: PageData, template: str, shown: Shown) -> str:
    """Return ``template``, the page or a part of it."""
    return render_template(template, screen=screen, **vars(shown))


class Changed(Enum):
    """What an act of a person changed."""

    INTERVAL = auto()
    # It was 0 and is no more, or the other way: Sync now can be pressed again, or no more.
    PAUSE = auto()
    PARAMETERS = auto()
    OWN_URL = auto()
    PASSWORD = auto()
    ROW = auto()
    ROW_ADDED = auto()
    ROW_URL = auto()
    # Its Hardware ID or its own password is gone.
    ROW_CLEARED = auto()
    ROWS_REMOVED = auto()
    ROWS_RESTORED = auto()
    APPLICANT_ADDED = auto()
    SYNC_ASKED = auto()
    SYNC_STOPPED = auto()
    INITIALISE_ASKED = auto()
    UNLOCKED = auto()
    LOCKED = auto()


# The part that stands where the act's own form stood.
_IN_PLACE = {
    Changed.INTERVAL: "interval.html",
    Changed.PARAMETERS: "parameters.html",
    Changed.OWN_URL: "state.html",
    Changed.PASSWORD: "shared_password.html",
    Changed.ROW: "row.html",
    Changed.ROW_ADDED: "new.html",
    Changed.ROW_URL: "state.html",
    Changed.ROW_CLEARED: "row_acts.html",
    Changed.ROWS_REMOVED: "question.html",
    Changed.ROWS_RESTORED: "undo.html",
    Changed.APPLICANT_ADDED: "applicants.html",
    Changed.SYNC_ASKED: "status.html",
    Changed.SYNC_STOPPED: "status.html",
    Changed.INITIALISE_ASKED: "initialise.html",
    Changed.UNLOCKED: "bar.html",
    Changed.LOCKED: "bar.html",
}

# What a satellite tries at once when it was saved.
_TRIED = (Changed.PARAMETERS, Changed.ROW)

_Condition = Callable[[PageData], bool]


def _always(_screen: PageData) -> bool:
    return True


def _on_primary(screen: PageData) -> bool:
    return screen.settings.is_primary


def _on_satellite(screen: PageData) -> bool:
    return screen.settings.is_satellite


def _is_new(screen: PageData) -> bool:
    """Say whether the verdict has first steps, whose links follow the lock."""
    return screen.first_steps is not None


def _has_finder(screen: PageData) -> bool:
    """Say whether the list can be searched: a satellite's has one server at most."""
    return not _on_satellite(screen)


def _as_fields(_screen: PageData) -> bool:
    """Say whether the reader's page has the parameters as fields, in which somebody may type."""
    return request.values.get("parameters") != "text"


def _as_text(screen: PageData) -> bool:
    return not _as_fields(screen)


def _as_fields_on_satellite(screen: PageData) -> bool:
    return _on_satellite(screen) and _as_fields(screen)


@dataclass(frozen=True)
class _Part:
    """A part of the page, and what of it looks different after: each change with its condition."""

    template: str
    depends_on: dict[Changed, _Condition]
    # The part that holds this one: where that is sent, this is not.
    within: str = ""


# A satellite, which lists its primary only, may have come to its end of adding; what its list or
# its parameters lacked is what Sync now may have waited for.
_PARTS = (
    _Part("bar.html", {Changed.UNLOCKED: _always}),
    # The rows of the list, and after a closing the toolbar, see the lock by the bar (panel.js).
    _Part(
        "toolbar.html",
        {
            Changed.UNLOCKED: _always,
            Changed.ROW_ADDED: _on_satellite,
            Changed.ROWS_REMOVED: _on_satellite,
            Changed.ROWS_RESTORED: _on_satellite,
        },
    ),
    # Where the lock ran out while somebody typed, the fields stand open and stay as they are.
    _Part("parameters.html", {Changed.UNLOCKED: _as_text, Changed.LOCKED: _always}),
    # A satellite's row shows the URL of the parameters, whose form may stand open beside it.
    _Part(
        "url_field.html",
        {
            Changed.OWN_URL: _as_fields,
            Changed.ROW: _as_fields_on_satellite,
            Changed.ROW_ADDED: _as_fields_on_satellite,
        },
        within="parameters.html",
    ),
    _Part(
        "parameters_version.html",
        {
            Changed.PASSWORD: _always,
            Changed.OWN_URL: _as_fields,
            Changed.ROW: _as_fields_on_satellite,
            Changed.ROW_ADDED: _as_fields_on_satellite,
        },
        within="parameters.html",
    ),
    _Part("who.html", {Changed.PARAMETERS: _always}),
    _Part("self.html", {Changed.PARAMETERS: _on_primary}),
    _Part(
        "status.html",
        {
            Changed.PAUSE: _always,
            Changed.PASSWORD: _always,
            Changed.INITIALISE_ASKED: _always,
            Changed.PARAMETERS: _on_satellite,
            Changed.ROW: _on_satellite,
            Changed.ROW_ADDED: _on_satellite,
            Changed.ROWS_REMOVED: _on_satellite,
            Changed.ROWS_RESTORED: _on_satellite,
        },
    ),
    _Part(
        "state.html",
        {
            Changed.UNLOCKED: _is_new,
            Changed.LOCKED: _is_new,
            Changed.INTERVAL: _always,
            Changed.PARAMETERS: _always,
            Changed.ROW: _always,
            Changed.ROW_ADDED: _always,
            Changed.ROWS_REMOVED: _always,
            Changed.ROWS_RESTORED: _always,
            Changed.APPLICANT_ADDED: _always,
        },
        within="status.html",
    ),
    _Part("added.html", {Changed.ROW_ADDED: _always}),
    _Part("gone.html", {Changed.ROWS_REMOVED: _always}),
    _Part("restored.html", {Changed.ROWS_RESTORED: _always}),
    _Part("row_version.html", {Changed.ROW_CLEARED: _always}),
    _Part("rows.html", {Changed.PARAMETERS: _on_satellite, Changed.APPLICANT_ADDED: _always}),
    _Part(
        "count.html",
        {
            Changed.ROW_ADDED: _has_finder,
            Changed.ROWS_REMOVED: _has_finder,
            Changed.ROWS_RESTORED: _has_finder,
            Changed.APPLICANT_ADDED: _has_finder,
        },
        within="toolbar.html",
    ),
    _Part("pager.html", {Changed.APPLICANT_ADDED: _always}),
    # What was removed can be put back until the next change.
    _Part(
        "undo.html",
        {
            Changed.INTERVAL: _always,
            Changed.PARAMETERS: _always,
            Changed.OWN_URL: _always,
            Changed.PASSWORD: _always,
            Changed.ROW: _always,
            Changed.ROW_ADDED: _always,
            Changed.ROW_URL: _always,
            Changed.ROW_CLEARED: _always,
            Changed.ROWS_REMOVED: _always,
            Changed.APPLICANT_ADDED: _always,
        },
    ),
)


def changed_parts(screen: PageData, changes: Sequence[Changed]) -> list[str]:
    """Return the templates of the parts that ``changes`` concern, no part within another.

    The first stands where the form of the first of ``changes`` stood.
    """
    concerned = [
        part
        for part in _PARTS
        if any(part.depends_on[one](screen) for one in changes if one in part.depends_on)
    ]
    first = _IN_PLACE[changes[0]]
    sent = {first, *(part.template for part in concerned)}
    others = [part.template for part in concerned if part.within not in sent]
    return [first, *(name for name in others if name != first)]


@blueprint.get("/")
def show() -> ResponseReturnValue:
    """Show the page; nothing but its list to htmx, which sorts, finds and turns pages so."""
    screen = PageData(reading())
    if is_fragment():
        parts = _drawn(screen, _LIST, Shown(brief=True))
        address = url_for("page.show", **screen.place.query())
        return Response(parts, headers={"HX-Replace-Url": address})
    version = screen.version()
    if request.if_none_match.contains_weak(version):
        page = Response(status=304)
    else:
        page = make_response(draw(screen, "page.html", Shown()))
    page.set_etag(version, weak=True)
    return page


def draw_verdict(screen: PageData) -> str:
    """Return the verdict, as it takes the place of an older one (panel.js), and the list's word."""
    other = "rows.html" if screen.settings.is_primary else "row_state.html"
    return _drawn(screen, ("verdict.html", other), Shown(focus="", brief=True))


def draw_status(screen: PageData, said: str) -> str:
    """Return the block of the verdict, as it takes the place of an older one; announce ``said``."""
    others = ("rows.html", "said.html") if said else ("rows.html",)
    return _drawn(screen, ("status.html", *others), Shown(said=said, focus="", brief=True))


def full_page(**opened: Any) -> str:
    """Return the page with a form of it ``opened``, as who has no scripting needs it.

    ``opened`` are fields of :class:`Shown`.
    """
    return draw(PageData(reading()), "page.html", Shown(**opened))


def show_part(name: str, status: int = 200, **opened: Any) -> Response:
    """Answer with the part of the page in the template ``name``, or the page with it ``opened``."""
    if not is_fragment():
        return make_response(full_page(**opened), status)
    screen = PageData(reading())
    return Response(_drawn(screen, (name, *_about_lock(screen)), Shown(**opened)), status)


def after_change(*changes: Changed, anchor: str, **shown: Any) -> ResponseReturnValue:
    """Answer what was changed: with the parts that look different, or 303 back to the page.

    ``said`` is announced; ``focus`` names the part that gets it, by default that which takes the
    place of the form of the first change.
    """
    if not is_fragment():
        return back_to_page(_anchor=anchor, **current_place().query())
    screen = PageData(reading())
    names = changed_parts(screen, (*changes, *_unlocked_now()))
    if changes[0] in _TRIED and screen.settings.is_satellite and screen.sync.goes_on:
        shown["said"] = _("Saved. Trying now…")
    return Response(_drawn(screen, (*names, "said.html"), Shown(**shown)))


def whole_page(anchor: str, **shown: Any) -> ResponseReturnValue:
    """Answer a change that concerns every part of the page."""
    if not is_fragment():
        return back_to_page(_anchor=anchor, **current_place().query())
    names = ("main.html", "who.html", "said.html")
    parts = _drawn(PageData(reading()), names, Shown(focus=anchor, **shown))
    return retarget(parts, "main", INSIDE)


def _unlocked_now() -> Sequence[Changed]:
    """Return what this very request changed about the lock, by the code in its form."""
    return (Changed.UNLOCKED,) if unlocked_now() else ()


def _about_lock(screen: PageData) -> Sequence[str]:
    return changed_parts(screen, (Changed.UNLOCKED,)) if unlocked_now() else ()


def _drawn(screen: PageData, names: Sequence[str], shown: Shown) -> str:
    """Return the parts in these templates; all but the first find their places by their ids."""
    first, *others = dict.fromkeys(names)
    if shown.focus is None:
        shown = replace(shown, focus=first.removesuffix(".html"))
    parts = [draw(screen, first, shown)]
    elsewhere = replace(shown, oob=True)
    # In a <template>, since a row of a table and a section cannot stand side by side.
    parts += [f"<template>{draw(screen, name, elsewhere)}</template>" for name in others]
    if "who.html" in others:
        parts.append(draw(screen, "title.html", elsewhere))
    return "".join(parts)
