"""CSRF protection: Flask-WTF's check of a token masked anew in each answer, and Sec-Fetch-Site.

A page holds the session's secret masked by as many random bytes, as Django does. It needs no
signature, since the session has one. It is masked, because a page compresses it together with what
the request says, which would reveal it byte by byte (BREACH).
"""

import base64
import secrets
from typing import Any

from flask import Flask, current_app, g, request, session
from flask_wtf.csrf import CSRFError, CSRFProtect
from itsdangerous import URLSafeTimedSerializer
from markupsafe import Markup

from panel.web.auth.session import CSRF
from panel.web.base.context import installation_of
from panel.web.base.embed import PROBED, embed_query, has_cookie
from panel.web.base.htmx import is_fragment

HEADER = "X-CSRF"
SECRET_BYTES = 8


class MaskedProtect(CSRFProtect):  # type: ignore[misc]
    """Flask-WTF's protection for tokens masked by :func:`masked_token`."""

    def _get_csrf_token(self) -> str | None:
        token = request.form.get(CSRF) or request.headers.get(HEADER)
        return _signed(_unmasked(token)) if token else None

    def protect(self, apply_exemptions: bool = False) -> None:
        """Raise ``CSRFError`` for a post that does not come from one of our pages."""
        try:
            super().protect(apply_exemptions)
        except ValueError as error:
            # Flask-WTF takes the Referer apart, which may be no URL.
            raise CSRFError("The Referer is no URL.") from error
        exempt = apply_exemptions and (not request.endpoint or self._is_exempt())
        if request.method == "POST" and not exempt:
            self._refuse_other_sites()

    def _refuse_other_sites(self) -> None:
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            raise CSRFError("The browser says that another site sent this.")


protect = MaskedProtect()


def init_csrf(app: Flask) -> None:
    """Check every post to ``app``; give templates ``csrf_token()`` and the field ``csrf()``."""
    app.config.update(
        WTF_CSRF_FIELD_NAME=CSRF,
        WTF_CSRF_HEADERS=[HEADER],
        # No limit: a page on a slow line stays open for long.
        WTF_CSRF_TIME_LIMIT=None,
        # itsdangerous takes the newest last; older ones let open pages survive a new key.
        WTF_CSRF_SECRET_KEY=list(reversed(installation_of(app).config.secret_keys)),
    )
    protect.init_app(app)
    app.jinja_env.globals["csrf_token"] = masked_token
    app.context_processor(lambda: {"csrf_token": masked_token, "csrf": csrf_field})


def masked_token() -> str:
    """Return this session's token for ``hx-headers`` and forms.

    It is the same within one answer, where repeats compress to almost nothing, and differs in every
    other.
    """
    token: str | None = g.get("masked_token")
    if token is None:
        token = g.masked_token = _masked()
    return token


def probe() -> dict[str, Any]:
    """Return what the next address has to say so that a frame without cookies is explained there.

    This answer sets the cookie then. Empty outside a frame, and where the browser sent the cookie.
    """
    if not embed_query() or has_cookie() or PROBED in request.args:
        return {}
    masked_token()
    return {PROBED: "1"}


def _masked() -> str:
    # Shorter than Flask-WTF's 40 letters, because every request carries the cookie.
    secret = bytes.fromhex(session.setdefault(CSRF, secrets.token_hex(SECRET_BYTES)))
    mask = secrets.token_bytes(SECRET_BYTES)
    return base64.urlsafe_b64encode(mask + _xor(mask, secret)).decode().rstrip("=")


def csrf_field(*, always: bool = False) -> Markup:
    """Return the hidden field of a form; empty in a fragment, where ``hx-headers`` sends it.

    A form that htmx does not send has it ``always``.
    """
    if is_fragment() and not always:
        return Markup()
    # Base64 has nothing to escape, and Markup.format takes ten times as long.
    return Markup(f'<input type="hidden" name="{CSRF}" value="{masked_token()}">')  # noqa: S704


def _unmasked(token: str) -> str:
    try:
        masked = base64.urlsafe_b64decode(token.encode() + b"==")
        return _xor(masked[:SECRET_BYTES], masked[SECRET_BYTES:]).hex()
    except ValueError:
        return ""


def _signed(secret: str) -> str:
    """Return ``secret`` as Flask-WTF wants it, which then compares it with the session's."""
    keys = current_app.config["WTF_CSRF_SECRET_KEY"]
    return str(URLSafeTimedSerializer(keys, salt="wtf-csrf-token").dumps(secret))


def _xor(mask: bytes, other: bytes) -> bytes:
    """Raise ValueError unless both are equally long."""
    return bytes(one ^ another for one, another in zip(mask, other, strict=True))
