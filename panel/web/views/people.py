"""The People page: who may sign in, and what for. For those who manage people."""

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session
from wtforms import PasswordField, SelectMultipleField, StringField

from panel.accounts import people
from panel.accounts.people import Permission
from panel.accounts.sign_in import confirm_password
from panel.errors import NotFound, Refusal
from panel.i18n import say
from panel.models.people import Person
from panel.web.auth.access import permitted
from panel.web.auth.session import actor, current_person, renew_session, set_cookie
from panel.web.base.context import installation, lend_database, reading, writing
from panel.web.base.errors import wants_json, with_retry_after
from panel.web.base.htmx import back_to_page, is_fragment, leave_for
from panel.web.base.language import COOKIE, LANGUAGES, names
from panel.web.page.forms import PasswordForm

blueprint = Blueprint("people", __name__)
managers_only = permitted(Permission.MANAGE)


class PersonForm(PasswordForm):
    """Whatever can be said of a person; each form of the page shows a part of it."""

    name = StringField()
    own_password = PasswordField()
    permission = SelectMultipleField(choices=list(Permission), default=[Permission.VIEW])

    def ticked(self) -> list[Permission]:
        """Return the permissions that were ticked."""
        sent = self.permission.data or []
        return [permission for permission in Permission if permission in sent]


@dataclass
class Act:
    """What was sent: by which form, of which person (None: the form that adds one)."""

    name: str = ""
    person_id: int | None = None
    form: PersonForm = field(default_factory=lambda: PersonForm(request.form))

    def form_of(self, name: str, person: Person | None = None) -> PersonForm:
        """Return the form to show: the one that was refused as it was sent, the others fresh."""
        if self.form.was_refused and (name, person and person.id) == (self.name, self.person_id):
            return self.form
        if person is None:
            return PersonForm()
        return PersonForm(version=person.version, permission=people.permissions(person))


@blueprint.get("/people")
@managers_only
def show() -> ResponseReturnValue:
    """Show everybody, and the form that adds a person."""
    return _page(Act())


@blueprint.post("/people")
@managers_only
def add() -> ResponseReturnValue:
    """Add a person. Whom the intranet's proxy signs in needs no password."""
    act = Act("add")
    name, password = act.form.name.data or "", act.form.typed_password or _no_password()
    return _attempt(
        act,
        lambda session: people.add_person(session, actor(), name, password, act.form.ticked()),
    )


@blueprint.post("/people/<int:person_id>/permissions")
@managers_only
def permit(person_id: int) -> ResponseReturnValue:
    """Let a person do what is ticked, and nothing else."""
    act = Act("permit", person_id)
    ticked, version = act.form.ticked(), act.form.version.data or 0
    return _attempt(
        act,
        lambda session: people.set_permissions(session, actor(), person_id, ticked, version),
    )


@blueprint.post("/people/<int:person_id>/password")
@managers_only
def set_password(person_id: int) -> ResponseReturnValue:
    """Give a person a new password, which ends their sessions.

    Whoever gives it says their own first: a page that stands open unlocks nobody's account.
    """
    act = Act("password", person_id)
    password = act.form.password.data or ""
    try:
        own = act.form.own_password.data or ""
        confirm_password(lend_database(), actor(), own, "own_password")
    except Refusal as refusal:
        return _refused(act, refusal)
    return _attempt(act, lambda session: people.set_password(session, actor(), person_id, password))


@blueprint.post("/people/<int:person_id>/disable")
@managers_only
def disable(person_id: int) -> ResponseReturnValue:
    """Shut a person out, at once."""
    act = Act("disable", person_id)
    return _attempt(act, lambda session: people.disable(session, actor(), person_id))


@blueprint.post("/people/<int:person_id>/enable")
@managers_only
def enable(person_id: int) -> ResponseReturnValue:
    """Let a disabled person in again."""
    act = Act("enable", person_id)
    return _attempt(act, lambda session: people.enable(session, actor(), person_id))


def _attempt(act: Act, verb: Callable[[Session], Person]) -> ResponseReturnValue:
    try:
        with writing() as session:
            person = verb(session)
    except NotFound:
        raise
    except Refusal as refusal:
        return _refused(act, refusal)
    if act.name == "password" and renew_session(person):
        return leave_for(url_for("people.show"))
    act.person_id = person.id
    return _page(act, said=_("Saved.")) if is_fragment() else back_to_page("people.show")


def _refused(act: Act, refusal: Refusal) -> ResponseReturnValue:
    if wants_json():
        raise refusal
    act.form.refuse(refusal)
    return with_retry_after(_page(act, refusal.status), refusal)


def _page(act: Act, status: int = 200, said: str = "") -> Response:
    everybody = people.list_people(reading())
    page = render_template(
        "people_list.html" if is_fragment() else "people.html",
        people=everybody,
        granted=_granted,
        act=act,
        said=said,
    )
    return make_response(page, status)


def _granted(person: Person) -> str:
    granted = people.permissions(person)
    words = [names()[permission] for permission in Permission if permission in granted]
    return str(_(", ")).join(words)


def _no_password() -> str | None:
    return None if installation().config.remote_user_header else ""


YEAR_SECONDS = 365 * 24 * 3600


@blueprint.get("/language")
def show_languages() -> ResponseReturnValue:
    """Show the languages to choose from."""
    current_person()
    return render_template("language.html", next="")


@blueprint.post("/language")
def choose_language() -> ResponseReturnValue:
    """Remember the language, of the person who is signed in and of the browser."""
    language, person = request.form.get("language", ""), current_person()
    if language not in LANGUAGES:
        raise NotFound(say("The panel does not speak that language."))
    if person is not None:
        with writing() as session:
            people.choose_language(session, person.id, language)
    # The sign-in page speaks it too, once the person has left.
    next_path = request.form.get("next") or None
    address = url_for("page.show") if person else url_for("sign_in.show", next=next_path)
    response = redirect(address, 303, Response)
    set_cookie(response, COOKIE, language, YEAR_SECONDS)
    return response
