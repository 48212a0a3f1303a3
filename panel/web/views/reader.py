"""The reader's own choices, which concern nobody else: so far, the language."""

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from panel.accounts import people
from panel.errors import NotFound
from panel.i18n import say
from panel.web.auth.session import current_person, give_cookie
from panel.web.base.context import installation
from panel.web.base.language import COOKIE, LANGUAGES

blueprint = Blueprint("reader", __name__)
YEAR_SECONDS = 365 * 24 * 3600


@blueprint.get("/language")
def show() -> ResponseReturnValue:
    """Show the languages to choose from."""
    current_person()
    return render_template("language.html")


@blueprint.post("/language")
def choose() -> ResponseReturnValue:
    """Remember the language, of the person who is signed in and of the browser."""
    language, person = request.form.get("language", ""), current_person()
    if language not in LANGUAGES:
        raise NotFound(say("The panel does not speak that language."))
    if person is not None:
        with installation().database.writing() as session:
            people.choose_language(session, person.id, language)
    # The sign-in page speaks it too, once the person has left.
    next_path = request.form.get("next") or None
    address = url_for("page.show") if person else url_for("sign_in.show", next=next_path)
    response = redirect(address, 303, Response)
    give_cookie(response, COOKIE, language, YEAR_SECONDS)
    return response
