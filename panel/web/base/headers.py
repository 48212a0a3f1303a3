"""Security headers, the Content-Security-Policy among them, and compression.

Only documents get the headers: a fragment is read by our own script, on which they have no effect,
and every byte counts on a slow line.
"""

from http import HTTPStatus

import brotli
from flask import Flask, Response, current_app, request
from flask_compress import Compress

from panel.web.base.assets import Assets
from panel.web.base.context import installation
from panel.web.base.htmx import is_fragment


def init_headers(app: Flask) -> None:
    """Add the security headers to every document and download of ``app``."""
    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    if is_fragment() or response.status_code == HTTPStatus.NOT_MODIFIED:
        return response
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        # Never no-referrer: under https the CSRF check reads the Referer.
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Content-Security-Policy"] = _policy()
    return response


def _policy() -> str:
    assets: Assets = current_app.extensions["assets"]
    framing = " ".join(installation().config.embed_origins) or "'none'"
    return ";".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src '{assets.style_hash}'",
            "connect-src 'self'",
            "img-src data:",
            "form-action 'self'",
            "base-uri 'none'",
            f"frame-ancestors {framing}",
        )
    )


_SMALLEST_BYTES = 200


class _Compression(Compress):
    """Flask-Compress, which leaves refusals as they are until told otherwise."""

    def after_request(self, response: Response | None) -> Response:
        """Compress ``response`` if its reader takes that."""
        if response is not None:
            _squeeze(response)
        if response is None or not 400 <= response.status_code < 500:
            return super().after_request(response)
        status, response.status_code = response.status_code, 200
        response = super().after_request(response)
        response.status_code = status
        return response


def _squeeze(response: Response) -> None:
    """Compress what people wait for a bit harder than the rest.

    A page takes 10 ms then, a part of it 1 ms, and 50 kbit/s carry the 5 % it is lighter in 40 ms.
    """
    if response.content_encoding or response.mimetype != "text/html":
        return
    if request.accept_encodings.best_match(("br", "gzip")) != "br":
        return
    page = response.get_data()
    if len(page) >= _SMALLEST_BYTES:
        response.set_data(brotli.compress(page, quality=10))
        response.content_encoding = "br"


def init_compression(app: Flask) -> None:
    """Compress what is worth it: brotli at a level that costs no more than gzip, or gzip."""
    app.config.update(
        COMPRESS_ALGORITHM=["br", "gzip"],
        COMPRESS_ALGORITHM_STREAMING=["br", "gzip"],
        COMPRESS_BR_LEVEL=5,
        COMPRESS_MIN_SIZE=_SMALLEST_BYTES,
        COMPRESS_MIMETYPES=["text/html", "text/csv", "text/plain", "application/json"],
    )
    _Compression(app)
