"""The client of ``POST /sync/exchange``: credentials, identity, and the answer or its error."""

import base64
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from panel.sync.protocol.body_codec import ACCEPTED, Body, Turn, read_body, write_body
from panel.sync.protocol.error_codes import STATUS, SyncRefusal
from panel.sync.protocol.json_reader import BadMessage, JsonObject, presentable
from panel.sync.protocol.messages import Answer, Identity, Pair, Request
from panel.sync.transport.http import LinkFault, Response, Transport

PATH = "/sync/exchange"
_CODE_LENGTH = 40
# The statuses of an unknown address, whatever the body says.
_NOT_THERE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


def exchange(
    transport: Transport, pair: Pair, token: str, identity: Identity, request: Request
) -> tuple[Answer, Response]:
    """Send ``request`` and return its answer with the HTTP response.

    With a token the identity is sent as its digest. If the primary does not know the token, the
    request is repeated with the password; if it knows another digest, with the identity in full.
    Raise SyncRefusal or LinkFault.
    """
    in_full = not token
    while True:
        asked = replace(request, identity=identity if in_full else identity.digest())
        try:
            return _send(transport, _authorization(pair, token), asked)
        except SyncRefusal as refusal:
            if refusal.code == "device_token_ended" and token:
                token, in_full = "", True
            elif refusal.code == "identity_wanted" and not in_full:
                in_full = True
            else:
                raise


def basic(pair: Pair) -> str:
    """Return the value of an ``Authorization`` header for a pair (HTTP Basic, RFC 7617)."""
    text = f"{pair.user_name}:{pair.wire_password}"
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def read_json(response: Response) -> Any:
    """Return the JSON value of a response's body. Raise :class:`BadMessage`."""
    body = Body(response.content, response.headers.get("Content-Encoding", ""))
    with Turn() as turn:
        return read_body(body, turn)


def read_error(response: Response) -> Exception:
    """Return the SyncRefusal or the LinkFault that an answer without success stands for.

    An unknown code is a refusal of a newer primary, unless the status is 404, 405, or 500 and above
    (PROTOCOL.md, *Answer*).
    """
    if HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
        return LinkFault("redirected", location=response.headers.get("Location", "")[:200])
    try:
        error = JsonObject(JsonObject(read_json(response)).get("error"))
        code = error.text("code", _CODE_LENGTH)
        values = presentable(error.get("data"))
    except BadMessage:
        code, values = "", {}
    is_server_error = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if code in STATUS or (code and response.status not in _NOT_THERE and not is_server_error):
        return SyncRefusal(code, **values)
    if is_server_error:
        return LinkFault("server_error", status=response.status)
    return LinkFault("not_a_sync_server")


def _send(transport: Transport, authorization: str, request: Request) -> tuple[Answer, Response]:
    body = write_body(request.to_json())
    headers = {"Authorization": authorization, "Accept-Encoding": ACCEPTED}
    if body.encoding:
        headers["Content-Encoding"] = body.encoding
    response = transport.send("POST", PATH, headers, body.content)
    if response.status != HTTPStatus.OK:
        raise read_error(response)
    try:
        return Answer.from_json(read_json(response)), response
    except BadMessage as error:
        raise LinkFault("not_a_sync_server") from error


def _authorization(pair: Pair, token: str) -> str:
    return f"Bearer {token}" if token else basic(pair)
