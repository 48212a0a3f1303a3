"""The runs of the sync: when, what moved, and how each ended."""

from flask import Blueprint, make_response, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from panel import clock
from panel.models.settings import Settings
from panel.operations.adopt_identity import adopt_from_satellite
from panel.preferences.server_list import STATE_WORDS, server_state
from panel.status.history import PAGE_SIZE, list_runs, names_of, read_peer_status
from panel.status.sentences import SEVERITIES
from panel.status.state import read_state
from panel.web.auth.lock import locked
from panel.web.auth.session import actor
from panel.web.base.context import reading
from panel.web.base.htmx import back_to_page, is_fragment, number_in_address
from panel.web.page.forms import PanelForm, attempt

blueprint = Blueprint("runs", __name__)


@blueprint.get("/runs")
def show() -> ResponseReturnValue:
    """Show a page of runs, on a primary those of one satellite if the address names it."""
    other = number_in_address("server")
    session = reading()
    runs = list_runs(session, other, number_in_address("before"), PAGE_SIZE + 1)
    shown = runs[:PAGE_SIZE]
    known = [run.other for run in shown] + ([other] if other else [])
    return render_template(
        "runs_rows.html" if is_fragment() else "runs.html",
        runs=shown,
        older=shown[-1].id if len(runs) > PAGE_SIZE else None,
        other=other,
        names=names_of(session, known),
        settings=session.get_one(Settings, 1),
        present=read_state(session, clock.now()).run,
    )


@blueprint.get("/servers/<int:server_id>/sync")
def show_server(server_id: int) -> ResponseReturnValue:
    """Show one satellite."""
    return _server_page(server_id)


@blueprint.post("/servers/<int:server_id>/theirs")
@locked(lambda server_id: _server_page(server_id))
def use_theirs(server_id: int) -> ResponseReturnValue:
    """Take the satellite's word for what it is called."""
    form = PanelForm(request.form)

    def keep(session: Session) -> ResponseReturnValue:
        adopt_from_satellite(session, actor(), server_id, form.confirmed)
        if not is_fragment():
            return back_to_page("runs.show_server", server_id=server_id)
        return _server_page(server_id, saved=True)

    if (kept := attempt(form, keep)) is not None:
        return kept
    return make_response(_server_page(server_id, theirs_form=form), form.status)


def _server_page(
    server_id: int, theirs_form: PanelForm | None = None, *, saved: bool = False
) -> str:
    standing = read_peer_status(reading(), server_id)
    return render_template(
        "server_sync_facts.html" if is_fragment() else "server_sync.html",
        standing=standing,
        state=server_state(
            standing.server.last_success_at, clock.now(), is_refused=standing.is_refused
        ),
        severities=SEVERITIES,
        state_words=STATE_WORDS,
        theirs_form=theirs_form,
        saved=saved,
    )
