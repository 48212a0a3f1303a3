"""Error answers: a page or a notice for people, ``{"error": …}`` for programs."""

import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus

from flask import Flask, Response, g, jsonify, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from werkzeug.exceptions import BadHost, HTTPException, InternalServerError, MethodNotAllowed

from panel import clock
from panel.db import is_disk_full, is_read_only, is_statement_error
from panel.errors import Invalid, Refusal, Throttled, TooManyWaiting
from panel.i18n import Message, say
from panel.web.base.bodies import V5_PATH, is_for_programs
from panel.web.base.context import close_reading, hide_name
from panel.web.base.htmx import NOTICE, is_fragment, retarget
from panel.web.base.language import show

log = logging.getLogger(__name__)

_UNKNOWN = ("bad_request", say("The panel did not understand that request."))
_BY_STATUS = {
    404: ("not_found", say("There is nothing at this address.")),
    405: ("method_not_allowed", say("This address does not take requests of that kind.")),
    413: ("too_large", say("That is more than the panel takes at once.")),
    500: (
        "internal_error",
        say(
            "Something went wrong in the panel. Load the page again to see whether your change "
            "was saved; the panel's log says more."
        ),
    ),
}
# The same to the person at a site of mSupply, which shows the message as it is.
_BY_STATUS_AT_SITE = {
    404: ("not_found", say("This central server does not have what the site asked for.")),
    413: (
        "too_large",
        say("The site sent more at once than the central server takes. Nothing of it is lost."),
    ),
    500: (
        "internal_error",
        say(
            "The central server had a problem of its own. Nothing is lost: the site tries again "
            "at its next sync. If it lasts, tell whoever looks after the central server."
        ),
    ),
}
OLD_PAGE = say(
    "This page is too old, or the browser does not send the panel's cookie. "
    "Load the page again, then repeat what you did."
)


DISK_FULL = say(
    "The disk of this server is full: nothing can be saved until there is room. What was saved "
    "before is whole."
)
READ_ONLY = say(
    "The database of this server cannot be written, so nothing can be saved. Whoever looks after "
    "the server finds out why with `sync-panel doctor`."
)
# Up to twice as long, so that not all come back at once.
_RETRY_AFTER_SECONDS = 10
_BUSY = say("The database is too busy at this moment. Try again in a minute.")


def init_errors(app: Flask) -> None:
    """Handle every refusal and failure of ``app``."""
    app.register_error_handler(Refusal, _on_refusal)
    app.register_error_handler(CSRFError, _on_csrf)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(DataError, _on_data)
    for error in (DBAPIError, NoConnection, OSError):
        app.register_error_handler(error, _on_database)


def error_response(
    status: int, code: str, message: Message, template: str = "error.html"
) -> Response:
    """Return ``message`` as JSON for programs, as a notice for htmx, else as a page.

    ``code`` is for programs and stays the same. ``template`` is the page; the notice is the file of
    the same name in ``notices/``.
    """
    if wants_json():
        return error_json(status, code, message)
    words = show(message)
    if is_fragment():
        return retarget(
            render_template(f"notices/{template}", message=words), NOTICE, status=status
        )
    return make_response(render_template(template, message=words, status=status), status)


def error_json(
    status: int,
    code: str,
    message: Message,
    problems: Mapping[str, str] | None = None,
    line: int | None = None,
) -> Response:
    """Return ``message`` as JSON, with a ``code`` that is the same in every language.

    ``problems`` has the reason in words beside the name of each field. ``line`` is the number of
    the refused one among many.
    """
    error: dict[str, object] = {"code": code, "message": show(message)}
    if problems:
        error["problems"] = problems
    if line is not None:
        error["line"] = line
    if _is_of_a_site():
        error["data"] = None
    response = jsonify(error=error)
    response.status_code = status
    return response


def refusal_json(refusal: Refusal, line: int | None = None) -> Response:
    """Return ``refusal`` as JSON; ``line`` is the number of the refused one among many, from 1."""
    problems: dict[str, str] = {}
    if isinstance(refusal, Invalid):
        problems = {name: show(reason) for name, reason in refusal.problems.items()}
    message = refusal.message
    if line is not None:
        message = say("Line %(lines)s: %(reason)s", lines=line, reason=message)
    return error_json(refusal.status, refusal.code, message, problems, line)


def _is_of_a_site() -> bool:
    return request.path.startswith(V5_PATH)


def wants_json() -> bool:
    """Say whether the request wants JSON: it is for programs, or accepts JSON rather than HTML."""
    if is_for_programs():
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    return best == "application/json"


def with_retry_after(response: Response, refusal: Refusal) -> Response:
    """Return ``response``, where it is only for now with Retry-After in seconds (RFC 6585, 4)."""
    if isinstance(refusal, TooManyWaiting):
        response.headers["Retry-After"] = str(refusal.seconds)
    if isinstance(refusal, Throttled):
        seconds = max(1, round((refusal.until - clock.now()).total_seconds()))
        response.headers["Retry-After"] = str(seconds)
    return response


def _on_refusal(refusal: Refusal) -> Response:
    if isinstance(refusal, Invalid) and wants_json():
        return refusal_json(refusal)
    return with_retry_after(error_response(refusal.status, refusal.code, refusal.message), refusal)


def _on_csrf(_error: CSRFError) -> Response:
    return error_response(400, "csrf", OLD_PAGE)


def _on_data(_error: DataError) -> Response:
    # PostgreSQL refuses NUL in a text; browsers never send it, scanners do. Nothing more can be
    # read in that transaction.
    close_reading()
    return error_response(400, *_UNKNOWN)


def _on_database(error: Exception) -> Response:
    """Tell a full disk and a read-only database from a busy one; raise any other ``error``."""
    if is_disk_full(error):
        words = ("disk_full", DISK_FULL)
    elif is_read_only(error):
        words = ("database_read_only", READ_ONLY)
    elif isinstance(error, (OperationalError, NoConnection)) and not is_statement_error(error):
        words = ("database_busy", _BUSY)
    else:
        raise error
    # The statement and where to read about it would be further lines.
    log.warning("A request could not be answered: %s", str(error).partition("\n")[0])
    _spare_database()
    response = error_response(503, *words)
    seconds = _RETRY_AFTER_SECONDS + secrets.randbelow(_RETRY_AFTER_SECONDS)
    response.headers["Retry-After"] = str(seconds)
    return response


def _on_http(error: HTTPException) -> Response | HTTPException:
    if isinstance(error, BadHost):
        # A page has addresses, which cannot be made for what is no host.
        return error_json(400, *_UNKNOWN)
    status = error.code or 500
    if status < HTTPStatus.BAD_REQUEST:
        return error
    if isinstance(error, InternalServerError):
        close_reading()
        _spare_database()
    words = {**_BY_STATUS, **_BY_STATUS_AT_SITE} if _is_of_a_site() else _BY_STATUS
    response = error_response(status, *words.get(status, _UNKNOWN))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(error.valid_methods)
    return response


def _spare_database() -> None:
    """Keep the page of the error from asking the database, which may be what failed."""
    g.person = g.unlock = None
    hide_name()
