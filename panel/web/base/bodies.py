"""Bodies of requests and answers of programs: limits, compression, JSON, few headers."""

from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from panel.errors import Refusal
from panel.i18n import say
from panel.sync.protocol.body_codec import (
    LARGEST_TEXT_BYTES,
    MOST_ELEMENTS,
    Garbled,
    TooLarge,
    TooManyElements,
    Turn,
    UnknownEncoding,
    decode_json_text,
    unpack,
)
from panel.sync.protocol.json_reader import dump_json, load_json

# All other headers are for browsers, and every byte counts on a slow line.
_PROGRAM_HEADERS = {
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "WWW-Authenticate",
    "ETag",
    "Allow",
    "Retry-After",
}
# Where the sites of mSupply call.
V5_PATH = "/sync/v5/"
# Not all of /sync/: buttons of the page are below it too.
_PATHS = ("/api/", "/sync/exchange", "/sync/join", "/sync/part/", V5_PATH)


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
    app.teardown_request(_give_turn_back)


def is_for_programs() -> bool:
    """Say whether the request is for the API or the sync service."""
    return request.path.startswith(_PATHS)


def read_body(limit: int) -> bytes:
    """Return the decompressed body; ``limit`` is in bytes, before and after decompression.

    The requests with a large one are answered one after another.
    Raise :class:`BodyTooLarge`, :class:`BodyNotUnderstood` or :class:`EncodingNotUnderstood`.
    """
    request.max_content_length = limit
    try:
        turn = g.turn = Turn()
        turn.take_for(request.content_length or 0)
        body = request.get_data(cache=False)
        return unpack(body, request.headers.get("Content-Encoding", ""), limit, turn)
    except (RequestEntityTooLarge, TooLarge) as error:
        message = say("The body may have at most %(limit)s bytes, uncompressed.", limit=limit)
        raise BodyTooLarge(message) from error
    except UnknownEncoding as error:
        raise EncodingNotUnderstood(say("Send the body as it is, or with gzip or br.")) from error
    except Garbled as error:
        raise BodyNotUnderstood(say("The compressed body is damaged.")) from error


def read_json(limit: int) -> Any:
    """Return the JSON of the body, its numbers as they were written.

    Raise as :func:`read_body` does, or Invalid for a name that stands twice in one object and for
    a number that is out of range.
    """
    body = read_body(limit)
    try:
        return load_json(decode_json_text(body), unique=True)
    except TooLarge as error:
        limit = LARGEST_TEXT_BYTES // 4
        reason = say("With a character beyond U+FFFF, at most %(limit)s bytes.", limit=limit)
        raise BodyTooLarge(reason) from error
    except TooManyElements as error:
        reason = say("The body may have at most %(most)s values.", most=MOST_ELEMENTS)
        raise BodyTooLarge(reason) from error
    except (ValueError, RecursionError) as error:
        raise BodyNotUnderstood(say("The body must be JSON in UTF-8.")) from error


def json_answer(value: Any, status: int = 200) -> Response:
    """Return ``value`` as a JSON answer in as few bytes as possible."""
    # UTF-8 cannot hold half a surrogate pair, which is then escaped as JSON escapes it too.
    body = dump_json(value).encode(errors="backslashreplace")
    return Response(body, status, mimetype="application/json")


def _give_turn_back(_error: BaseException | None) -> None:
    if "turn" in g:
        g.turn.give_back()


def _remove_browser_headers(response: Response) -> Response:
    if is_for_programs():
        # No browser sends credentials of programs: it could open refusals, and what is public.
        # They are not parsed here: Werkzeug raises an exception for some that are spoilt.
        has_credentials = "Authorization" in request.headers
        is_open = response.status_code >= HTTPStatus.BAD_REQUEST or not has_credentials
        kept = _PROGRAM_HEADERS | {"X-Content-Type-Options"} if is_open else _PROGRAM_HEADERS
        for name in set(response.headers.keys()) - kept:
            del response.headers[name]
    return response
