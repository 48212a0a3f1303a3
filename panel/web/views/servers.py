"""Rows of the list of servers: added and edited in their place, as fields or as text."""

import secrets
from typing import Any

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session

from panel import clock
from panel.accounts.people import Permission
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.settings import Server, Settings
from panel.operations import adopt_identity
from panel.preferences import servers as verbs
from panel.preferences.server_changes import shown_url
from panel.preferences.server_list import every_server
from panel.web.auth.access import permitted
from panel.web.auth.lock import locked, open_unlock
from panel.web.auth.session import actor
from panel.web.base.context import reading
from panel.web.base.htmx import WHOLE, back_to_page, is_fragment, retarget
from panel.web.page.data import current_place, find_server
from panel.web.page.forms import PanelForm, ServerForm, attempt
from panel.web.page.fragments import Changed, after_change, full_page, show_part
from panel.web.views.activity import BYTE_ORDER_MARK, csv_cell, csv_line

blueprint = Blueprint("servers", __name__)

# Of the download.
COLUMNS = (
    *("state", "sync_id", "name", "store", "user_name", "url", "hardware_id"),
    *("last_contact_at", "last_success_at"),
)


@blueprint.get("/servers.csv")
def download() -> ResponseReturnValue:
    """Send the list as CSV: the rows that the address names, in its order, of every page."""
    here, now = reading(), clock.now()
    settings = here.get_one(Settings, 1)
    lines = [BYTE_ORDER_MARK + csv_line(COLUMNS)]
    for server in every_server(here, current_place()):
        row = {**server._asdict(), "state": server.state(now), "url": shown_url(settings, server)}
        lines.append(csv_line(csv_cell(row[column]) for column in COLUMNS))
    disposition = {"Content-Disposition": 'attachment; filename="servers.csv"'}
    return Response("".join(lines), mimetype="text/csv", headers=disposition)


@blueprint.get("/servers/new")
@permitted(Permission.EDIT)
def new() -> ResponseReturnValue:
    """Open a row of fields in the list."""
    if open_unlock() is None:
        return _ask_to_unlock()
    if request.args.get("key"):
        # The row is open already, and something may have been typed in it.
        return Response(status=204)
    is_satellite = reading().get_one(Settings, 1).is_satellite
    known = {"sync_id": PRIMARY_SYNC_ID} if is_satellite else {}
    form = ServerForm(data={"key": secrets.token_urlsafe(12), **known})
    return show_part("new.html", new_form=form)


@blueprint.get("/servers/none")
def cancel() -> ResponseReturnValue:
    """Close the row of fields."""
    return show_part("new.html") if is_fragment() else _back()


@blueprint.post("/servers")
@locked(lambda: full_page(new_form=_sent()))
def add() -> ResponseReturnValue:
    """Add a server; sent again with the same key, the form finds the row that it made."""
    form = _sent()
    fields, key = form.server_fields(), form.key.data

    def keep(session: Session) -> ResponseReturnValue:
        server = verbs.add_server(session, actor(), fields, key, form.confirmed)
        return after_change(
            Changed.ROW_ADDED,
            anchor=f"s{server.id}",
            said=_("Added."),
            focus="row",
            server=server,
        )

    kept = attempt(form, keep, lambda session: verbs.check_new_server(session, fields))
    return kept or show_part("new.html", form.status, new_form=form)


@blueprint.get("/servers/<int:server_id>")
def show(server_id: int) -> ResponseReturnValue:
    """Show a row as it is saved, dropping what was typed."""
    server = find_server(server_id)
    return show_part("row.html", server=server) if is_fragment() else _back(f"s{server.id}")


@blueprint.get("/servers/<int:server_id>/edit")
@permitted(Permission.EDIT)
def edit(server_id: int) -> ResponseReturnValue:
    """Turn a row into fields."""
    server = find_server(server_id)
    if open_unlock() is None:
        return _ask_to_unlock()
    return _fields(server)


@blueprint.post("/servers/<int:server_id>")
@locked(lambda server_id: full_page(**opened_row(find_server(server_id), _sent())))
def save(server_id: int) -> ResponseReturnValue:
    """Change a row."""
    form = _sent()
    fields, version = form.server_fields(), form.version.data or 0

    def keep(session: Session) -> ResponseReturnValue:
        server = verbs.edit_server(session, actor(), server_id, fields, version, form.confirmed)
        return after_change(Changed.ROW, anchor=f"s{server.id}", said=_("Saved."), server=server)

    def check(session: Session) -> None:
        verbs.check_edited_server(session, find_server(server_id), fields, version)

    return attempt(form, keep, check) or _fields(find_server(server_id), form)


def opened_row(server: Server, form: ServerForm | None = None) -> dict[str, Any]:
    """Return what the templates need to show a row as fields, by default as it is saved."""
    return {"server": server, "form": form or _saved(server), "of": f"s{server.id}"}


def _saved(server: Server) -> ServerForm:
    settings = reading().get_one(Settings, 1)
    form = ServerForm(obj=server)
    if settings.is_satellite:
        # The row shows the URL of the parameters, the only one there is.
        form.url.data = settings.url
    return form


def _sent() -> ServerForm:
    return ServerForm(request.form)


def _fields(server: Server, form: ServerForm | None = None) -> Response:
    opened = opened_row(server, form)
    return show_part("row_form.html", form.status if form else 200, **opened)


def _ask_to_unlock() -> Response:
    if not is_fragment():
        return show_part("bar.html", dialog=True)
    return retarget(show_part("bar.html", dialog=True).get_data(as_text=True), "#bar", WHOLE)


def _back(anchor: str = "servers") -> ResponseReturnValue:
    return back_to_page(_anchor=anchor, **current_place().query())


@blueprint.get("/applicants")
def applicants() -> ResponseReturnValue:
    """Show another page of those that wait to be added."""
    return show_part("applicants.html")


@blueprint.post("/applicants/<int:sync_id>/add")
@locked(lambda sync_id: full_page(asked_applicant=(sync_id, _machine())))
def add_applicant(sync_id: int) -> ResponseReturnValue:
    """Make a row of one that waits."""
    form, machine = PanelForm(), _machine()

    def keep(session: Session) -> ResponseReturnValue:
        adopt_identity.add_applicant(session, actor(), sync_id, machine, form.confirmed)
        return after_change(Changed.APPLICANT_ADDED, anchor="servers", said=_("Added."))

    opened = {"asked_applicant": (sync_id, machine), "applicant_form": form}
    return attempt(form, keep) or show_part("applicants.html", form.status, **opened)


def _machine() -> str:
    """Return the Hardware ID that the reader saw: another machine may call under the Sync ID."""
    return request.form.get("hardware_id", "")
