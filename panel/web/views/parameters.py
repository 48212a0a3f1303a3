"""The sync time interval, and the synchronise parameters: fields while the lock is open."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session

from panel.accounts.people import Permission
from panel.models.settings import Settings
from panel.preferences.interval import check_interval, set_interval
from panel.preferences.parameters import check_parameters, save_parameters
from panel.web.auth.access import permitted
from panel.web.auth.lock import locked
from panel.web.auth.session import actor
from panel.web.base.context import installation, reading
from panel.web.page.data import PageData
from panel.web.page.forms import IntervalForm, ParametersForm, attempt
from panel.web.page.fragments import Changed, after_change, full_page, show_part, whole_page

blueprint = Blueprint("parameters", __name__)


@blueprint.get("/parameters")
def show() -> ResponseReturnValue:
    """Show the parameters as they are saved, dropping what was typed."""
    return show_part("parameters.html")


@blueprint.post("/parameters")
@locked(lambda: full_page(parameters_form=_sent()[0]))
def save() -> ResponseReturnValue:
    """Keep what was typed."""
    form, sync_id = _sent()
    wanted, version = form.parameters(), form.version.data or 0
    vault = installation().vault

    def keep(session: Session) -> ResponseReturnValue:
        saved = save_parameters(session, actor(), vault, wanted, version, form.confirmed)
        if saved.sync_id != sync_id:
            # What this server is for has changed, and with it every part of the page.
            return whole_page("parameters", said=_("Saved."))
        return after_change(Changed.PARAMETERS, anchor="parameters", said=_("Saved."))

    kept = attempt(form, keep, lambda session: check_parameters(session, vault, wanted, version))
    return kept or show_part("parameters.html", form.status, parameters_form=form)


def saved_parameters() -> ParametersForm:
    """Return the form as it is saved."""
    return PageData(reading()).parameters_form()


def _sent() -> tuple[ParametersForm, int | None]:
    """Return the form that was sent, and the Sync ID from before it."""
    settings = reading().get_one(Settings, 1)
    return ParametersForm(request.form, settings), settings.sync_id


@blueprint.get("/interval")
def show_interval() -> ResponseReturnValue:
    """Show the interval as it is saved, dropping what was typed."""
    return show_part("interval.html")


@blueprint.post("/interval")
@permitted(Permission.EDIT)
def save_interval() -> ResponseReturnValue:
    """Sync every so many minutes from now on."""
    form = IntervalForm(request.form)
    minutes, version = form.interval_minutes.data or 0, form.version.data or 0

    def keep(session: Session) -> ResponseReturnValue:
        saved = set_interval(session, actor(), minutes, version)
        pause = (Changed.PAUSE,) if 0 in (saved.before, minutes) else ()
        return after_change(Changed.INTERVAL, *pause, anchor="interval", said=_("Saved."))

    kept = attempt(form, keep, lambda session: check_interval(session, minutes, version))
    return kept or show_part("interval.html", form.status, interval_form=form)
