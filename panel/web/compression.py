"""Answers compressed for a slow line, a refused form no less than a saved one."""

from flask import Flask, Response
from flask_compress import Compress


class _Compression(Compress):
    """Flask-Compress, which leaves refusals as they are until told otherwise."""

    def after_request(self, response: Response | None) -> Response:
        """Compress ``response`` if its reader takes that."""
        if response is None or not 400 <= response.status_code < 500:
            return super().after_request(response)
        status, response.status_code = response.status_code, 200
        response = super().after_request(response)
        response.status_code = status
        return response


def init_compression(app: Flask) -> None:
    """Compress what is worth it: brotli at a level that costs no more than gzip, or gzip."""
    app.config.update(
        COMPRESS_ALGORITHM=["br", "gzip"],
        COMPRESS_ALGORITHM_STREAMING=["br", "gzip"],
        COMPRESS_BR_LEVEL=5,
        COMPRESS_MIN_SIZE=200,
        COMPRESS_MIMETYPES=["text/html", "text/csv", "text/plain", "application/json"],
    )
    _Compression(app)
