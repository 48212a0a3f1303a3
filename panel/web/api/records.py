"""The API for applications on this machine, which read and write their records.

Every request carries a bearer token (RFC 6750), made by ``sync-panel token add``. ``openapi.json``
beside this file describes the API; tests compare the two.
"""

import json
import re
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, g, request, url_for
from sqlalchemy.orm import Session
from werkzeug.routing import PathConverter

from panel import clock
from panel.accounts.tokens import find_token, last_used_is_outdated, read_bearer, update_last_used
from panel.activity.log import Actor
from panel.config import MOST_WAITING_ANSWERS, STILL_WANTED
from panel.errors import Invalid, NotPermitted, Refusal, TooManyWaiting, for_each
from panel.i18n import say
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.people import Token
from panel.models.records import Record
from panel.operations.sync_requests import ask_to_sync
from panel.status.history import read_delivery
from panel.status.state import as_facts, read_state
from panel.sync.store.change_feed import CHANGE_MARK, Changes, changes
from panel.sync.store.jsonl import as_line, as_sync_id, as_write
from panel.sync.store.records import (
    Write,
    check_write,
    delete_record,
    get_record,
    list_records,
    require_sync_id,
    require_version,
    write_records,
)
from panel.web.auth.csrf import protect
from panel.web.base.bodies import BodyNotUnderstood, json_answer, read_json
from panel.web.base.context import close_reading, installation, reading, writing
from panel.web.base.errors import refusal_json

LARGEST_REQUEST_BYTES = 16 * 1024 * 1024
DEFAULT_LIMIT, HIGHEST_LIMIT = 500, 5_000
ONE_RECORD = "/records/<table>/<record_id:record_id>"
_PUBLIC = "api.describe"
# What an application calls a part of the path.
_FIELDS = {"record_id": "id"}
_QUERY = {"api.list_": {"after", "limit"}, "api.follow": {"since", "limit", "wait"}}

# An application that waits asks the database so often, whatever process changed it.
LONGEST_WAIT_SECONDS, LOOK_SECONDS = 30, 0.5
_waiters = threading.BoundedSemaphore(MOST_WAITING_ANSWERS)

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
protect.exempt(blueprint)


class RecordId(PathConverter):
    """The URL converter ``record_id``: whatever stands there, so that a bad id gets its reason."""

    part_isolating = False
    regex = r"[\s\S]+"


class TokenNeeded(Refusal):
    """The request has no bearer token."""

    status = 401
    code = "token_needed"


class TokenUnknown(Refusal):
    """The request has a token that is unknown or revoked."""

    status = 401
    code = "token_unknown"


class NotForOthers(Refusal):
    """A satellite was asked to make a record for another server."""

    status = 403
    code = "not_for_others"


@blueprint.before_request
def _check_token() -> None:
    if request.endpoint == _PUBLIC:
        return
    secret = read_bearer(request.headers.get("Authorization", ""))
    if not secret:
        raise TokenNeeded(say("Send a token: `sync-panel token add` makes one."))
    token = find_token(reading(), secret)
    # The body is not read yet, which lasts on a slow line.
    close_reading()
    if token is None:
        raise TokenUnknown(
            say(
                "This token is unknown here, or was revoked. `sync-panel token list` shows those "
                "in use."
            )
        )
    g.token = token
    if last_used_is_outdated(token, clock.now()):
        with writing() as session:
            update_last_used(session, token.id, clock.now())


@blueprint.before_request
def _check_url() -> None:
    known = _QUERY.get(request.endpoint or "", set())
    problems = {
        name: say("There is no such parameter.") for name in request.args if name not in known
    }
    for name, value in (*(request.view_args or {}).items(), *request.args.items()):
        # No record has one in its name, and PostgreSQL refuses NUL even in a query.
        if any(unicodedata.category(character) == "Cc" for character in value):
            problems[_FIELDS.get(name, name)] = say("Must not have control characters in it.")
    if problems:
        raise Invalid(problems)


