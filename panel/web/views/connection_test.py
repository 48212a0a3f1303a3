"""Test connection: what the primary says to the parameters, saved or as they are typed."""

from flask import Blueprint, Response, make_response, render_template, request
from flask.typing import ResponseReturnValue

from panel.accounts.people import Permission
from panel.errors import Invalid
from panel.i18n import Message
from panel.models.settings import Settings
from panel.operations.connection_test import Trial, try_connection
from panel.web.auth.access import permitted
from panel.web.auth.lock import open_unlock
from panel.web.base.context import installation
from panel.web.base.htmx import WHOLE, is_fragment, retarget
from panel.web.page.forms import ParametersForm
from panel.web.page.fragments import full_page, show_part

blueprint = Blueprint("connection", __name__)


@blueprint.post("/sync/test")
@permitted(Permission.EDIT)
def test() -> ResponseReturnValue:
    """Try the connection: with what is typed while the lock is open, else with what is saved."""
    if open_unlock() is None or "sync_id" not in request.form:
        return _answer(try_connection(installation()))
    form = _sent_form()
    try:
        if not form.validate():
            raise Invalid({field.name: Message(field.errors[0]) for field in form if field.errors})
        return _answer(try_connection(installation(), form.parameters()), form)
    except Invalid as refusal:
        return _refused(form, refusal)


def _answer(trial: Trial, form: ParametersForm | None = None) -> Response:
    if is_fragment():
        return make_response(render_template("tested.html", trial=trial, as_typed=form is not None))
    return make_response(full_page(trial=trial, as_typed=form is not None, parameters_form=form))


def _sent_form() -> ParametersForm:
    with installation().database.reading() as session:
        return ParametersForm(request.form, session.get_one(Settings, 1))


def _refused(form: ParametersForm, refusal: Invalid) -> Response:
    """Show in the form what could not be saved either."""
    form.refuse(refusal)
    shown = show_part("parameters.html", form.status, parameters_form=form)
    if not is_fragment():
        return shown
    return retarget(shown.get_data(as_text=True), "#parameters", WHOLE, form.status)
