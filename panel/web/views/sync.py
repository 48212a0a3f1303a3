"""How the sync stands and goes, what a person may ask of a satellite's, and the status line."""

from typing import Any

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from markupsafe import Markup
from sqlalchemy.orm import Session

from panel.accounts.people import Permission
from panel.accounts.tokens import make_status_key, revoke_status_key
from panel.errors import Invalid, NeedsConfirmation
from panel.i18n import Message
from panel.models.settings import Settings, read_settings
from panel.operations.adopt_identity import adopt_from_primary
from panel.operations.connection_test import Trial, try_connection
from panel.operations.sync_requests import ask_to_initialise, ask_to_stop, ask_to_sync
from panel.preferences.parameter_table import Parameters
from panel.sync.protocol.error_codes import explain
from panel.web.auth.access import permitted
from panel.web.auth.lock import locked, open_unlock
from panel.web.auth.session import actor
from panel.web.base.context import close_reading, installation, reading, writing
from panel.web.base.htmx import WHOLE, back_to_page, is_fragment, not_kept, retarget
from panel.web.base.language import show
from panel.web.page.data import PageData
from panel.web.page.forms import PanelForm, ParametersForm, attempt
from panel.web.page.fragments import (
    Changed,
    after_change,
    draw_status,
    draw_verdict,
    full_page,
    show_part,
    whole_page,
)
from panel.web.views.parameters import saved_parameters

blueprint = Blueprint("sync_page", __name__, url_prefix="/sync")
blueprint.add_app_template_global(explain)


@blueprint.get("/run")
@blueprint.get("/run/<was>")
def progress(was: str = "") -> ResponseReturnValue:
    """Answer the page that asks how sync stands.

    While a run lasts, how far it is; where the verdict is as it ``was``, the last success; else the
    verdict, or with what stands beside it all of its block.
    """
    if not is_fragment():
        return back_to_page(_anchor="status")
    screen = PageData(reading())
    if was == screen.sync.mark():
        return Response(render_template("success.html", screen=screen))
    if screen.sync.is_alone_changed(was):
        return Response(draw_verdict(screen))
    goes_on = screen.sync.goes_on
    if goes_on and not was and ("silent" in request.args) == screen.sync.is_silent:
        return Response(render_template("run.html", screen=screen))
    said = "" if was or goes_on else _("Sync: %(state)s.", state=show(screen.state.words))
    return retarget(draw_status(screen, said), "#status", WHOLE)


@blueprint.post("/now")
@permitted(Permission.EDIT)
def now() -> ResponseReturnValue:
    """Let a run begin at once."""
    with writing() as session:
        ask_to_sync(session, actor())
        return after_change(Changed.SYNC_ASKED, anchor="status", said=_("The sync begins."))


@blueprint.post("/stop")
@permitted(Permission.EDIT)
def stop() -> ResponseReturnValue:
    """End the run under way; where it ended meanwhile, show that."""
    with writing() as session:
        ask_to_stop(session, actor())
        return after_change(Changed.SYNC_STOPPED, anchor="status", said=_("Stopping."))


@blueprint.get("/initialise")
def keep() -> ResponseReturnValue:
    """Take the question back."""
    return show_part("initialise.html") if is_fragment() else back_to_page(_anchor="parameters")


@blueprint.post("/initialise")
@permitted(Permission.EDIT)
def initialise() -> ResponseReturnValue:
    """Get everything from the primary: at once into an empty server, else unlocked, confirmed."""
    is_empty = PageData(reading()).sync.is_empty
    return _ask_to_initialise(Changed.SYNC_ASKED) if is_empty else _initialise_again()


@locked(lambda: full_page(**_asking_to_initialise()))
def _initialise_again() -> ResponseReturnValue:
    if "confirmed" not in request.form:
        return show_part("initialise.html", **_asking_to_initialise())
    return _ask_to_initialise(Changed.INITIALISE_ASKED)


