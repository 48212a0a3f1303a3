"""Security headers, the Content-Security-Policy among them, and compression.

Only documents get the headers: a fragment is read by our own script, on which they have no effect,
and every byte counts on a slow line.
"""

import zlib
from collections.abc import Iterable, Iterator
from http import HTTPStatus

import brotli
from flask import Flask, Response, g, request, stream_with_context

from panel.web.base.assets import YEAR_SECONDS
from panel.web.base.context import installation_of
from panel.web.base.embed import page_style
from panel.web.base.htmx import is_fragment


def init_headers(app: Flask) -> None:
    """Add the security headers to every document and download of ``app``."""
    framing = " ".join(installation_of(app).config.embed_origins) or "'none'"
    app.after_request(lambda response: _add_headers(response, framing))


def _add_headers(response: Response, framing: str) -> Response:
    if is_fragment() or response.status_code == HTTPStatus.NOT_MODIFIED:
        return response
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        # Never no-referrer: under https the CSRF check reads the Referer.
        response.headers["Referrer-Policy"] = "same-origin"
        framing = "*" if "may_stand_anywhere" in g else framing
        # The status line has one of its own.
        policy = _policy(page_style().hash, framing)
        response.headers.setdefault("Content-Security-Policy", policy)
        if request.is_secure:
            # OWASP ASVS 5.0, 3.4.1: a year. Not for subdomains, which are not the panel's.
            response.headers["Strict-Transport-Security"] = f"max-age={YEAR_SECONDS}"
    return response


def _policy(style_hash: str, framing: str) -> str:
    return ";".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src '{style_hash}'",
            "connect-src 'self'",
            "img-src data:",
            "form-action 'self'",
            "base-uri 'none'",
            f"frame-ancestors {framing}",
        )
    )


# Shorter than that, the header that names the encoding weighs what it saves.
_SMALLEST_BYTES = 200
# Above 5 a page takes more time than it saves on a line of 50 kbit/s, and its server with it. What
# an act swaps is short: it takes a millisecond or two, and is 5 to 15 % lighter.
_PAGE_QUALITY, _FRAGMENT_QUALITY = 5, 10
# As far as it looks back: a page is smaller, and a smaller window is quicker to set up.
_WINDOW_BITS = 16
_TEXTS = {"text/html", "text/csv", "text/plain", "application/json"}


def init_compression(app: Flask) -> None:
    """Compress every text that is worth it, a refusal like any other, as its reader takes it."""
    app.after_request(_compress)


def _compress(response: Response) -> Response:
    if response.mimetype not in _TEXTS or response.content_encoding:
        return response
    response.vary.add("Accept-Encoding")
    encoding = request.accept_encodings.best_match(("br", "gzip"))
    is_short = not response.is_streamed and len(response.get_data()) < _SMALLEST_BYTES
    if encoding is None or is_short:
        return response
    response.content_encoding = encoding
    pieces = _compressed(response.iter_encoded(), encoding)
    if response.is_streamed:
        response.response = stream_with_context(pieces)
    else:
        response.set_data(b"".join(pieces))
    return response


def _compressed(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield ``pieces`` compressed, each as soon as the library gives it out."""
    if encoding == "br":
        quality = _FRAGMENT_QUALITY if is_fragment() else _PAGE_QUALITY
        brotli_stream = brotli.Compressor(quality=quality, lgwin=_WINDOW_BITS)
        pack, finish = brotli_stream.process, brotli_stream.finish
    else:
        gzip_stream = zlib.compressobj(wbits=_GZIP)
        pack, finish = gzip_stream.compress, gzip_stream.flush
    for piece in pieces:
        yield pack(piece)
    yield finish()


# What tells zlib to write a gzip file.
_GZIP = 16 + zlib.MAX_WBITS
