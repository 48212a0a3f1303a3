"""The sync time interval: changed in place, without unlocking."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from panel.preferences.interval import set_interval
from panel.preferences.people import Permission
from panel.web.access import permitted
from panel.web.forms import IntervalForm, attempt
from panel.web.page import after_change, show_part
from panel.web.session import actor

blueprint = Blueprint("interval", __name__)


@blueprint.get("/interval")
def show() -> ResponseReturnValue:
    """Show the interval as it is saved, dropping what was typed."""
    return show_part("interval.html")


@blueprint.post("/interval")
@permitted(Permission.EDIT)
def save() -> ResponseReturnValue:
    """Sync every so many minutes from now on."""
    form = IntervalForm(request.form)
    minutes, version = form.interval_minutes.data or 0, form.version.data or 0
    saved = attempt(form, lambda session: set_interval(session, actor(), minutes, version))
    if saved is None:
        return show_part("interval.html", form.status, interval_form=form)
    return after_change(
        "interval.html", "status.html", "undo.html", anchor="interval", said=_("Saved.")
    )
