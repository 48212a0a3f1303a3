"""The runs of the sync: when, what moved, and how each ended."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from panel import clock
from panel.models.settings import Settings
from panel.status.history import PAGE_SIZE, list_runs, names_of
from panel.status.state import read_state
from panel.web.base.context import installation
from panel.web.base.htmx import is_fragment, number_in_address

blueprint = Blueprint("runs", __name__)


@blueprint.get("/runs")
def show() -> ResponseReturnValue:
    """Show a page of runs, on a primary those of one satellite if the address names it."""
    other = number_in_address("server")
    with installation().database.reading() as session:
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