def _asking_to_initialise() -> dict[str, Any]:
    return {"parameters_form": saved_parameters(), "asking": "initialise"}


def _ask_to_initialise(changed: Changed) -> ResponseReturnValue:
    # The number of records that the question named.
    confirmed = [f"remove={request.form.get('version', '')}"]
    try:
        with writing() as session:
            ask_to_initialise(session, actor(), confirmed)
            return after_change(changed, anchor="status", said=_("The initialise begins."))
    except NeedsConfirmation:
        return show_part("initialise.html", **_asking_to_initialise())


@blueprint.post("/theirs")
@locked(lambda: full_page(asked="theirs"))
def use_theirs() -> ResponseReturnValue:
    """Take the primary's word for what both are called, and sync at once."""
    form = PanelForm(request.form)
    vault = installation().vault

    def keep(session: Session) -> ResponseReturnValue:
        adopt_from_primary(session, actor(), vault, form.confirmed)
        return whole_page("status", said=_("Saved. Trying now…"))

    return attempt(form, keep) or show_part("state.html", form.status, theirs_form=form)


@blueprint.post("/test")
@permitted(Permission.EDIT)
def test_connection() -> ResponseReturnValue:
    """Try the connection: with what is typed while the lock is open, else with what is saved."""
    if open_unlock() is None or "sync_id" not in request.form:
        return _show_trial(_tried())
    form = _sent_parameters()
    try:
        if not form.validate():
            raise Invalid({field.name: Message(field.errors[0]) for field in form if field.errors})
        return _show_trial(_tried(form.parameters()), form)
    except Invalid as refusal:
        return _show_refused(form, refusal)


def _tried(typed: Parameters | None = None) -> Trial:
    who = actor()
    # It waits for the line.
    close_reading()
    return try_connection(installation(), who, typed)


def _show_trial(trial: Trial, form: ParametersForm | None = None) -> Response:
    as_typed = form is not None
    if not is_fragment():
        return make_response(full_page(trial=trial, as_typed=as_typed, parameters_form=form))
    told = render_template("tested.html", trial=trial, as_typed=as_typed)
    if trial.is_well:
        told = f"<template>{render_template('said.html', said=Markup(told))}</template>"  # noqa: S704
    return make_response(told)


def _sent_parameters() -> ParametersForm:
    return ParametersForm(request.form, reading().get_one(Settings, 1))


def _show_refused(form: ParametersForm, refusal: Invalid) -> Response:
    """Show in the form what could not be saved either."""
    form.refuse(refusal)
    shown = show_part("parameters.html", form.status, parameters_form=form)
    if not is_fragment():
        return shown
    return retarget(shown.get_data(as_text=True), "#parameters", WHOLE, form.status)


# --- the status line ------------------------------------------------------------------------------


@blueprint.get("/status-line")
@permitted(Permission.MANAGE)
def show_status_line() -> ResponseReturnValue:
    """Say whether the status line has an address, and offer to make or to end it."""
    return _status_line()


@blueprint.post("/status-line")
@permitted(Permission.MANAGE)
@locked(lambda: _status_line(asked="make"))
def make_status_line() -> ResponseReturnValue:
    """Make an address for the status line and show it, this once; an older one ends."""
    with writing() as session:
        key = make_status_key(session, actor())
    return not_kept(make_response(_status_line(key)))


@blueprint.post("/status-line/revoke")
@permitted(Permission.MANAGE)
@locked(lambda: _status_line(asked="revoke"))
def revoke_status_line() -> ResponseReturnValue:
    """End the address of the status line."""
    with writing() as session:
        revoke_status_key(session, actor())
    return back_to_page("sync_page.show_status_line")


def _status_line(key: str = "", asked: str = "") -> str:
    address = ""
    if key:
        outside = {"embed": None, "framed": None}
        address = url_for("status_line.show_line", key=key, _external=True, **outside)
    exists = read_settings(reading()).status_key_hash is not None
    return render_template("status_address.html", address=address, exists=exists, asked=asked)
