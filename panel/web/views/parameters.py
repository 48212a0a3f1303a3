"""The interval, the parameters as fields while the lock is open, and what fills them at once."""

from flask import Blueprint, Response, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session
from wtforms import StringField

from panel.accounts.people import Permission
from panel.errors import Invalid, Refusal
from panel.models.settings import Settings
from panel.operations.join import join as join_primary
from panel.preferences.interval import check_interval, set_interval
from panel.preferences.parameters import check_parameters, save_parameters
from panel.setups.setup_text import LARGEST_FILE_BYTES, read_setup
from panel.web.auth.access import permitted
from panel.web.auth.lock import locked, open_input
from panel.web.auth.session import actor
from panel.web.base.context import close_reading, installation, reading
from panel.web.base.errors import wants_json
from panel.web.base.htmx import back_to_page
from panel.web.page.data import PageData
from panel.web.page.forms import IntervalForm, PanelForm, ParametersForm, attempt
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


class JoinForm(PanelForm):
    """A set-up: its file, its characters with the URL, or its link.

    ``typed`` is one that could be read, sealed, so that nobody has to choose or type it again.
    """

    text = StringField()
    url = StringField()
    typed = StringField()

    def setup_text(self) -> str:
        """Return what was chosen, else what was typed, else what the form kept sealed."""
        file = request.files.get("file")
        content = file.read(LARGEST_FILE_BYTES) if file else b""
        # Windows editors write a byte order mark.
        chosen = content.decode("utf-8-sig", errors="replace")
        return chosen or self.text.data or open_input(self.typed.data or "") or ""


@blueprint.get("/parameters/join")
@permitted(Permission.EDIT)
def show_join() -> ResponseReturnValue:
    """Show the form that takes a set-up."""
    return render_template("join.html", form=JoinForm(), kept="")


@blueprint.post("/parameters/join")
@locked(lambda: _join_again(*_sent_join()).get_data(as_text=True))
def join() -> ResponseReturnValue:
    """Join the primary of the set-up that was sent."""
    form, text = _sent_join()
    try:
        setup = read_setup(text, form.url.data or "")
        who = actor()
        # Joining waits for the primary, and no transaction is to be open meanwhile.
        close_reading()
        join_primary(installation(), who, setup, form.confirmed)
    except Refusal as refusal:
        if wants_json():
            raise
        form.refuse(refusal)
        return _join_again(form, text)
    return back_to_page(_anchor="status")


def _sent_join() -> tuple[JoinForm, str]:
    form = JoinForm(request.form)
    return form, form.setup_text()


def _join_again(form: JoinForm, text: str) -> Response:
    """Show the form again. A set-up that can be read is kept sealed; what is mistyped stays."""
    kept = text if _is_setup(text, form.url.data or "") else ""
    if kept:
        form.text.data = ""
    return make_response(render_template("join.html", form=form, kept=kept), form.status)


def _is_setup(text: str, url: str) -> bool:
    """Say whether ``text`` can be read as a set-up, though ``url`` may be wrong or missing."""
    try:
        read_setup(text, url)
    except Invalid as refusal:
        return "text" not in refusal.problems
    return True


@blueprint.get("/interval")
def show_interval() -> ResponseReturnValue:
    """Show the interval as it is saved, dropping what was typed."""
    return show_part("interval.html")


@blueprint.post("/interval")
@permitted(Permission.EDIT)
def save_interval() -> ResponseReturnValue:
    """Save the interval."""
    form = IntervalForm(request.form)
    minutes, version = form.interval_minutes.data or 0, form.version.data or 0

    def keep(session: Session) -> ResponseReturnValue:
        saved = set_interval(session, actor(), minutes, version)
        pause = (Changed.PAUSE,) if 0 in (saved.before, minutes) else ()
        return after_change(Changed.INTERVAL, *pause, anchor="interval", said=_("Saved."))

    kept = attempt(form, keep, lambda session: check_interval(session, minutes, version))
    return kept or show_part("interval.html", form.status, interval_form=form)
