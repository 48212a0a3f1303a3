"""The session: a signed cookie with the person and their generation.

A new password or disabling the person raises the generation, which ends all older sessions at once
(OWASP ASVS 5.0, 7.4.2 and 7.4.3). A session begun by a reverse proxy is valid only while the proxy
names the same person.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from flask import Flask, Response, g, request, session
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from werkzeug.http import dump_cookie
from werkzeug.wrappers import Response as AnyResponse

from panel.accounts.sign_in import find_person
from panel.activity import log
from panel.activity.kinds import EventKind
from panel.activity.log import Actor
from panel.errors import NotPermitted
from panel.i18n import say
from panel.models.people import Person
from panel.web.base.context import installation
from panel.web.base.embed import is_framed
from panel.web.base.proxy import TRUSTED_PEER

# Keys of the session, short because every request carries them. BY_PROXY: a proxy began it.
PERSON, GENERATION, BY_PROXY, CSRF = "p", "g", "x", "_c"


class Sessions(SecureCookieSessionInterface):
    """Flask's session cookie, with the name and the attributes that fit the request."""

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie on ``response``; Flask does this last."""
        super().save_session(app, session, response)
        if response.cache_control.no_store:
            # Vary is for caches, which do not store this answer.
            response.headers.pop("Vary", None)

    def get_cookie_name(self, app: Flask) -> str:
        """Return the cookie's name."""
        return cookie_name(super().get_cookie_name(app))

    def get_cookie_path(self, app: Flask) -> str:
        """Return the cookie's path."""
        return str(cookie_options()["path"])

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return the cookie's attribute Secure."""
        return bool(cookie_options()["secure"])

    def get_cookie_samesite(self, app: Flask) -> str:
        """Return the cookie's attribute SameSite."""
        return str(cookie_options()["samesite"])

    def get_cookie_partitioned(self, app: Flask) -> bool:
        """Return the cookie's attribute Partitioned."""
        return bool(cookie_options()["partitioned"])


def cookie_options() -> dict[str, Any]:
    """Return the attributes of all our cookies, as ``Response.set_cookie`` takes them.

    In a frame of another site browsers send only partitioned cookies, and only under https.
    """
    framed = is_framed()
    return {
        "path": request.script_root or "/",
        "secure": request.is_secure,
        "httponly": True,
        "samesite": "None" if framed else "Lax",
        "partitioned": framed,
    }


def set_cookie(response: AnyResponse, name: str, value: str, seconds: int) -> None:
    """Set a cookie on ``response`` for so many ``seconds``; 0 deletes it."""
    # Without Expires, which repeats Max-Age in 40 bytes.
    cookie = dump_cookie(name, value, seconds, sync_expires=False, **cookie_options())
    response.headers.add("Set-Cookie", cookie)


def cookie_name(name: str) -> str:
    """Return the name of a session or unlock cookie: another one in a frame than in a tab.

    Partitioned cookies are separate already. The names keep them apart in browsers without
    partitions too, so that a sign-in in a tab does not count in the frame of another site.
    """
    return f"{name}f" if is_framed() else name


def current_person() -> Person | None:
    """Return the signed-in person of this request; None if nobody is signed in.

    Raise :class:`NotPermitted` if a trusted proxy names an unknown or disabled person.
    """
    if "person" not in g:
        g.person = None
        name = _name_from_proxy()
        g.person = _person_of_proxy(name) if name else _person_of_session()
    person: Person | None = g.person
    return person


def actor() -> Actor:
    """Return the signed-in person as the actor of an act; without a name if nobody is."""
    person = current_person()
    return Actor(
        name=person.name if person else "",
        address=request.remote_addr or "",
        via="proxy" if session.get(BY_PROXY) else "web",
        person_id=person.id if person else None,
    )


def sign_in(person: Person, by_proxy: bool = False) -> None:
    """Begin a new session for ``person``; nothing of the old one stays."""
    session.clear()
    session[PERSON], session[GENERATION] = person.id, person.generation
    if by_proxy:
        session[BY_PROXY] = 1
    session[CSRF] = _csrf_secret(installation().config.secret_keys, person)
    g.person = person


def renew_session(person: Person) -> bool:
    """Renew the session if it is that of ``person``, whose older sessions just ended.

    Say whether it is: the open page then holds a CSRF token of the ended session.
    """
    if session.get(PERSON) != person.id:
        return False
    sign_in(person, by_proxy=BY_PROXY in session)
    return True


def ended_by_password() -> bool:
    """Say whether a new password ended this session; its person is not disabled.

    That also happens to the second of two copies of one's own password form.
    """
    person = _person_in_cookie()
    return person is not None and person.disabled_at is None and not _is_current(person)


def sign_out() -> None:
    """End the session."""
    session.clear()
    g.person = None


def _person_of_session() -> Person | None:
    person = _person_in_cookie()
    return person if person and _is_current(person) else None


def _person_in_cookie() -> Person | None:
    """Return the person of a session begun with a password, even if it has ended."""
    if PERSON not in session or BY_PROXY in session:
        return None
    with installation().database.reading() as reading:
        return reading.get(Person, session[PERSON])


def _is_current(person: Person) -> bool:
    return person.disabled_at is None and session.get(GENERATION) == person.generation


def _name_from_proxy() -> str:
    header = installation().config.remote_user_header
    if not header or not request.environ.get(TRUSTED_PEER):
        return ""
    name = request.headers.get(header, "").strip()
    try:
        # WSGI decodes headers as Latin-1 (PEP 3333); proxies write names in UTF-8.
        return name.encode("latin-1").decode()
    except UnicodeError:
        return name


def _person_of_proxy(name: str) -> Person:
    with installation().database.reading() as reading:
        person = find_person(reading, name)
    if person is None or person.disabled_at is not None:
        _log(Actor(name, request.remote_addr or "", "proxy"), EventKind.REFUSED_PERMISSION)
        raise NotPermitted(
            say("The intranet says that you are %(name)s, who may not use this panel.", name=name)
        )
    if session.get(PERSON) != person.id or BY_PROXY not in session or not _is_current(person):
        sign_in(person, by_proxy=True)
        _log(actor(), EventKind.SIGNED_IN)
    return person


def _log(who: Actor, what: EventKind) -> None:
    with installation().database.writing() as writing:
        log.add_entry(writing, who, what)


def _csrf_secret(secret_keys: Sequence[str], person: Person) -> str:
    # The same for all sessions of a generation: after signing in again, a page that stayed open
    # can still send its form.
    text = f"csrf {person.id} {person.generation}"
    return hmac.digest(secret_keys[0].encode(), text.encode(), hashlib.sha256).hex()[:16]
