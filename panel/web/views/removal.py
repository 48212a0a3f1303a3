"""Removing servers: one question that names them, then the deed, then the way to undo it."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session

from panel.activity.log import Actor
from panel.errors import Invalid
from panel.i18n import say
from panel.models.settings import Server, Settings
from panel.preferences import parameters, server_changes
from panel.preferences.servers import remove_servers, restore_servers
from panel.web.auth.lock import locked
from panel.web.auth.session import actor
from panel.web.base.context import reading, writing
from panel.web.base.errors import wants_json
from panel.web.base.htmx import back_to_page, is_fragment
from panel.web.page.data import current_place, find_server, find_servers, read_ids
from panel.web.page.forms import PanelForm, attempt
from panel.web.page.fragments import Changed, after_change, full_page, show_part
from panel.web.views.parameters import saved_parameters
from panel.web.views.servers import opened_row

blueprint = Blueprint("removal", __name__)


@blueprint.get("/servers/remove")
def keep() -> ResponseReturnValue:
    """Take the question back."""
    return show_part("question.html") if is_fragment() else _back()


@blueprint.post("/servers/remove")
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
    with writing() as session:
        remove_servers(session, actor(), ids)
        if not is_fragment():
            return _back(removed=",".join(map(str, ids)))
        return after_change(
            Changed.ROWS_REMOVED,
            anchor="undo",
            focus="undo",
            removed=servers,
        )


@blueprint.post("/servers/undo")
@locked(lambda: full_page(removed=_sent(removed=True)))
def undo() -> ResponseReturnValue:
    """Put servers back that were removed, all or none of them; those that are back stay so."""
    ids, servers, form = read_ids(request.form.getlist("ids")), _sent(removed=True), PanelForm()

    def keep(session: Session) -> ResponseReturnValue:
        restore_servers(session, actor(), ids, form.confirmed)
        return after_change(
            Changed.ROWS_RESTORED,
            anchor="servers",
            said=_("Put back."),
            restored=servers,
            gone=read_ids(request.form.getlist("gone")),
        )

    undone = attempt(form, keep)
    return undone or show_part("undo.html", form.status, removed=servers, undo_form=form)


def _sent(removed: bool = False) -> list[Server]:
    ids = read_ids(request.form.getlist("ids"))
    return find_servers(reading(), ids, removed)


def _back(**query: str) -> ResponseReturnValue:
    return back_to_page(_anchor="servers", **query, **current_place().query())


@blueprint.post("/parameters/url/clear")
@locked(lambda: full_page(asked="settings"))
def clear_url() -> ResponseReturnValue:
    """Empty this server's URL, whatever it is by now: any of them disables sync on a primary."""
    with writing() as session:
        version = session.get_one(Settings, 1).parameters_version
        parameters.clear_url(session, actor(), version)
        return after_change(Changed.OWN_URL, anchor="status", said=_("Cleared."))


@blueprint.post("/servers/<int:server_id>/url/clear")
@locked(lambda server_id: full_page(asked=server_id))
def clear_server_url(server_id: int) -> ResponseReturnValue:
    """Empty the URL of a row, whatever it is by now."""
    version = find_server(server_id).version
    with writing() as session:
        server_changes.clear_server_url(session, actor(), server_id, version)
        return after_change(Changed.ROW_URL, anchor="status", said=_("Cleared."))


@blueprint.get("/parameters/password/remove")
def keep_password() -> ResponseReturnValue:
    """Take the question back."""
    if is_fragment():
        return show_part("shared_password.html")
    return back_to_page(_anchor="parameters")


@blueprint.post("/parameters/password/remove")
@locked(lambda: full_page(**_parameters_asking()))
def remove_password() -> ResponseReturnValue:
    """Ask first, then remove the shared password."""
    if "confirmed" not in request.form:
        return show_part("shared_password.html", **_parameters_asking())
    form = PanelForm(request.form)
    version = form.version.data or 0

    def keep(session: Session) -> ResponseReturnValue:
        parameters.remove_password(session, actor(), version)
        return after_change(Changed.PASSWORD, anchor="parameters", said=_("Removed."))

    return attempt(form, keep) or show_part("shared_password.html", form.status, shared_form=form)


def _parameters_asking() -> dict[str, Any]:
    return {"parameters_form": saved_parameters(), "asking": "shared"}


@blueprint.get("/servers/<int:server_id>/hardware/clear")
@blueprint.get("/servers/<int:server_id>/password/remove")
def keep_value(server_id: int) -> ResponseReturnValue:
    """Take the question back."""
    return _acts(server_id)


@blueprint.post("/servers/<int:server_id>/hardware/clear")
@locked(lambda server_id: full_page(**_asking(server_id, "hardware")))
def clear_hardware(server_id: int) -> ResponseReturnValue:
    """Ask first, then free a row from its machine and end the machine's token."""
    return _act(server_id, "hardware", server_changes.clear_hardware, _("Cleared."))


@blueprint.post("/servers/<int:server_id>/password/remove")
@locked(lambda server_id: full_page(**_asking(server_id, "password")))
def remove_own_pair(server_id: int) -> ResponseReturnValue:
    """Ask first, then take away a row's own User name and Password."""
    return _act(server_id, "password", server_changes.clear_server_password, _("Removed."))


def _act(
    server_id: int, name: str, verb: Callable[[Session, Actor, int, int], Server], said: str
) -> ResponseReturnValue:
    if "confirmed" not in request.form:
        return _acts(server_id, asking=name)
    form = PanelForm(request.form)
    version = form.version.data or 0

    def keep(session: Session) -> ResponseReturnValue:
        server = verb(session, actor(), server_id, version)
        if not is_fragment():
            return back_to_page("servers.edit", server_id=server_id, **current_place().query())
        return after_change(Changed.ROW_CLEARED, anchor="", said=said, server=server)

    return attempt(form, keep) or _acts(server_id, form.status, act_form=form)


def _acts(server_id: int, status: int = 200, **shown: Any) -> ResponseReturnValue:
    return show_part("row_acts.html", status, **opened_row(find_server(server_id)), **shown)


def _asking(server_id: int, name: str) -> dict[str, Any]:
    return {**opened_row(find_server(server_id)), "asking": name}
