"""The first person, signing in and out, and one's own account: language, password and sessions."""

import re
import secrets
from dataclasses import replace
from http import HTTPStatus

from flask import (
    Blueprint,
    Response,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFError
from wtforms import PasswordField, StringField

from panel.accounts import people
from panel.accounts.sign_in import check_sign_in, confirm_password, end_session, list_sessions
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import Invalid, NotFound, Refusal
from panel.i18n import say
from panel.models.people import Person
from panel.security.hashes import equal_in_constant_time, hash_token
from panel.web.auth.csrf import probe, protect
from panel.web.auth.lock import end_unlock
from panel.web.auth.session import (
    actor,
    current_person,
    current_session,
    limits,
    renew_session,
    set_cookie,
    sign_in,
    sign_out,
)
from panel.web.base.context import installation, lend_database, reading, writing
from panel.web.base.embed import is_framed, with_embed_query
from panel.web.base.errors import OLD_PAGE, wants_json, with_retry_after
from panel.web.base.htmx import is_fragment, leave_for
from panel.web.page.forms import PanelForm, PasswordForm

blueprint = Blueprint("sign_in", __name__)

# The random id by which a browser is known at the sign-in, which alone it is sent to.
_BROWSER_COOKIE, _BROWSER_PATH, _BROWSER_SECONDS = "b", "/sign-in", 180 * 24 * 3600
_BROWSER_KEY_BYTES = 16


class SetUpForm(PasswordForm):
    """The first person, and the code."""

    name = StringField()
    code = StringField()


class SignInForm(PanelForm):
    """A name and the password that goes with it."""

    name = StringField()
    password = PasswordField()


class OwnPasswordForm(PanelForm):
    """The password of before and the new one, neither of them ever filled in."""

    own_password = PasswordField()
    password = PasswordField()


@blueprint.get("/set-up/<token>")
def show_set_up(token: str) -> ResponseReturnValue:
    """Show the form to whoever has the link that was printed at the start."""
    _check_link(token)
    return render_template("set_up.html", form=SetUpForm())


@blueprint.post("/set-up/<token>")
def set_up(token: str) -> ResponseReturnValue:
    """Make the first person, who may do everything, and set the code; then go to the page."""
    _check_link(token)
    form = SetUpForm(request.form)
    name, password, code = form.name.data or "", form.typed_password or "", form.code.data or ""
    try:
        with writing() as session:
            who = Actor(name.strip(), request.remote_addr or "", via="web")
            person = people.set_up(session, who, name, password, code)
            log.add_entry(session, replace(who, person_id=person.id), EventKind.SIGNED_IN)
    except Invalid as invalid:
        form.refuse(invalid)
        return make_response(render_template("set_up.html", form=form), form.status)
    sign_in(person)
    return leave_for(url_for("page.show"))


def _check_link(token: str) -> None:
    taken = people.first_person_exists(reading())
    if taken:
        # Who sent the form twice reads the second answer.
        raise NotFound(say("This panel is set up already. Sign in."))
    if not equal_in_constant_time(token, installation().set_up_token):
        raise NotFound(
            say(
                "This is not the set-up link of this panel. If nobody can sign in yet, its next "
                "start prints the link."
            )
        )


@blueprint.get("/sign-in")
def show() -> ResponseReturnValue:
    """Show the form, or go on for who is signed in already."""
    if current_person() is not None:
        return leave_for(_next())
    if not people.first_person_exists(reading()):
        return render_template("not_set_up.html")
    if probed := probe():
        return redirect(url_for("sign_in.show", next=request.args.get("next"), **probed), 303)
    return _page(SignInForm())


@blueprint.post("/sign-in")
def enter() -> ResponseReturnValue:
    """Begin a session for the right name and password; anything else is the form again."""
    form, browser_key = SignInForm(request.form), _browser_key()
    try:
        # Asked here, so that a form left open overnight comes back with the name in it.
        protect.protect()
        person = check_sign_in(
            lend_database(),
            form.name.data or "",
            form.password.data or "",
            request.remote_addr or "",
            hash_token(browser_key),
        )
    except CSRFError:
        form.refuse(Refusal(OLD_PAGE))
        return _page(form)
    except Refusal as refusal:
        form.refuse(refusal)
        return with_retry_after(_page(form), refusal)
    sign_in(person)
    response = leave_for(_next())
    set_cookie(response, _browser_cookie(), browser_key, _BROWSER_SECONDS, _BROWSER_PATH)
    return response


protect.exempt(enter)


@blueprint.post("/sign-out")
def leave() -> ResponseReturnValue:
    """End the session, and the unlock with it."""
    with writing() as session:
        log.add_entry(session, actor(), EventKind.SIGNED_OUT)
    sign_out()
    end_unlock()
    response = leave_for(url_for("sign_in.show"))
    # The pages that the browser keeps. Not "cookies", which would sign out of every application
    # of the same domain.
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


@blueprint.get("/account")
def account() -> ResponseReturnValue:
    """Show one's own account."""
    return _account(OwnPasswordForm())


@blueprint.post("/account/password")
def change_password() -> ResponseReturnValue:
    """Change one's own password; every other session of oneself ends."""
    form, person = OwnPasswordForm(request.form), _me()
    try:
        if person.password_hash is None:
            raise NotFound(say("The intranet signs you in: you have no password here."))
        old, new = form.own_password.data or "", form.password.data or ""
        confirm_password(lend_database(), actor(), old, "own_password")
        if old == new:
            raise Invalid({"password": say("This is the password that you have already.")})
        with writing() as session:
            changed = people.set_password(session, actor(), person.id, new)
    except Refusal as refusal:
        if wants_json():
            raise
        form.refuse(refusal)
        return with_retry_after(_account(form), refusal)
    renew_session(changed)
    # What the page holds is the token of a session that has just ended.
    return leave_for(url_for("sign_in.account", saved=1))


@blueprint.post("/account/sessions/<int:session_id>/end")
def end(session_id: int) -> ResponseReturnValue:
    """End one of one's own sessions, in another browser."""
    with writing() as session:
        end_session(session, actor(), session_id)
    if is_fragment():
        return _account(OwnPasswordForm(), said=_("The session has ended."))
    return redirect(url_for("sign_in.account"), 303)


def _account(form: OwnPasswordForm, said: str = "") -> Response:
    person = _me()
    sessions = list_sessions(reading(), person, limits())
    if "saved" in request.args and form.status == HTTPStatus.OK:
        said = said or _("Saved.")
    template = "account_parts.html" if is_fragment() else "account.html"
    here = current_session()
    page = render_template(template, form=form, sessions=sessions, here=here, said=said, next=None)
    return make_response(page, form.status)


def _me() -> Person:
    person = current_person()
    if person is None:
        raise NotFound(say("There is no such person."))
    return person


def _browser_key() -> str:
    key = request.cookies.get(_browser_cookie(), "")
    if re.fullmatch(r"[A-Za-z0-9_-]{22}", key):
        return key
    return secrets.token_urlsafe(_BROWSER_KEY_BYTES)


def _browser_cookie() -> str:
    return f"{_BROWSER_COOKIE}{'f' if is_framed() else ''}"


def _page(form: SignInForm) -> Response:
    next_path = request.values.get("next", "")
    return make_response(render_template("sign_in.html", form=form, next=next_path), form.status)


def _next() -> str:
    """Return the URL to go on to: a path of ours, whatever ``next`` says."""
    path = request.values.get("next", "")
    # A second slash, or the backslash that browsers take for one, would name another host.
    ours = re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", path)
    return f"{request.script_root}{with_embed_query(path)}" if ours else url_for("page.show")
