"""Records set aside: why each could not be taken, tried again or left out, and always shown."""

from collections.abc import Sequence

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy.orm import Session

from panel.accounts.people import Permission
from panel.models.records import Quarantined
from panel.models.settings import Settings
from panel.operations import quarantine_acts
from panel.operations.quarantine_acts import RetryResult
from panel.status.history import (
    PAGE_SIZE,
    compare_set_aside,
    list_set_aside,
    names_of,
    set_aside_reasons,
)
from panel.web.auth.access import permitted
from panel.web.auth.session import actor
from panel.web.base.context import close_reading, reading, writing
from panel.web.base.htmx import back_to_page, is_fragment, number_in_address
from panel.web.page.data import read_ids

blueprint = Blueprint("set_aside", __name__, url_prefix="/set-aside")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """Show a page of records set aside, on a primary those of one satellite if it is named."""
    return _page()


def _page(said: str = "") -> str:
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
        said=said,
        reasons=set_aside_reasons(session, source),
        settings=session.get_one(Settings, 1),
    )


@blueprint.get("/<int:aside_id>")
def compare(aside_id: int) -> ResponseReturnValue:
    """Show one record as it is in use here and as it is set aside, side by side."""
    return render_template(
        "set_aside_versions.html" if is_fragment() else "set_aside_compared.html",
        comparison=compare_set_aside(reading(), aside_id),
        row=reading().get_one(Quarantined, aside_id),
    )


@blueprint.post("")
@permitted(Permission.EDIT)
def decide() -> ResponseReturnValue:
    """Do one act with several records: those selected, or all of a reason."""
    reason, act = request.form.get("reason", ""), request.form.get("act", "")
    source = number_in_address("server")
    with writing() as session:
        ids: Sequence[int] = read_ids(request.form.getlist("ids"))
        if reason:
            ids = quarantine_acts.find_of_reason(session, reason, source)
        said = _leave_out_many(session, ids) if act == "leave-out" else _retry_many(session, ids)
    if not is_fragment():
        return back_to_page("set_aside.show", server=source)
    close_reading()
    return _page(said)


def _leave_out_many(session: Session, ids: Sequence[int]) -> str:
    number = quarantine_acts.leave_out_many(session, actor(), ids)
    return str(ngettext("%(num)s record left out.", "%(num)s records left out.", number))


def _retry_many(session: Session, ids: Sequence[int]) -> str:
    results = quarantine_acts.retry_many(session, actor(), ids)
    taken, refused = results[RetryResult.TAKEN], results[RetryResult.REFUSED]
    said = _(
        "Taken: %(taken)s. Still not taken: %(refused)s. With the next sync: %(queued)s.",
        taken=taken,
        refused=refused,
        queued=results[RetryResult.QUEUED],
    )
    left = len(ids) - results.total()
    return f"{said} {_('Not tried yet: %(left)s.', left=left)}" if left else said


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
