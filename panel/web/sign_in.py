"""Signing in with a name and a password, and signing out."""

import re

from flask import Blueprint, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError

from panel.errors import Refusal, Throttled
from panel.preferences import activity, people
from panel.preferences.activity import What
from panel.web.csrf import protect
from panel.web.errors import OLD_PAGE, seconds_until
from panel.web.htmx import leave_for
from panel.web.lock import end_unlock
from panel.web.services import services
from panel.web.session import actor, current_person, sign_in, sign_out
from panel.words import Message

blueprint = Blueprint("sign_in", __name__)


@blueprint.get("/sign-in")
def show() -> ResponseReturnValue:
    """Show the form, or go on for who is signed in already."""
    if current_person() is not None:
        return leave_for(_next())
    return _form()


@blueprint.post("/sign-in")
@protect.exempt
def enter() -> ResponseReturnValue:
    """Begin a session for the right name and password; anything else is the form again."""
    try:
        # Here rather than before every view, so that a form left open overnight comes back filled.
        protect.protect()
    except CSRFError:
        return _form(OLD_PAGE, 400)
    name, password = request.form.get("name", ""), request.form.get("password", "")
    try:
        person = people.check_sign_in(
            services().database, name, password, request.remote_addr or ""
        )
    except Refusal as refusal:
        return _refused(refusal)
    sign_in(person)
    return leave_for(_next())


@blueprint.post("/sign-out")
def leave() -> ResponseReturnValue:
    """End the session, and the unlock with it."""
    with services().database.writing() as session:
        activity.record(session, actor(), What.SIGNED_OUT)
    sign_out()
    end_unlock()
    return leave_for(url_for("sign_in.show"))


def _form(problem: Message | None = None, status: int = 200) -> ResponseReturnValue:
    page = render_template("sign_in.html", problem=problem, next=request.values.get("next", ""))
    return make_response(page, status)


def _refused(refusal: Refusal) -> ResponseReturnValue:
    response = make_response(_form(refusal.message, refusal.status))
    if isinstance(refusal, Throttled):
        response.headers["Retry-After"] = str(seconds_until(refusal.until))
    return response


def _next() -> str:
    """Return the URL to go on to: a path of ours, whatever ``next`` says."""
    path = request.values.get("next", "")
    # A second slash, or the backslash that browsers take for one, would name another host.
    ours = re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", path)
    return f"{request.script_root}{path}" if ours else url_for("page.show")
