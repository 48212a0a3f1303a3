"""Signing in with a name and a password, and signing out."""

import re

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from wtforms import PasswordField, StringField

from panel.accounts.sign_in import check_sign_in
from panel.activity import log
from panel.activity.kinds import EventKind
from panel.errors import Refusal
from panel.web.auth.csrf import protect
from panel.web.auth.lock import end_unlock
from panel.web.auth.session import actor, current_person, sign_in, sign_out
from panel.web.base.context import installation
from panel.web.base.embed import with_embed_query
from panel.web.base.errors import OLD_PAGE, with_retry_after
from panel.web.base.htmx import leave_for
from panel.web.page.forms import PanelForm

blueprint = Blueprint("sign_in", __name__)


class SignInForm(PanelForm):
    """A name and the password that goes with it."""

    name = StringField()
    password = PasswordField()


@blueprint.get("/sign-in")
def show() -> ResponseReturnValue:
    """Show the form, or go on for who is signed in already."""
    if current_person() is not None:
        return leave_for(_next())
    return _page(SignInForm())


@blueprint.post("/sign-in")
def enter() -> ResponseReturnValue:
    """Begin a session for the right name and password; anything else is the form again."""
    form = SignInForm(request.form)
    try:
        # Asked here, so that a form left open overnight comes back with the name in it.
        protect.protect()
        person = check_sign_in(
            installation().database,
            form.name.data or "",
            form.password.data or "",
            request.remote_addr or "",
        )
    except CSRFError:
        form.refuse(Refusal(OLD_PAGE))
        return _page(form)
    except Refusal as refusal:
        form.refuse(refusal)
        return with_retry_after(_page(form), refusal)
    sign_in(person)
    return leave_for(_next())


protect.exempt(enter)


@blueprint.post("/sign-out")
def leave() -> ResponseReturnValue:
    """End the session, and the unlock with it."""
    with installation().database.writing() as session:
        log.add_entry(session, actor(), EventKind.SIGNED_OUT)
    sign_out()
    end_unlock()
    return leave_for(url_for("sign_in.show"))


def _page(form: SignInForm) -> Response:
    next_path = request.values.get("next", "")
    return make_response(render_template("sign_in.html", form=form, next=next_path), form.status)


def _next() -> str:
    """Return the URL to go on to: a path of ours, whatever ``next`` says."""
    path = request.values.get("next", "")
    # A second slash, or the backslash that browsers take for one, would name another host.
    ours = re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", path)
    return f"{request.script_root}{with_embed_query(path)}" if ours else url_for("page.show")
