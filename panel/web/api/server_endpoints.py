"""The endpoints for other servers, which ``panel.sync`` authenticates, and for supervisors."""

from http import HTTPStatus
from typing import cast

from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request
from sqlalchemy.exc import SQLAlchemyError

from panel.i18n import say
from panel.migrate import newest_revision, present_revision
from panel.models.runs import PASSWORD_UNREADABLE, Loop
from panel.sync.msupply_v5 import primary as v5
from panel.sync.msupply_v5.calls import Request
from panel.sync.primary.exchange import Primary, Reply
from panel.sync.primary.joining import LARGEST_BODY_BYTES as LARGEST_JOINING_BYTES
from panel.sync.primary.parts import PartCall
from panel.sync.protocol import body_codec
from panel.sync.protocol.error_codes import explain
from panel.sync.protocol.messages import LARGEST_PART_BYTES
from panel.web.auth.csrf import protect
from panel.web.base.context import installation, installation_of
from panel.web.base.errors import DISK_FULL, READ_ONLY, error_json

_PRIMARY = "panel.primary"

blueprint = Blueprint("server", __name__)
protect.exempt(blueprint)


def init_server_endpoints(app: Flask) -> None:
    """Register the endpoints on ``app``."""
    here = installation_of(app)
    app.extensions[_PRIMARY] = Primary(here.database, initialises=here.config.initialises)
    app.register_blueprint(blueprint)


@blueprint.post("/sync/exchange")
def exchange() -> Response:
    """Answer one exchange of our own protocol (panel/sync/protocol/PROTOCOL.md)."""
    request.max_content_length = body_codec.LARGEST_BODY_BYTES
    reply = _primary().exchange(_read_content, dict(request.headers), request.remote_addr or "")
    return _response(reply)


@blueprint.post("/sync/join")
def join() -> Response:
    """Let a machine join with a set-up (PROTOCOL.md, *Joining*)."""
    request.max_content_length = LARGEST_JOINING_BYTES
    reply = _primary().join(_read_content, dict(request.headers), request.remote_addr or "")
    return _response(reply)


@blueprint.get("/sync/part/<digest>")
def give_piece(digest: str) -> Response:
    """Return a piece of a record that is too large for the line (PROTOCOL.md, *Parts*)."""
    call = PartCall(digest, request.args)
    return _response(_primary().give_piece(call, dict(request.headers), request.remote_addr or ""))


@blueprint.put("/sync/part/<digest>")
def take_piece(digest: str) -> Response:
    """Keep a piece of a record that is too large for the line (PROTOCOL.md, *Parts*)."""
    request.max_content_length = LARGEST_PART_BYTES
    call, headers = PartCall(digest, request.args), dict(request.headers)
    return _response(_primary().take_piece(call, _read_content, headers, request.remote_addr or ""))


@blueprint.route("/sync/v5/<name>", methods=["GET", "POST"])
def call_v5(name: str) -> Response:
    """Answer one call of mSupply Sync v5; its client sends JSON without a Content-Type."""
    if not v5.is_call(request.method, name):
        abort(404)
    # The body is read only after authentication, up to this limit.
    request.max_content_length = body_codec.LARGEST_BODY_BYTES
    call = Request(
        name=name,
        method=request.method,
        query=request.args,
        headers={header.lower(): value for header, value in request.headers},
        read_body=_read_content,
        address=request.remote_addr or "",
    )
    answer = v5.answer(_primary(), call)
    encoding = {"Content-Encoding": answer.encoding} if answer.encoding else {}
    return Response(answer.body, answer.status, encoding, mimetype="application/json")


def _response(reply: Reply) -> Response:
    response = Response(reply.content, reply.status, reply.headers, mimetype="application/json")
    if reply.status == HTTPStatus.OK:
        # Both sides know the type, and on a slow line every byte counts.
        del response.headers["Content-Type"]
    return response


def _read_content() -> bytes:
    return request.get_data(cache=False)


def _primary() -> Primary:
    return cast(Primary, current_app.extensions[_PRIMARY])


@blueprint.get("/healthz")
def health() -> Response:
    """Answer 200 if this server can do its work, else 503 with the reason."""
    database = installation().database
    try:
        with database.reading() as session:
            refusal = session.get_one(Loop, 1).refusal
        revision = present_revision(database.engine)
        is_writable = database.is_writable()
    except SQLAlchemyError:
        return error_json(503, "database_unreachable", say("The database does not answer."))
    if revision != newest_revision():
        return error_json(503, "not_migrated", say("The database is not at this version's tables."))
    if not is_writable:
        return error_json(503, "database_read_only", READ_ONLY)
    if not database.has_room():
        return error_json(503, "disk_full", DISK_FULL)
    if refusal == PASSWORD_UNREADABLE:
        return error_json(503, refusal, explain(refusal).what)
    return jsonify(status="ok")
