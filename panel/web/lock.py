"""The lock on the preferences that can do harm: a second cookie, asked for on every locked write.

The cookie says who unlocked, until when, and which generations of the code and of the person's
unlocks it belongs to. It is worth nothing without that person's own session.
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
from panel.errors import Invalid, Locked, Refusal, Throttled
from panel.keys import Unreadable
from panel.preferences import activity, unlock
from panel.preferences.activity import What
from panel.preferences.people import Permission
from panel.preferences.unlock import Unlock
from panel.web.access import require
from panel.web.errors import wants_json, with_retry_after
from panel.web.htmx import PROMPT, is_fragment, retarget
from panel.web.services import services
from panel.web.session import actor, cookie_options, current_person
from panel.words import say

P = ParamSpec("P")

COOKIE = "u"
CODE_FIELD = "authorisation_code"
# How long a typed password waits, sealed, in a form that asks for the code.
TYPED_MINUTES = 30

_CLOSED = say("Locked. Give the authorisation code to save this; nothing was changed yet.")


def init_lock(app: Flask) -> None:
    """Give templates ``unlock`` (an Unlock or None), ``prompt`` and ``seal_typed()``."""
    app.context_processor(
        lambda: {"unlock": open_unlock(), "prompt": g.get("prompt"), "seal_typed": seal_typed}
    )


def locked(
    reopen: Callable[P, str],
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """Let a view change something only for people who may edit and have unlocked.

    A form that brings the right code in ``authorisation_code`` unlocks and goes on. Otherwise the
    answer asks for it: in the form that still stands, or without scripting by ``reopen``, which
    takes what the view takes and returns the full page with the form as it was sent.
    """

    def decorate(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            require(Permission.EDIT)
            refusal = _refusal()
            if refusal is None:
                return view(*args, **kwargs)
            return _ask_for_code(refusal, lambda: reopen(*args, **kwargs))

        return guarded

    return decorate


def open_unlock() -> Unlock | None:
    """Return this person's unlock, if the cookie holds one that is good now."""
    if "unlock" not in g:
        g.unlock = _good_unlock()
    found: Unlock | None = g.unlock
    return found


def begin_unlock(found: Unlock) -> None:
    """Give the browser the cookie of ``found`` with this answer."""
    g.unlock = found
    g.unlocked_now = True

    @after_this_request
    def give(response: Response) -> Response:
        seconds = max(0, int((found.expires_at - clock.now()).total_seconds()))
        response.set_cookie(COOKIE, _written(found), max_age=seconds, **cookie_options())
        return response


def unlocked_now() -> bool:
    """Say whether this very request opened the lock: the bar of the page still says *Locked*."""
    return bool(g.get("unlocked_now", False))


def end_unlock() -> None:
    """Take the cookie back with this answer."""
    g.unlock = None

    @after_this_request
    def take(response: Response) -> Response:
        response.delete_cookie(COOKIE, **cookie_options())
        return response


def seal_typed(secret: str) -> str:
    """Return a typed password so that only this person can send it back, within half an hour."""
    until = clock.now() + timedelta(minutes=TYPED_MINUTES)
    return services().vault.seal(
        json.dumps(["typed", actor().person_id, until.timestamp(), secret])
    )


def open_typed(sealed: str) -> str | None:
    """Return what :func:`seal_typed` sealed; None if it is not this person's, or too old."""
    try:
        purpose, person_id, until, secret = json.loads(services().vault.open(sealed))
    except (Unreadable, ValueError, TypeError):
        return None
    good = purpose == "typed" and person_id == actor().person_id and clock.now().timestamp() < until
    return str(secret) if good else None


def _good_unlock() -> Unlock | None:
    person, text = current_person(), request.cookies.get(COOKIE, "")
    found = _read(text) if person and text else None
    if person is None or found is None:
        return None
    with services().database.reading() as session:
        return found if unlock.is_open(session, found, person, clock.now()) else None


def _written(found: Unlock) -> str:
    values = {
        "p": found.person_id,
        "e": int(found.expires_at.timestamp()),
        "g": found.generation,
        "l": found.unlock_generation,
    }
    return str(_signer().dumps(values))


def _read(text: str) -> Unlock | None:
    try:
        values = _signer().loads(text)
    except BadData:
        return None
    return Unlock(
        person_id=values["p"],
        expires_at=datetime.fromtimestamp(values["e"], UTC),
        generation=values["g"],
        unlock_generation=values["l"],
    )


def _signer() -> URLSafeSerializer:
    # The newest key last, as itsdangerous wants them.
    keys = list(reversed(services().config.secret_keys))
    return URLSafeSerializer(keys, salt="sync-panel unlock")


def _refusal() -> Refusal | None:
    code = request.form.get(CODE_FIELD, "")
    if open_unlock() is not None:
        return None
    if not code:
        with services().database.writing() as session:
            activity.record(session, actor(), What.REFUSED_LOCKED, label=request.path)
        return Locked(_CLOSED)
    try:
        opened = unlock.try_code(
            services().database, actor(), code, services().config.unlock_minutes
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
        asking = retarget(render_template("prompt.html"), PROMPT, status=refusal.status)
    else:
        asking = make_response(reopen(), refusal.status)
    return with_retry_after(asking, refusal)
