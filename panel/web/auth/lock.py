"""The lock: views that need an unlock, the unlock's cookie, and passwords sealed in forms.

Sensitive changes need a second secret (OWASP ASVS 5.0, 7.5.3), which every locked write checks on
the server (8.3.1).
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import ParamSpec

from flask import Flask, Response, after_this_request, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadData, URLSafeSerializer

from panel import clock
from panel.accounts import authorisation_code
from panel.accounts.authorisation_code import Unlock
from panel.accounts.people import Permission
from panel.activity import log
from panel.activity.log import EventKind
from panel.errors import Invalid, Locked, Refusal, Throttled
from panel.i18n import say
from panel.security.vault import Unreadable
from panel.web.auth.access import require
from panel.web.auth.session import (
    actor,
    cookie_name,
    current_person,
    session_mark,
    set_cookie,
)
from panel.web.base.context import installation, lend_database, reading, writing
from panel.web.base.errors import wants_json, with_retry_after
from panel.web.base.htmx import PROMPT, is_fragment, retarget

P = ParamSpec("P")
CODE_FIELD = "authorisation_code"
COOKIE = "u"
SEALED_INPUT_MINUTES = 30
_LOCKED = say("Locked. Give the authorisation code to save this; nothing was changed yet.")


def init_lock(app: Flask) -> None:
    """Give templates ``unlock`` (an Unlock or None), ``prompt`` and ``seal_input()``."""
    app.context_processor(
        lambda: {"unlock": open_unlock(), "prompt": g.get("prompt"), "seal_input": seal_input}
    )


def locked(
    reopen: Callable[P, str],
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """Decorate a view for people who may edit and have unlocked.

    A form with the right code in ``authorisation_code`` unlocks and continues. Otherwise the answer
    asks for the code: in the open form, or without scripting on the page that ``reopen`` returns.
    ``reopen`` takes the view's arguments and returns the whole page with the form as it was sent.
    """

    def decorate(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            require(Permission.EDIT)
            refusal = _unlock_by_form()
            if refusal is None:
                return view(*args, **kwargs)
            return _ask_for_code(refusal, lambda: reopen(*args, **kwargs))

        return guarded

    return decorate


def open_unlock() -> Unlock | None:
    """Return the person's unlock from the cookie if it is valid now, else None."""
    if "unlock" not in g:
        g.unlock = _unlock_of_cookie()
    unlock: Unlock | None = g.unlock
    return unlock


def begin_unlock(unlock: Unlock) -> None:
    """Set the cookie of ``unlock`` with this answer."""
    g.unlock = unlock
    g.unlocked_now = True

    @after_this_request
    def set_it(response: Response) -> Response:
        seconds = max(0, int((unlock.expires_at - clock.now()).total_seconds()))
        set_cookie(response, cookie_name(COOKIE), _serialise(unlock), seconds)
        return response


def unlocked_now() -> bool:
    """Say whether this request unlocked, so that the bar of the page still says *Locked*."""
    return bool(g.get("unlocked_now", False))


def end_unlock() -> None:
    """Delete the cookie of the unlock with this answer."""
    g.unlock = None

    @after_this_request
    def delete_it(response: Response) -> Response:
        set_cookie(response, cookie_name(COOKIE), "", 0)
        return response


def seal_input(secret: str) -> str:
    """Return a typed password encrypted for its form, so that it need not be typed again.

    Only the person who typed it can send it back, within :data:`SEALED_INPUT_MINUTES`.
    """
    until = clock.now() + timedelta(minutes=SEALED_INPUT_MINUTES)
    return installation().vault.seal(
        json.dumps(["typed", _input_owner(), until.timestamp(), secret])
    )


def open_input(sealed: str) -> str | None:
    """Return the password in ``sealed``; None if it is another person's, too old or damaged."""
    try:
        purpose, owner, until, secret = json.loads(installation().vault.open(sealed))
    except (Unreadable, ValueError, TypeError):
        return None
    is_valid = purpose == "typed" and owner == _input_owner() and clock.now().timestamp() < until
    return str(secret) if is_valid else None


def _unlock_by_form() -> Refusal | None:
    """Unlock with the code of the form, if the lock is closed; return why that failed."""
    code = request.form.get(CODE_FIELD, "")
    if open_unlock() is not None:
        return None
    if not code:
        with writing() as session:
            log.add_entry(session, actor(), EventKind.REFUSED_LOCKED, label=request.path)
        return Locked(_LOCKED)
    try:
        opened = authorisation_code.try_code(
            lend_database(), actor(), code, installation().config.unlock_minutes
        )
    except (Throttled, Invalid) as refusal:
        return refusal
    begin_unlock(opened)
    return None


def _ask_for_code(refusal: Refusal, reopen: Callable[[], str]) -> ResponseReturnValue:
    g.prompt = refusal.message
    if wants_json():
        raise refusal
    if is_fragment():
        response = retarget(render_template("prompt.html"), PROMPT, status=refusal.status)
    else:
        response = make_response(reopen(), refusal.status)
    return with_retry_after(response, refusal)


def _unlock_of_cookie() -> Unlock | None:
    person, text = current_person(), request.cookies.get(cookie_name(COOKIE), "")
    unlock = _parse(text) if person and text else None
    if person is None or unlock is None:
        return None
    is_valid = authorisation_code.is_unlock_valid(reading(), unlock, person, clock.now())
    return unlock if is_valid else None


def _serialise(unlock: Unlock) -> str:
    # A list, since every request carries it. Of no use in another session, nor once this one ended.
    values = [
        unlock.person_id,
        int(unlock.expires_at.timestamp()),
        unlock.generation,
        unlock.unlock_generation,
        session_mark(),
    ]
    return str(_signer().dumps(values))


def _parse(text: str) -> Unlock | None:
    try:
        person_id, expires_at, generation, unlock_generation, mark = _signer().loads(text)
    except (BadData, ValueError):
        # Signed by us, but in the form of an older version.
        return None
    if mark != session_mark():
        return None
    return Unlock(
        person_id=person_id,
        expires_at=datetime.fromtimestamp(expires_at, UTC),
        generation=generation,
        unlock_generation=unlock_generation,
    )


def _signer() -> URLSafeSerializer:
    # itsdangerous takes the newest key last.
    keys = list(reversed(installation().config.secret_keys))
    return URLSafeSerializer(keys, salt="sync-panel unlock")


def _input_owner() -> object:
    """Return the id of the signed-in person, or the token of the set-up link in the URL."""
    return actor().person_id or (request.view_args or {}).get("token")
