"""Deny by default: every route needs a signed-in person, but for the short list here."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import Flask, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from panel.accounts.people import Permission, permissions
from panel.activity import log
from panel.activity.kinds import EventKind
from panel.errors import NotPermitted
from panel.i18n import say
from panel.models.people import Person
from panel.web.auth.session import actor, current_person, ended_by_password
from panel.web.base.context import installation
from panel.web.base.errors import error_response, wants_json
from panel.web.base.htmx import is_fragment

P = ParamSpec("P")

# Endpoints for those who are not signed in. Who comes here proves otherwise who they are, or
# learns nothing.
PUBLIC = (
    "server.health",
    "people.choose_language",
    "people.show_languages",
    "set_up.save",
    "set_up.show",
    "sign_in.enter",
    "sign_in.show",
    # Applications, with bearer tokens.
    "api.delete",
    "api.describe",
    "api.follow",
    "api.get",
    "api.list_",
    "api.put",
    "api.write",
    # Other servers, with the pair or a device token.
    "server.call_v5",
    "server.exchange",
)
# For the signed-in, whatever their permissions.
SIGN_OUT = "sign_in.leave"


def init_access(app: Flask) -> None:
    """Guard every route of ``app``, and give templates ``person`` and ``may()``."""
    app.before_request(_guard)
    app.context_processor(lambda: {"person": g.get("person"), "may": _reader_may})


def may(person: Person, permission: Permission) -> bool:
    """Say whether ``person`` has ``permission``."""
    return permission in permissions(person)


def permitted(
    permission: Permission,
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """Let only people with ``permission`` reach the view; others get 403 and an Activity row."""

    def decorate(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            require(permission)
            return view(*args, **kwargs)

        return guarded

    return decorate


def require(permission: Permission) -> None:
    """Raise :class:`NotPermitted`, with an Activity row, unless the person has ``permission``."""
    person = current_person()
    if person is not None and may(person, permission):
        return
    with installation().database.writing() as session:
        log.add_entry(session, actor(), EventKind.REFUSED_PERMISSION, label=request.path)
    raise NotPermitted(_LACKING[permission])


_LACKING = {
    Permission.VIEW: say("You may not look at these preferences. Ask whoever manages people here."),
    Permission.EDIT: say("You may look at this, but not change it."),
    Permission.MANAGE: say("You may not manage people here."),
}


_SIGNED_OUT = say("You were signed out, so nothing was changed.")
_NEW_PASSWORD = say("Your password was changed, which ended this session.")


def _guard() -> ResponseReturnValue | None:
    if request.endpoint is None or request.endpoint in PUBLIC:
        return None
    if current_person() is None:
        return _ask_to_sign_in()
    if request.endpoint != SIGN_OUT:
        require(Permission.VIEW)
    return None


def _ask_to_sign_in() -> ResponseReturnValue:
    if request.method in ("GET", "HEAD") and not is_fragment() and not wants_json():
        here = request.full_path.rstrip("?")
        return redirect(url_for("sign_in.show", next=here if here != "/" else None), 303)
    # What was typed stays in the page that sent it, good to be sent again.
    why = _NEW_PASSWORD if ended_by_password() else _SIGNED_OUT
    return error_response(401, "signed_out", why, "signed_out.html")


def _reader_may(permission: str) -> bool:
    person: Person | None = g.get("person")
    return person is not None and may(person, Permission(permission))
