"""Records set aside: why each could not be taken, tried again or left out, and always shown."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from panel.accounts.people import Permission
from panel.models.records import Quarantined
from panel.models.settings import Settings
from panel.operations import quarantine_acts
from panel.operations.quarantine_acts import RetryResult
from panel.status.history import PAGE_SIZE, list_set_aside, names_of
from panel.web.auth.access import permitted
from panel.web.auth.session import actor
from panel.web.base.context import reading, writing
from panel.web.base.htmx import back_to_page, is_fragment, number_in_address

blueprint = Blueprint("set_aside", __name__, url_prefix="/set-aside")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """Show a page of records set aside, on a primary those of one satellite if it is named."""
    source = number_in_address("server")
    session = reading()
    rows = list_set_aside(session, source, number_in_address("before"), PAGE_SIZE + 1)
    shown = rows[:PAGE_SIZE]
    return render_template(
        "set_aside_rows.html" if is_fragment() else "set_aside.html",
        rows=shown,
        older=shown[-1].id if len(rows) > PAGE_SIZE else None,
        source=source,
        names=names_of(session, {row.source for row in shown}),
        said="",
        settings=session.get_one(Settings, 1),
    )


@blueprint.post("/<int:aside_id>/again")
@permitted(Permission.EDIT)
def try_again(aside_id: int) -> ResponseReturnValue:
    """Try one record at once; one of our own goes up with the next push."""
    with writing() as session:
        tried = quarantine_acts.retry_record(session, actor(), aside_id)
        said = {
            RetryResult.TAKEN: _("Done: it was taken."),
            RetryResult.REFUSED: _("It still cannot be taken."),
            RetryResult.QUEUED: _("It will be sent again with the next sync."),
        }
        return _done(aside_id, said[tried])


@blueprint.post("/<int:aside_id>/leave-out")
@permitted(Permission.EDIT)
def leave_out(aside_id: int) -> ResponseReturnValue:
    """Stop trying one record; it stays in the list."""
    with writing() as session:
        quarantine_acts.leave_out(session, actor(), aside_id)
        return _done(aside_id, _("Left out."))


def _done(aside_id: int, said: str) -> ResponseReturnValue:
    """Answer with the row as it is now; with the words in its place if it is there no more."""
    if not is_fragment():
        return back_to_page("set_aside.show", _anchor=f"a{aside_id}")
    session = reading()
    row = session.get(Quarantined, aside_id)
    names = names_of(session, [row.source]) if row else {}
    settings = session.get_one(Settings, 1)
    return render_template(
        "set_aside_answer.html",
        **{"row": row, "aside_id": aside_id, "said": said},
        **{"names": names, "settings": settings},
    )
