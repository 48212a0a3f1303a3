"""The sync time interval: changed in place, without unlocking."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session

from panel.accounts.people import Permission
from panel.preferences.interval import check_interval, set_interval
from panel.web.auth.access import permitted
from panel.web.auth.session import actor
from panel.web.page.forms import IntervalForm, attempt
from panel.web.page.fragments import Changed, after_change, show_part

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

    def keep(session: Session) -> ResponseReturnValue:
        saved = set_interval(session, actor(), minutes, version)
        pause = (Changed.PAUSE,) if 0 in (saved.before, minutes) else ()
        return after_change(Changed.INTERVAL, *pause, anchor="interval", said=_("Saved."))

    kept = attempt(form, keep, lambda session: check_interval(session, minutes, version))
    return kept or show_part("interval.html", form.status, interval_form=form)