@blueprint.after_request
def _add_challenge(response: Response) -> Response:
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        # RFC 6750, 3.1.
        sent = request.headers.get("Authorization", "").lower().startswith("bearer ")
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if sent else "Bearer"
    return response


@blueprint.get("/openapi.json")
def describe() -> Response:
    """Return the OpenAPI 3.1 description of this API."""
    base = url_for("api.describe").partition("/openapi.json")[0]
    return json_answer({**_description(), "servers": [{"url": base}]})


@blueprint.get("/records/<table>")
def list_(table: str) -> Response:
    """Return records of a table by id, beyond ``after``, and the next ``after`` or null."""
    after, limit = request.args.get("after", ""), _limit()
    records, more = list_records(reading(), table, after, limit)
    lines = [as_line(record) for record in records]
    # The records may be deleted since they were counted: no lines then.
    return json_answer({"records": lines, "next": lines[-1]["id"] if lines and more else None})


@blueprint.post("/records")
def write() -> Response:
    """Put and delete many records, all or none; return how many changed.

    A refusal names the line of the record, from 1.
    """
    if _has_condition():
        raise Invalid({"If-Match": say("Is for one record: write it with PUT or DELETE.")})
    body = _read_object({"records"})
    lines = body.get("records")
    if not isinstance(lines, list):
        raise Invalid({"records": say("Must be a list of records.")})
    if len(lines) > HIGHEST_LIMIT:
        reason = say("May have at most %(highest)s records.", highest=HIGHEST_LIMIT)
        raise Invalid({"records": reason})
    try:
        writes = for_each(as_write, lines)
        with writing() as session:
            changed = write_records(session, require_sync_id(session), writes)
    except Refusal as refusal:
        return refusal_json(refusal, refusal.line)
    return json_answer({"changed": changed})


@blueprint.get(ONE_RECORD)
def get(table: str, record_id: str) -> Response:
    """Return one record, its version as ETag."""
    return _record_answer(get_record(reading(), table, record_id))


@blueprint.put(ONE_RECORD)
def put(table: str, record_id: str) -> Response:
    """Write one record and return it; in another version than If-Match has, change nothing."""
    body = _read_object({"data", "to", "owner"})
    if not isinstance(body.get("data"), dict):
        raise Invalid({"data": say("Must be a JSON object.")})
    with writing() as session:
        own_sync_id, to = require_sync_id(session), as_sync_id(body.get("to"))
        owner = as_sync_id(body.get("owner"))
        if owner not in (None, own_sync_id) and own_sync_id != PRIMARY_SYNC_ID:
            raise NotForOthers(say("Only a primary makes records for other servers."))
        wanted = Write(table, record_id, body["data"], to, owner)
        _check_condition(session, own_sync_id, wanted)
        write_records(session, own_sync_id, [wanted])
        return _record_answer(get_record(session, table, record_id))


@blueprint.delete(ONE_RECORD)
def delete(table: str, record_id: str) -> Response:
    """Delete one record; a repeat changes nothing, nor does another version than If-Match has."""
    with writing() as session:
        own_sync_id = require_sync_id(session)
        _check_condition(session, own_sync_id, Write(table, record_id, None))
        delete_record(session, own_sync_id, table, record_id)
    return Response(status=204)


@blueprint.get("/deliveries/<table>/<record_id:record_id>", merge_slashes=False)
def delivery(table: str, record_id: str) -> Response:
    """Return how far a record or its tombstone has come, and for whom it waits."""
    found = read_delivery(reading(), table, record_id)
    return json_answer(
        {
            "table": found.record.table_name,
            "id": found.record.record_id,
            "version": found.record.version,
            "deleted": found.record.deleted,
            "state": found.state,
            "waits_for": found.waits_for,
            "more": found.more,
        }
    )


@blueprint.get("/status")
def status() -> Response:
    """Return how sync stands, as ``sync-panel status --json`` prints it."""
    facts = as_facts(read_state(reading(), clock.now()))
    return json_answer({name: _as_json(value) for name, value in facts.items()})


