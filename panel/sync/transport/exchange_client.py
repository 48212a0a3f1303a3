"""The client of ``POST /sync/exchange``: credentials, identity, and the answer or its error."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from panel import __version__
from panel.models.base import (
    HIGHEST_SYNC_ID,
    NAME_LENGTH,
    PRIMARY_SYNC_ID,
    STORE_LENGTH,
    USER_NAME_LENGTH,
)
from panel.preferences.field_checks import LONGEST_SECRET, without_sync_path
from panel.sync.protocol.body_codec import ACCEPTED, Body, Turn, read_body, write_body
from panel.sync.protocol.error_codes import REASONS, STATUS, TOO_LARGE, SyncRefusal
from panel.sync.protocol.json_reader import BadMessage, JsonObject, dump_json, presentable
from panel.sync.protocol.messages import (
    LARGEST_PART_BYTES,
    TOKEN_LENGTH,
    VERSION,
    Answer,
    Identity,
    LargeRecord,
    Mode,
    Pair,
    Request,
    check_token,
)
from panel.sync.transport.http import LinkFault, Response, Transport

PATH, PART_PATH, JOIN_PATH = "/sync/exchange", "/sync/part/", "/sync/join"
_CODE_LENGTH = 40
# What something on the way to the primary says.
_ON_THE_WAY: dict[int, str] = {
    HTTPStatus.TOO_MANY_REQUESTS: "too_many_requests",
    HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED: "line_sign_in",
}
# The statuses of an unknown address, whatever the body says.
_NOT_THERE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


def exchange(
    transport: Transport, pair: Pair, token: str, identity: Identity, request: Request
) -> tuple[Answer, Response]:
    """Send ``request`` and return its answer with the HTTP response.

    With a token the identity is sent as its digest; if the primary knows another digest, the
    request is repeated with the identity in full. Raise SyncRefusal or LinkFault.
    """
    asked = replace(request, identity=identity.digest() if token else identity)
    try:
        return _send(transport, _authorization(pair, token), asked)
    except SyncRefusal as refusal:
        if refusal.code != "identity_wanted" or not token:
            raise
    return _send(transport, _authorization(pair, token), replace(request, identity=identity))


def find_token(transport: Transport, pair: Pair, tokens: Sequence[str], identity: Identity) -> str:
    """Return which of ``tokens`` the primary wants beside a right pair; "" if the pair is enough.

    The pair goes first and alone. All of it are tests, which the primary does not record. Raise
    SyncRefusal (device_token_needed if it takes none of them) or LinkFault.
    """
    request = Request(identity, mode=Mode.TEST)
    try:
        exchange(transport, pair, "", identity, request)
        return ""
    except SyncRefusal as refusal:
        if refusal.code != "device_token_needed":
            raise
        needed = refusal
    for token in tokens:
        try:
            exchange(transport, pair, token, identity, request)
            return token
        except SyncRefusal as refusal:
            if refusal.code != "device_token_ended":
                raise
    raise needed


def put_piece(transport: Transport, token: str, large: LargeRecord, at: int, piece: bytes) -> int:
    """Send a piece of a record, and return how many bytes of it the primary has.

    Raise SyncRefusal or LinkFault.
    """
    path = f"{PART_PATH}{large.digest}?at={at}"
    response = transport.send("PUT", path, {"Authorization": f"Bearer {token}"}, piece)
    if response.status != HTTPStatus.OK:
        raise read_error(response)
    try:
        return JsonObject(read_json(response)).whole("have", 0, LARGEST_PART_BYTES)
    except BadMessage as error:
        raise LinkFault("not_a_sync_server") from error


def get_piece(transport: Transport, token: str, large: LargeRecord, at: int, length: int) -> bytes:
    """Return ``length`` bytes of a record of the primary, after the first ``at``.

    Raise SyncRefusal or LinkFault.
    """
    path = f"{PART_PATH}{large.digest}?position={large.position}&at={at}&length={length}"
    response = transport.send("GET", path, {"Authorization": f"Bearer {token}"})
    if response.status != HTTPStatus.OK:
        raise read_error(response)
    if len(response.content) != length:
        raise LinkFault("not_a_sync_server")
    return response.content


@dataclass(frozen=True)
class Joined:
    """What a primary answers to a machine that joins: whose row it takes, and how it calls."""

    sync_id: int
    name: str
    store: str
    primary_name: str
    primary_store: str
    user_name: str
    password: str
    token: str


def join(transport: Transport, code: str, hardware_id: str) -> Joined:
    """Join with the set-up ``code`` as this machine. Raise SyncRefusal or LinkFault."""
    body = {"version": VERSION, "hardware_id": hardware_id, "app_version": __version__}
    headers = {"Authorization": f"Bearer {code}"}
    response = transport.send("POST", JOIN_PATH, headers, dump_json(body).encode())
    if response.status != HTTPStatus.OK:
        raise read_error(response)
    try:
        fields = JsonObject(read_json(response))
        return Joined(
            fields.whole("sync_id", PRIMARY_SYNC_ID + 1, HIGHEST_SYNC_ID),
            fields.text("name", NAME_LENGTH),
            fields.text("store", STORE_LENGTH),
            fields.text("primary_name", NAME_LENGTH),
            fields.text("primary_store", STORE_LENGTH),
            fields.text("user_name", USER_NAME_LENGTH),
            fields.text("password", LONGEST_SECRET),
            check_token(fields.text("token", TOKEN_LENGTH)),
        )
    except BadMessage as error:
        raise LinkFault("not_a_sync_server") from error


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

    With the status 413 it is TOO_LARGE, whoever on the way said so. An unknown code is a refusal of
    a newer primary, unless the status is 404, 405, or 500 and above (PROTOCOL.md, *Answer*).
    """
    if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        fault = LinkFault(TOO_LARGE)
        fault.bytes_up = response.bytes_up
        return fault
    if HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
        location = without_sync_path(response.headers.get("Location", ""))
        return LinkFault("redirected", location=location[:200])
    try:
        error = JsonObject(JsonObject(read_json(response)).get("error"))
        code = error.text("code", _CODE_LENGTH)
        values = presentable(error.get("data"))
    except BadMessage:
        code, values = "", {}
    if code in REASONS and code not in STATUS:
        # What only this server may say of itself: it would act upon it as upon its own.
        code, values = "", {}
    if not code and response.status in _ON_THE_WAY:
        return LinkFault(_ON_THE_WAY[response.status])
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
