"""Bodies of requests and answers of programs: limits, compression, JSON, few headers."""

import json
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from panel.errors import Refusal
from panel.i18n import say
from panel.sync.protocol.body_codec import Garbled, TooLarge, UnknownEncoding, unpack

# All other headers are for browsers, and every byte counts on a slow line.
_PROGRAM_HEADERS = {
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "WWW-Authenticate",
    "Allow",
    "Retry-After",
}
# Where the sites of mSupply call.
V5_PATH = "/sync/v5/"
# Not all of /sync/: buttons of the page are below it too.
_PATHS = ("/api/", "/sync/exchange", "/sync/part/", V5_PATH)


class BodyTooLarge(Refusal):
    """The body has more bytes than this endpoint takes, compressed or decompressed."""

    status = 413
    code = "body_too_large"


class BodyNotUnderstood(Refusal):
    """The body is not JSON, or not what this endpoint expects."""

    status = 400
    code = "body_not_understood"


class EncodingNotUnderstood(Refusal):
    """The body is in a Content-Encoding other than gzip and br."""

    status = 415
    code = "encoding_not_understood"


def init_bodies(app: Flask) -> None:
    """Remove the headers for browsers from answers to programs.

    Call it before any module that adds headers: Flask runs the first ``after_request`` last.
    """
    app.after_request(_remove_browser_headers)


def is_for_programs() -> bool:
    """Say whether the request is for the API or the sync service."""
    return request.path.startswith(_PATHS)


def read_body(limit: int) -> bytes:
    """Return the decompressed body; ``limit`` is in bytes, before and after decompression.

    Raise :class:`BodyTooLarge`, :class:`BodyNotUnderstood` or :class:`EncodingNotUnderstood`.
    """
    request.max_content_length = limit
    try:
        body = request.get_data(cache=False)
        return unpack(body, request.headers.get("Content-Encoding", ""), limit)
    except (RequestEntityTooLarge, TooLarge) as error:
        message = say("The body may have at most %(limit)s bytes, uncompressed.", limit=limit)
        raise BodyTooLarge(message) from error
    except UnknownEncoding as error:
        raise EncodingNotUnderstood(say("Send the body as it is, or with gzip or br.")) from error
    except Garbled as error:
        raise BodyNotUnderstood(say("The compressed body is damaged.")) from error


def read_json(limit: int) -> Any:
    """Return the JSON of the body. Raise as :func:`read_body` does."""
    body = read_body(limit)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyNotUnderstood(say("The body must be JSON in UTF-8.")) from error


def json_answer(value: Any, status: int = 200) -> Response:
    """Return ``value`` as a JSON answer in as few bytes as possible."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # UTF-8 cannot hold half a surrogate pair: such a text is escaped as ASCII.
    try:
        body = text.encode()
    except UnicodeEncodeError:
        body = json.dumps(value, separators=(",", ":")).encode()
    return Response(body, status, mimetype="application/json")


def _remove_browser_headers(response: Response) -> Response:
    if is_for_programs():
        for name in set(response.headers.keys()) - _PROGRAM_HEADERS:
            del response.headers[name]
    return response