@blueprint.post("/sync-now")
def sync_now() -> Response:
    """Let a satellite's next run begin at once, for a token that may."""
    token: Token = g.token
    if not token.may_sync:
        raise NotPermitted(
            say(
                "This token may not start a sync: `sync-panel token add --may-sync` makes one that "
                "may."
            )
        )
    with writing() as session:
        ask_to_sync(session, Actor(token.name, request.remote_addr or "", via="api"))
    return json_answer({"asked": True}, HTTPStatus.ACCEPTED)


def _as_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    return value


@blueprint.get("/changes")
def follow() -> Response:
    """Return the changes after the cursor ``since``, oldest first, and the next cursor.

    Where there is none, it waits for one for up to ``wait`` seconds.
    """
    since, limit = request.args.get("since", ""), _limit()
    wait = _number("wait", 0, 0, LONGEST_WAIT_SECONDS)
    page = _wait_for_changes(since, limit, wait) if wait else changes(reading(), since, limit)
    lines = [as_line(record) for record in page.records]
    return json_answer({"changes": lines, "cursor": page.cursor, "more": page.more})


def _record_answer(record: Record) -> Response:
    response = json_answer(as_line(record))
    response.set_etag(str(record.version))
    return response


def _has_condition() -> bool:
    return "If-Match" in request.headers or "If-None-Match" in request.headers


def _check_condition(session: Session, own_sync_id: int, wanted: Write) -> None:
    """Refuse a write that is meant for another version of the record (RFC 9110, 13.1).

    One that is wrong in itself is refused for that: it could not be sent again (13.2.1).
    """
    if _has_condition():
        check_write(wanted, own_sync_id)
        require_version(session, *wanted.key, _fits)


def _fits(version: int | None) -> bool:
    """Say whether ``version`` meets the conditions of the request; None is no record."""
    has_wanted, wanted = "If-Match" in request.headers, request.if_match
    if version is None:
        return not has_wanted
    fits = not has_wanted or wanted.contains(str(version))
    return fits and not request.if_none_match.contains_weak(str(version))


@cache
def _description() -> dict[str, Any]:
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    description: dict[str, Any] = json.loads(text)
    return description


def _wait_for_changes(since: str, limit: int, wait_seconds: int) -> Changes:
    """Return the changes after ``since``, as soon as there are any, or the time is over."""
    until = time.monotonic() + wait_seconds
    still_wanted = request.environ.get(STILL_WANTED, lambda: True)
    database = installation().database
    with _as_waiter():
        while True:
            mark = database.read_row(CHANGE_MARK, {})
            page = changes(reading(), since, limit)
            # It holds nothing of the database while it waits.
            close_reading()
            if page.records:
                return page
            while database.read_row(CHANGE_MARK, {}) == mark:
                if time.monotonic() >= until or not still_wanted():
                    return page
                time.sleep(LOOK_SECONDS)


@contextmanager
def _as_waiter() -> Iterator[None]:
    if not _waiters.acquire(blocking=False):
        raise TooManyWaiting(
            say("Too many wait for changes at this moment: ask again later, or without `wait`.")
        )
    try:
        yield
    finally:
        _waiters.release()


def _limit() -> int:
    return _number("limit", DEFAULT_LIMIT, 1, HIGHEST_LIMIT)


def _number(name: str, default: int, lowest: int, highest: int) -> int:
    """Return the whole number that the query has under ``name``. Raise Invalid."""
    text = request.args.get(name, str(default))
    number = int(text) if re.fullmatch(r"[0-9]{1,8}", text) else -1
    if not lowest <= number <= highest:
        reason = say(
            "Must be a whole number from %(lowest)s to %(highest)s.", lowest=lowest, highest=highest
        )
        raise Invalid({name: reason})
    return number


def _read_object(names: set[str]) -> dict[str, Any]:
    body = read_json(LARGEST_REQUEST_BYTES)
    if not isinstance(body, dict) or not body.keys() <= names:
        fields = ", ".join(sorted(names))
        raise BodyNotUnderstood(say("The body must be an object of %(fields)s.", fields=fields))
    return body
