"""The cookie of the unlock: who unlocked, until when, and what it belongs to.

It names the generations of the code and of the person's unlocks, so that a new code and *Lock now*
end it at once, and it is worth nothing without that person's own session.
"""

from datetime import UTC, datetime

from flask import Response, after_this_request, g, request
from itsdangerous import BadData, URLSafeSerializer

from panel import clock
from panel.accounts import authorisation_code
from panel.accounts.authorisation_code import Unlock
from panel.web.auth.session import cookie_name, current_person, give_cookie
from panel.web.base.context import services

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
        give_cookie(response, cookie_name(COOKIE), _written(found), seconds)
        return response


def unlocked_now() -> bool:
    """Say whether this very request opened the lock: the bar of the page still says *Locked*."""
    return bool(g.get("unlocked_now", False))


def end_unlock() -> None:
    """Take the cookie back with this answer."""
    g.unlock = None

    @after_this_request
    def take(response: Response) -> Response:
        give_cookie(response, cookie_name(COOKIE), "", 0)
        return response


def _good_unlock() -> Unlock | None:
    person, text = current_person(), request.cookies.get(cookie_name(COOKIE), "")
    found = _read(text) if person and text else None
    if person is None or found is None:
        return None
    with services().database.reading() as session:
        return found if authorisation_code.is_open(session, found, person, clock.now()) else None


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
