"""The set-up link: the first person and the authorisation code, on an empty database."""

from dataclasses import replace

from flask import Blueprint, current_app, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import StringField

from panel.accounts import people
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import Invalid, NotFound
from panel.i18n import say
from panel.web.auth.session import sign_in
from panel.web.base.context import reading, set_up_link_of, writing
from panel.web.base.htmx import leave_for
from panel.web.page.forms import PasswordForm

blueprint = Blueprint("set_up", __name__, url_prefix="/set-up")


class SetUpForm(PasswordForm):
    """The first person, and the code."""

    name = StringField()
    code = StringField()


@blueprint.get("/<token>")
def show(token: str) -> ResponseReturnValue:
    """Show the form to whoever has the link that was printed at the start."""
    _check(token)
    return render_template("set_up.html", form=SetUpForm())


@blueprint.post("/<token>")
def save(token: str) -> ResponseReturnValue:
    """Make the first person, who may do everything, and set the code; then go to the page."""
    _check(token)
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
    set_up_link_of(current_app).use_up()
    sign_in(person)
    return leave_for(url_for("page.show"))


def _check(token: str) -> None:
    taken = people.first_person_exists(reading())
    if taken:
        # Who sent the form twice reads the second answer.
        raise NotFound(say("This panel is set up already. Sign in."))
    if not set_up_link_of(current_app).fits(token):
        raise NotFound(
            say(
                "This set-up link was used, or the panel has been started again since. "
                "If nobody can sign in yet, the next start prints a new link."
            )
        )
