"""Removing servers: one question that names them, then the deed, then the way to undo it."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from panel.errors import Invalid
from panel.i18n import say
from panel.models.settings import Server
from panel.preferences.servers import remove_servers, restore_servers
from panel.web.auth.lock import locked
from panel.web.auth.session import actor
from panel.web.base.context import installation
from panel.web.base.errors import wants_json
from panel.web.base.htmx import back_to_page, is_fragment
from panel.web.page.data import find_servers, read_ids
from panel.web.page.fragments import about_count, after_change, full_page, show_part
from panel.web.page.list_place import current_place

blueprint = Blueprint("removal", __name__, url_prefix="/servers")


@blueprint.get("/remove")
def keep() -> ResponseReturnValue:
    """Take the question back."""
    return show_part("question.html") if is_fragment() else _back()


@blueprint.post("/remove")
@locked(lambda: full_page(removing=_sent()))
def remove() -> ResponseReturnValue:
    """Ask before the selected servers are removed; remove them once that is confirmed."""
    servers = _sent()
    if not servers and "confirmed" in request.form:
        # Sent again, since the answer was lost: they are gone, and can be put back.
        servers = _sent(removed=True)
    if not servers:
        problem = say("Select the servers to remove first.")
        if wants_json():
            raise Invalid({"ids": problem})
        return show_part("question.html", Invalid.status, problem=problem)
    if "confirmed" not in request.form:
        return show_part("question.html", removing=servers)
    ids = [server.id for server in servers]
    with installation().database.writing() as session:
        remove_servers(session, actor(), ids)
    if not is_fragment():
        return _back(removed=",".join(map(str, ids)))
    return after_change(
        *("question.html", "undo.html", "gone.html", *about_count()),
        anchor="undo",
        focus="undo",
        removed=servers,
    )


@blueprint.post("/undo")
@locked(lambda: full_page(removed=_sent(removed=True)))
def undo() -> ResponseReturnValue:
    """Put servers back that were removed, all or none of them; those that are back stay so."""
    ids, servers = read_ids(request.form.getlist("ids")), _sent(removed=True)
    try:
        with installation().database.writing() as session:
            restore_servers(session, actor(), ids)
    except Invalid as refusal:
        if wants_json():
            raise
        return show_part("undo.html", refusal.status, removed=servers, problem=refusal.message)
    return after_change(
        *("undo.html", "restored.html", *about_count()),
        anchor="servers",
        said=_("Put back."),
        restored=servers,
        gone=read_ids(request.form.getlist("gone")),
    )


def _sent(removed: bool = False) -> list[Server]:
    ids = read_ids(request.form.getlist("ids"))
    with installation().database.reading() as session:
        return find_servers(session, ids, removed)


def _back(**query: str) -> ResponseReturnValue:
    return back_to_page(_anchor="servers", **query, **current_place().query())
