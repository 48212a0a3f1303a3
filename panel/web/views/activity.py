"""Activity: what was done and refused here, with a filter, older pages and a download."""

import csv
import io
import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session
from wtforms import DateField, Form, StringField

from panel.activity.log import EventKind, describe, search
from panel.db import Database
from panel.errors import Refusal
from panel.i18n import reveal, say
from panel.models.people import Activity
from panel.web.base.context import installation, reading
from panel.web.base.htmx import is_fragment
from panel.web.page.forms import WholeNumber

blueprint = Blueprint("activity", __name__)

PAGE_SIZE, ROWS_PER_READ = 50, 500
# Of one download, before compression; its last line says where the older rows are.
LARGEST_DOWNLOAD_BYTES = 8 * 1024 * 1024
_downloading = threading.Lock()
COLUMNS = (
    "at",
    "last_at",
    "count",
    "person",
    "address",
    "via",
    "what",
    "subject",
    "label",
    "was",
    "became",
)
# A spreadsheet takes a cell that begins so for a formula, whoever wrote it (OWASP, CSV injection).
# Where it reads semicolons between cells, a cell begins after each of them, quoted or not.
FORMULA = re.compile(
    r"""(?:^|(?<=[;\t\r\n]))  # the beginning of a cell
        (?=[\s"']*[=+\-@])      # of a formula
        |^(?=[\t\r\n])""",
    re.VERBOSE,
)
# Without it Excel takes UTF-8 for something else.
BYTE_ORDER_MARK = "\ufeff"


class Day(DateField):
    """A day in UTC, or None for an empty field; anything else stays there with the reason."""

    def process_formdata(self, valuelist: Sequence[Any]) -> None:
        """Take what was typed."""
        self.data = None
        try:
            if valuelist and valuelist[0]:
                self.data = date.fromisoformat(valuelist[0])
        except ValueError as error:
            raise ValueError(_("A date as year-month-day, such as 2026-11-23.")) from error


class FilterForm(Form):
    """What the reader looks for."""

    person = StringField()
    what = StringField()
    begin = Day()
    end = Day()
    before = WholeNumber()

    def find(self, session: Session, before_id: int | None, limit: int) -> list[Activity]:
        """Return the newest rows that fit, below ``before_id`` if there is one."""
        begin, end = self.begin.data, self.end.data
        return search(
            session,
            person=(self.person.data or "").strip(),
            what=self.what.data or "",
            begin=datetime.combine(begin, time.min, UTC) if begin else None,
            # The day it ends on counts in.
            end=datetime.combine(end, time.max, UTC) if end else None,
            before_id=before_id,
            limit=limit,
        )

    def query(self) -> dict[str, str]:
        """Return what an address needs for the same rows, from the newest on."""
        return {
            name: value
            for name in ("person", "what", "begin", "end")
            if (value := request.args.get(name))
        }


@blueprint.get("/activity")
def show() -> ResponseReturnValue:
    """Show a page of rows, the newest first."""
    form, rows = FilterForm(request.args), []
    good = form.validate()
    if good:
        rows = form.find(reading(), form.before.data, PAGE_SIZE + 1)
    page = render_template(
        "activity_rows.html" if is_fragment() else "activity.html",
        form=form,
        rows=rows[:PAGE_SIZE],
        older=rows[PAGE_SIZE - 1].id if len(rows) > PAGE_SIZE else None,
        kinds={what.value: describe(what) for what in EventKind},
        describe=describe,
    )
    return make_response(page, 200 if good else 422)


class DownloadUnderWay(Refusal):
    """Another download is being made: they are made one after another."""

    status = 503
    code = "download_under_way"


@blueprint.get("/activity.csv")
def download() -> ResponseReturnValue:
    """Send the rows that fit as CSV, the newest first, up to the size of one download."""
    form = FilterForm(request.args)
    if not form.validate():
        return show()
    if not _downloading.acquire(blocking=False):
        raise DownloadUnderWay(say("Another download is being made. Try again in a minute."))
    try:
        content = "".join(_csv(installation().database, form))
    finally:
        _downloading.release()
    disposition = {"Content-Disposition": 'attachment; filename="activity.csv"'}
    return Response(content, mimetype="text/csv", headers=disposition)


def _csv(database: Database, form: FilterForm) -> Iterator[str]:
    yield BYTE_ORDER_MARK + csv_line(COLUMNS)
    before_id, room = form.before.data, LARGEST_DOWNLOAD_BYTES
    while room > 0:
        with database.reading() as session:
            rows = form.find(session, before_id, ROWS_PER_READ)
        if not rows:
            return
        lines = "".join(csv_line(csv_cell(getattr(row, name)) for name in COLUMNS) for row in rows)
        before_id, room = rows[-1].id, room - len(lines.encode())
        yield lines
    query: dict[str, Any] = {**form.query(), "before": before_id}
    older = url_for("activity.download", **query)
    yield csv_line([_("Older rows: %(address)s", address=older)])


def csv_cell(value: object) -> str:
    """Return ``value`` as a spreadsheet may read it."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value or "")
    return FORMULA.sub("'", reveal(text))


def csv_line(cells: Iterable[str]) -> str:
    """Return a line of CSV."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
