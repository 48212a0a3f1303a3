"""What programs send and get: bodies up to a limit, JSON, and no header for browsers."""

import json
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from panel.errors import Refusal
from panel.i18n import say
from panel.sync.protocol.body_codec import Garbled, TooLarge, UnknownEncoding, unpack

# Each of these counts bytes on a slow line; what browsers need is of no use to a program.
_KEPT_HEADERS = {
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "WWW-Authenticate",
    "Allow",
    "Retry-After",
}
# Not all of /sync/: below it are buttons of the page too.
_PATHS = ("/api/", "/sync/exchange", "/sync/v5/")


class BodyTooLarge(Refusal):
    """The body has more bytes than this address takes, counted after decompression."""

    status = 413
    code = "body_too_large"


class BodyNotUnderstood(Refusal):
    """The body is no JSON, or not what this address expects."""

    status = 400
    code = "body_not_understood"


class EncodingNotUnderstood(Refusal):
    """The body is in a Content-Encoding other than gzip and br."""

    status = 415
    code = "encoding_not_understood"


def init_bodies(app: Flask) -> None:
    """Take the headers for browsers off answers to programs.

    To be called before every other module that adds headers: Flask asks the first one last.
    """
    app.after_request(_only_needed_headers)


def is_for_programs() -> bool:
    """Say whether the address asked for belongs to the API or the sync service."""
    return request.path.startswith(_PATHS)


def read_body(limit: int) -> bytes:
    """Return the body without its Content-Encoding; ``limit`` is in bytes, before and after.

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
    """Return what the body says in JSON. Raise as :func:`read_body` does."""
    body = read_body(limit)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyNotUnderstood(say("The body must be JSON in UTF-8.")) from error


def json_answer(value: Any, status: int = 200) -> Response:
    """Return ``value`` as a JSON answer without a superfluous byte."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # A text may hold half a surrogate pair, which UTF-8 cannot: only then everything is escaped.
    try:
        body = text.encode()
    except UnicodeEncodeError:
        body = json.dumps(value, separators=(",", ":")).encode()
    return Response(body, status, mimetype="application/json")


def _only_needed_headers(response: Response) -> Response:
    if is_for_programs():
        for name in set(response.headers.keys()) - _KEPT_HEADERS:
            del response.headers[name]
    return response
