"""Satellites that wait to be added to this primary: one click, and the lock, from being rows."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from panel.operations.applicants import add_applicant
from panel.web.auth.lock import locked
from panel.web.auth.session import actor
from panel.web.page.forms import PanelForm, attempt
from panel.web.page.fragments import after_change, full_page, show_part

blueprint = Blueprint("applicants", __name__, url_prefix="/applicants")


@blueprint.post("/<int:sync_id>/add")
@locked(lambda sync_id: full_page(asked_applicant=sync_id, asked_machine=_machine()))
def add(sync_id: int) -> ResponseReturnValue:
    """Make a row of one that waits."""
    form = PanelForm()
    server = attempt(form, lambda session: add_applicant(session, actor(), sync_id, _machine()))
    if server is None:
        opened = {"asked_applicant": sync_id, "applicant_form": form}
        return show_part("applicants.html", form.status, **opened)
    return after_change(
        *("applicants.html", "rows.html", "count.html", "pager.html", "state.html", "undo.html"),
        anchor="servers",
        said=_("Added."),
    )


def _machine() -> str:
    """Return the Hardware ID that the reader saw: another machine may have called since."""
    return request.form.get("hardware_id", "")
