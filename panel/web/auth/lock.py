"""The lock on the preferences that can do harm: checked on every locked write, on the server."""

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
from panel.activity.kinds import EventKind
from panel.errors import Invalid, Locked, Refusal, Throttled
from panel.i18n import say
from panel.security.vault import Unreadable
from panel.web.auth.access import require
from panel.web.auth.session import actor, cookie_name, current_person, set_cookie
from panel.web.base.context import installation
from panel.web.base.errors import wants_json, with_retry_after
from panel.web.base.htmx import PROMPT, is_fragment, retarget

P = ParamSpec("P")

CODE_FIELD = "authorisation_code"

_CLOSED = say("Locked. Give the authorisation code to save this; nothing was changed yet.")


def init_lock(app: Flask) -> None:
    """Give templates ``unlock`` (an Unlock or None), ``prompt`` and ``seal_input()``."""
    app.context_processor(
        lambda: {"unlock": open_unlock(), "prompt": g.get("prompt"), "seal_input": seal_input}
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


def _refusal() -> Refusal | None:
    code = request.form.get(CODE_FIELD, "")
    if open_unlock() is not None:
        return None
    if not code:
        with installation().database.writing() as session:
            log.add_entry(session, actor(), EventKind.REFUSED_LOCKED, label=request.path)
        return Locked(_CLOSED)
    try:
        opened = authorisation_code.try_code(
            installation().database, actor(), code, installation().config.unlock_minutes
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


COOKIE = "u"


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
        set_cookie(response, cookie_name(COOKIE), _written(found), seconds)
        return response


def unlocked_now() -> bool:
    """Say whether this very request opened the lock: the bar of the page still says *Locked*."""
    return bool(g.get("unlocked_now", False))


def end_unlock() -> None:
    """Take the cookie back with this answer."""
    g.unlock = None

    @after_this_request
    def take(response: Response) -> Response:
        set_cookie(response, cookie_name(COOKIE), "", 0)
        return response


def _good_unlock() -> Unlock | None:
    person, text = current_person(), request.cookies.get(cookie_name(COOKIE), "")
    found = _read(text) if person and text else None
    if person is None or found is None:
        return None
    with installation().database.reading() as session:
        return (
            found
            if authorisation_code.is_unlock_valid(session, found, person, clock.now())
            else None
        )


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
    keys = list(reversed(installation().config.secret_keys))
    return URLSafeSerializer(keys, salt="sync-panel unlock")


SEALED_INPUT_MINUTES = 30


def seal_input(secret: str) -> str:
    """Return a typed password so that only who typed it can send it back, within half an hour."""
    until = clock.now() + timedelta(minutes=SEALED_INPUT_MINUTES)
    return installation().vault.seal(json.dumps(["typed", _owner(), until.timestamp(), secret]))


def open_input(sealed: str) -> str | None:
    """Return what :func:`seal_input` sealed; None if it is another's, or too old."""
    try:
        purpose, owner, until, secret = json.loads(installation().vault.open(sealed))
    except (Unreadable, ValueError, TypeError):
        return None
    good = purpose == "typed" and owner == _owner() and clock.now().timestamp() < until
    return str(secret) if good else None


def _owner() -> object:
    """Return who is signed in; before anybody can be, the set-up link that the form came by."""
    return actor().person_id or (request.view_args or {}).get("token")
