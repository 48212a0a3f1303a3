"""Guards every post against other sites: Flask-WTF's check, on a short token, and a second look.

A page holds the session's secret masked by as many random bytes, as Django does: it need not be
signed, since the session that it is compared with is. Each page masks it anew: what a page reflects
and what it hides are compressed together (BREACH).
"""

import base64
import secrets

from flask import Flask, current_app, g, request, session
from flask_wtf.csrf import CSRFError, CSRFProtect
from itsdangerous import URLSafeTimedSerializer
from markupsafe import Markup

from panel.web.auth.session import CSRF
from panel.web.base.context import installation_of
from panel.web.base.htmx import is_fragment

HEADER = "X-CSRF"
SECRET_BYTES = 8


class MaskedProtect(CSRFProtect):  # type: ignore[misc]
    """Flask-WTF's check, for tokens masked by :func:`masked_token`."""

    def _get_csrf_token(self) -> str | None:
        token = request.form.get(CSRF) or request.headers.get(HEADER)
        return _signed(_unmasked(token)) if token else None

    def protect(self, apply_exemptions: bool = False) -> None:
        """Refuse with ``CSRFError`` a post that does not come from one of our pages."""
        super().protect(apply_exemptions)
        exempt = apply_exemptions and (not request.endpoint or self._is_exempt())
        if request.method == "POST" and not exempt:
            self._refuse_other_sites()

    def _refuse_other_sites(self) -> None:
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            raise CSRFError("The browser says that another site sent this.")


protect = MaskedProtect()


def init_csrf(app: Flask) -> None:
    """Check every post, and give templates ``csrf_token()`` and the hidden field ``csrf()``."""
    app.config.update(
        WTF_CSRF_FIELD_NAME=CSRF,
        WTF_CSRF_HEADERS=[HEADER],
        # A page on a slow line stays open longer than any limit we could choose.
        WTF_CSRF_TIME_LIMIT=None,
        # As itsdangerous wants them, the newest last: a page outlives a change of the key.
        WTF_CSRF_SECRET_KEY=list(reversed(installation_of(app).config.secret_keys)),
    )
    protect.init_app(app)
    app.jinja_env.globals["csrf_token"] = masked_token
    app.context_processor(lambda: {"csrf_token": masked_token, "csrf": hidden_field})


def masked_token() -> str:
    """Return this session's token for the page's ``hx-headers`` and its forms.

    It is the same all through an answer, where it compresses to almost nothing, and never twice
    alike in two.
    """
    if "masked_token" not in g:
        g.masked_token = _masked()
    return str(g.masked_token)


def _masked() -> str:
    # Flask-WTF would put one of 40 letters in the cookie that every request carries.
    secret = bytes.fromhex(session.setdefault(CSRF, secrets.token_hex(SECRET_BYTES)))
    mask = secrets.token_bytes(SECRET_BYTES)
    return base64.urlsafe_b64encode(mask + _crossed(mask, secret)).decode().rstrip("=")


def hidden_field() -> Markup:
    """Return the hidden field for a form; nothing in a fragment, where ``hx-headers`` brings it."""
    if is_fragment():
        return Markup()
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF, masked_token())


def _unmasked(token: str) -> str:
    try:
        masked = base64.urlsafe_b64decode(token.encode() + b"==")
        return _crossed(masked[:SECRET_BYTES], masked[SECRET_BYTES:]).hex()
    except ValueError:
        return ""


def _signed(secret: str) -> str:
    """Return ``secret`` as Flask-WTF wants it, which then compares it with the session's."""
    keys = current_app.config["WTF_CSRF_SECRET_KEY"]
    return str(URLSafeTimedSerializer(keys, salt="wtf-csrf-token").dumps(secret))


def _crossed(mask: bytes, other: bytes) -> bytes:
    """Raise ValueError unless both are equally long."""
    return bytes(one ^ another for one, another in zip(mask, other, strict=True))
