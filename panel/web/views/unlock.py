"""The lock's own bar: the dialog for the authorisation code, until when it is open, Lock now."""

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from panel.accounts import authorisation_code
from panel.accounts.people import Permission
from panel.errors import Invalid, Throttled
from panel.web.auth.access import permitted
from panel.web.auth.lock import CODE_FIELD, begin_unlock, end_unlock, open_unlock
from panel.web.auth.session import actor
from panel.web.base.context import installation, lend_database, writing
from panel.web.base.errors import wants_json, with_retry_after
from panel.web.base.htmx import back_to_page, is_fragment
from panel.web.page.fragments import Changed, after_change, show_part

blueprint = Blueprint("unlock", __name__)


@blueprint.get("/unlock")
@permitted(Permission.EDIT)
def ask() -> ResponseReturnValue:
    """Open the dialog for the code, where the bar was."""
    if open_unlock() is not None:
        return after_change(Changed.UNLOCKED, anchor="bar")
    return show_part("bar.html", dialog=True)


@blueprint.post("/unlock")
@permitted(Permission.EDIT)
def enter() -> ResponseReturnValue:
    """Unlock with the right code; a wrong one opens the dialog again with the reason."""
    code = request.form.get(CODE_FIELD, "")
    try:
        found = authorisation_code.try_code(
            lend_database(), actor(), code, installation().config.unlock_minutes
        )
    except (Invalid, Throttled) as refusal:
        if wants_json():
            raise
        return _refused(refusal)
    begin_unlock(found)
    return after_change(Changed.UNLOCKED, anchor="bar", said=_("Unlocked."))


@blueprint.post("/lock")
def close() -> ResponseReturnValue:
    """Lock now: every unlock of this person ends, in other browsers too."""
    who = actor()
    with writing() as session:
        if who.person_id is not None:
            authorisation_code.end_unlocks(session, who, who.person_id)
        end_unlock()
        return after_change(Changed.LOCKED, anchor="bar", said=_("Locked."))


@blueprint.get("/bar")
def cancel() -> ResponseReturnValue:
    """Close the dialog again: the bar as it was.

    ``quiet`` is the script's, once the time of the unlock is past: somebody may be typing.
    """
    if not is_fragment():
        return back_to_page(_anchor="bar")
    return show_part("bar.html", focus="" if "quiet" in request.args else "bar")


def _refused(refusal: Invalid | Throttled) -> Response:
    response = show_part("bar.html", refusal.status, dialog=True, refusal=refusal.message)
    return with_retry_after(response, refusal)
