"""How one satellite stands, on its primary: contact, what waits, its machine, what is refused."""

from typing import Any

from flask import Blueprint, make_response, render_template, request
from flask.typing import ResponseReturnValue

from panel import clock
from panel.operations.adopt_identity import use_satellites
from panel.status.lateness import server_severity
from panel.status.peer_status import read_peer_status
from panel.web.auth.lock import locked
from panel.web.auth.session import actor
from panel.web.base.context import installation
from panel.web.base.htmx import back_to_page, is_fragment
from panel.web.page.forms import PanelForm, attempt

blueprint = Blueprint("server_sync", __name__, url_prefix="/servers")


@blueprint.get("/<int:server_id>/sync")
def show(server_id: int) -> ResponseReturnValue:
    """Show one satellite."""
    return _page(server_id)


@blueprint.post("/<int:server_id>/theirs")
@locked(lambda server_id: _page(server_id))
def use_theirs(server_id: int) -> ResponseReturnValue:
    """Take the satellite's word for what it is called."""
    form = PanelForm(request.form)
    saved = attempt(form, lambda session: use_satellites(session, actor(), server_id))
    if saved is None:
        return make_response(_page(server_id, theirs_form=form), form.status)
    if not is_fragment():
        return back_to_page("server_sync.show", server_id=server_id)
    return _page(server_id, saved=True)


def _page(server_id: int, **shown: Any) -> str:
    with installation().database.reading() as session:
        standing = read_peer_status(session, server_id)
        return render_template(
            "server_sync_facts.html" if is_fragment() else "server_sync.html",
            standing=standing,
            severity=server_severity(standing.server.last_success_at, clock.now()),
            **shown,
        )
