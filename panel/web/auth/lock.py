"""The lock on the preferences that can do harm: checked on every locked write, on the server."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import Flask, g, make_response, render_template, request
from flask.typing import ResponseReturnValue

from panel.accounts import authorisation_code
from panel.accounts.people import Permission
from panel.activity import log
from panel.activity.log import What
from panel.errors import Invalid, Locked, Refusal, Throttled
from panel.i18n import say
from panel.web.auth.access import require
from panel.web.auth.sealed_input import seal_typed
from panel.web.auth.session import actor
from panel.web.auth.unlock_cookie import begin_unlock, open_unlock
from panel.web.base.context import services
from panel.web.base.errors import wants_json, with_retry_after
from panel.web.base.htmx import PROMPT, is_fragment, retarget

P = ParamSpec("P")

CODE_FIELD = "authorisation_code"

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


def _refusal() -> Refusal | None:
    code = request.form.get(CODE_FIELD, "")
    if open_unlock() is not None:
        return None
    if not code:
        with services().database.writing() as session:
            log.record(session, actor(), What.REFUSED_LOCKED, label=request.path)
        return Locked(_CLOSED)
    try:
        opened = authorisation_code.try_code(
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
