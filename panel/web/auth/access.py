"""Access control: every route needs a signed-in person, except those in :data:`PUBLIC`."""

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import Flask, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from panel.accounts.people import Permission, permissions
from panel.activity import log
from panel.activity.log import EventKind
from panel.errors import NotPermitted
from panel.i18n import say
from panel.models.people import Person
from panel.web.auth.csrf import probe
from panel.web.auth.session import actor, current_person, ended_by_password
from panel.web.base.context import hide_name, installation, writing
from panel.web.base.errors import error_response, wants_json
from panel.web.base.htmx import is_fragment

P = ParamSpec("P")
# Endpoints that need no session: they authenticate in another way, or reveal nothing.
PUBLIC = (
    "server.health",
    "people.choose_language",
    "people.show_languages",
    "sign_in.enter",
    "sign_in.set_up",
    "sign_in.show",
    "sign_in.show_set_up",
    # Whoever knows the key in the address.
    "status_line.show_facts",
    "status_line.show_line",
    "status_line.show_picture",
    # Applications, with bearer tokens.
    "api.delete",
    "api.delivery",
    "api.describe",
    "api.follow",
    "api.get",
    "api.list_",
    "api.put",
    "api.status",
    "api.sync_now",
    "api.write",
    # Other servers, with the pair or a device token.
    "server.call_v5",
    "server.exchange",
    "server.give_piece",
    "server.join",
    "server.take_piece",
)
# The endpoint for signed-in people without any permission.
SIGN_OUT = "sign_in.leave"
_LACKING = {
    Permission.VIEW: say("You may not look at these preferences. Ask whoever manages people here."),
    Permission.EDIT: say("You may look at this, but not change it."),
    Permission.MANAGE: say("You may not manage people here."),
}
_UNKNOWN_HOST = say("The panel is not served under this name.")
# Names that are always allowed, for health checks on this machine. No other site can have them.
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
_SIGNED_OUT = say("You were signed out, so nothing was changed.")
_NEW_PASSWORD = say("Your password was changed, which ended this session.")


def init_access(app: Flask) -> None:
    """Guard every route of ``app`` (:data:`PUBLIC`); give templates ``person`` and ``may()``."""
    app.before_request(_guard)
    app.context_processor(lambda: {"person": g.get("person"), "may": _current_person_may})


def may(person: Person, permission: Permission) -> bool:
    """Say whether ``person`` has ``permission``."""
    return permission in permissions(person)


def permitted(
    permission: Permission,
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """Return a decorator for a view that only people with ``permission`` may use.

    It raises what :func:`require` raises.
    """

    def decorate(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            require(permission)
            return view(*args, **kwargs)

        return guarded

    return decorate


def require(permission: Permission) -> None:
    """Raise :class:`NotPermitted` (403) unless the signed-in person has ``permission``.

    The refusal is logged in Activity.
    """
    person = current_person()
    if person is not None and may(person, permission):
        return
    with writing() as session:
        log.add_entry(session, actor(), EventKind.REFUSED_PERMISSION, label=request.path)
    raise NotPermitted(_LACKING[permission])


def _guard() -> ResponseReturnValue | None:
    if not _is_host_allowed():
        # Another site could read it by such a name.
        hide_name()
        return error_response(400, "unknown_host", _UNKNOWN_HOST)
    if request.endpoint is None or request.endpoint in PUBLIC:
        return None
    # Reads the posted form before a transaction begins, because that takes long on a slow line.
    _ = request.form
    if current_person() is None:
        return _ask_to_sign_in()
    if request.endpoint != SIGN_OUT:
        require(Permission.VIEW)
    return None


def _is_host_allowed() -> bool:
    """Say whether the request names an allowed host.

    Otherwise another site could point a name of its own at this panel (DNS rebinding).
    """
    allowed = installation().config.allowed_hosts
    host = re.sub(r":[0-9]+$", "", request.host.lower()).rstrip(".")
    return not allowed or host in allowed or host in _THIS_MACHINE


def _ask_to_sign_in() -> ResponseReturnValue:
    if request.method in ("GET", "HEAD") and not is_fragment() and not wants_json():
        here = request.full_path.rstrip("?")
        there = url_for("sign_in.show", next=here if here != "/" else None, **probe())
        return redirect(there, 303)
    # The page keeps what was typed, so that it can be sent again after signing in.
    reason = _NEW_PASSWORD if ended_by_password() else _SIGNED_OUT
    return error_response(401, "signed_out", reason, "signed_out.html")


def _current_person_may(permission: str) -> bool:
    person: Person | None = g.get("person")
    return person is not None and may(person, Permission(permission))
