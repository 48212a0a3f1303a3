"""What a browser may do with our answers: the Content-Security-Policy and its small companions.

Documents only. A fragment is read by our own script, which a header would not hinder, and on a
slow line each one counts.
"""

from flask import Flask, Response, current_app

from panel.web.base.assets import Assets
from panel.web.base.context import services
from panel.web.base.htmx import is_fragment


def init_headers(app: Flask) -> None:
    """Add the headers to every document and every download."""
    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    if is_fragment() or response.status_code == 304:
        return response
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        # Never no-referrer: under https the CSRF check reads the Referer.
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Content-Security-Policy"] = _policy()
    return response


def _policy() -> str:
    assets: Assets = current_app.extensions["assets"]
    framing = " ".join(services().config.embed_origins) or "'none'"
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
