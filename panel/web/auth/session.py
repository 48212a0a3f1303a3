"""The session: a signed cookie with a secret key, which finds a row that the server can end.

A new password and disabling raise the person's ``generation``, which ends all older sessions at
once (OWASP ASVS 5.0, 7.4.2 and 7.4.3). A session that a reverse proxy began is valid only while the
proxy names the same person.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Flask, Response, g, request, session
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy.exc import OperationalError
from werkzeug.http import dump_cookie
from werkzeug.wrappers import Response as AnyResponse

from panel.accounts.sign_in import (
    SessionLimits,
    Visitor,
    begin_session,
    drop_session,
    find_person,
    find_session,
    is_seen_outdated,
    is_session_valid,
    update_seen,
)
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import NotPermitted
from panel.i18n import say
from panel.models.people import BrowserSession, Person
from panel.security.hashes import equal_in_constant_time
from panel.web.base.context import installation, reading, writing
from panel.web.base.embed import is_framed
from panel.web.base.proxy import TRUSTED_PEER

# Keys of the cookie, short because every request carries them.
KEY, CSRF = "k", "_c"
# The header with the secret by which the proxy that may name the person is recognised.
PROXY_SECRET = "X-Sync-Panel-Proxy"  # noqa: S105 - the header's name
# The endpoints that the script of an open page requests by itself, and the parameter of other such
# requests. They do not count as use of the session.
_AUTOMATIC, _QUIET = ("sync_page.progress",), "quiet"
# Browsers take a cookie with this prefix only for this host, under https and for every path.
_HOST_PREFIX = "__Host-"


class Sessions(SecureCookieSessionInterface):
    """Flask's session cookie, with the name and the attributes that fit the request."""

    _signing_serializer: URLSafeTimedSerializer | None = None

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Return what signs the cookie: made once, not with each request."""
        if self._signing_serializer is None:
            self._signing_serializer = super().get_signing_serializer(app)
        return self._signing_serializer

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie on ``response``; Flask calls this after every ``after_request``."""
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


def set_cookie(
    response: AnyResponse, name: str, value: str, seconds: int, path: str | None = None
) -> None:
    """Set the cookie ``name`` on ``response`` for so many ``seconds``; 0 deletes it.

    The browser sends it to ``path`` and below, a path within the panel; by default to all of it.
    """
    options = cookie_options()
    if path is not None:
        options["path"] = f"{request.script_root}{path}"
    # Without Expires, which says the same as Max-Age and takes 40 bytes.
    cookie = dump_cookie(name, value, seconds, sync_expires=False, **options)
    response.headers.add("Set-Cookie", cookie)


def cookie_name(name: str) -> str:
    """Return the full name of the cookie ``name``: it differs between a frame and a tab.

    Browsers keep partitioned cookies apart by themselves. The names do so in older browsers too, so
    that a sign-in in a tab does not count in the frame of another site.
    """
    prefix = _HOST_PREFIX if request.is_secure and not request.script_root else ""
    return f"{prefix}{name}{'f' if is_framed() else ''}"


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
    person, found = current_person(), current_session()
    return Actor(
        name=person.name if person else "",
        address=request.remote_addr or "",
        via="proxy" if found and found.by_proxy else "web",
        person_id=person.id if person else None,
    )


def current_session() -> BrowserSession | None:
    """Return the session whose key is in the cookie, unless its time is over; else None.

    A new password or disabling may still have ended it: :func:`current_person` checks that.
    """
    found = _found()
    return found[0] if found else None


def session_mark() -> str:
    """Return a text that identifies this session and is no secret; "" if there is none."""
    found = current_session()
    return found.key_hash[:8] if found else ""


def limits() -> SessionLimits:
    """Return how long a session of this installation lasts, unused and in all."""
    config = installation().config
    return SessionLimits(
        idle=timedelta(minutes=config.idle_minutes), whole=timedelta(hours=config.session_hours)
    )


def sign_in(person: Person, by_proxy: bool = False) -> None:
    """Begin a new session for ``person``, and end the one that this browser had.

    ``by_proxy`` says that a trusted proxy named the person.
    """
    visitor = Visitor(request.remote_addr or "", request.user_agent.string, by_proxy)
    ended = current_session()
    with writing() as writer:
        if ended is not None:
            drop_session(writer, ended.id)
        key, begun = begin_session(writer, person, visitor, limits())
    session.clear()
    session[KEY] = key
    session[CSRF] = _csrf_secret(installation().config.secret_keys, person)
    g.person, g.found_session = person, (begun, person)


def renew_session(person: Person) -> bool:
    """Begin a new session if the current one is that of ``person``, whose sessions have just ended.

    Say whether it is. The open page then still has a CSRF token of the ended session.
    """
    found = current_session()
    if found is None or found.person_id != person.id:
        return False
    sign_in(person, found.by_proxy)
    return True


def ended_by_password() -> bool:
    """Say whether a new password ended this session of a person who is not disabled.

    That also happens to somebody who sends the form with their own new password twice.
    """
    found = _found()
    if found is None or found[0].by_proxy:
        return False
    return found[1].disabled_at is None and not is_session_valid(*found)


def sign_out() -> None:
    """End the session, in the browser and in the database."""
    found = current_session()
    if found is not None:
        with writing() as writer:
            drop_session(writer, found.id)
    session.clear()
    g.person = g.found_session = None


def _found() -> tuple[BrowserSession, Person] | None:
    """Return the session of the cookie and its person, even if a new password ended it."""
    if "found_session" not in g:
        g.found_session = None
        if key := session.get(KEY):
            g.found_session = find_session(reading(), str(key), limits())
    found: tuple[BrowserSession, Person] | None = g.found_session
    return found


def _person_of_session() -> Person | None:
    found = _found()
    if found is None or found[0].by_proxy or not is_session_valid(*found):
        return None
    _note_seen(found[0])
    return found[1]


def _note_seen(found: BrowserSession) -> None:
    by_itself = request.endpoint in _AUTOMATIC or _QUIET in request.args
    if by_itself or not is_seen_outdated(found):
        return
    try:
        with writing() as writer:
            update_seen(writer, found.id)
    except OperationalError:
        # The disk is full or the database busy, which must not stop somebody who only reads.
        return


def _name_from_proxy() -> str:
    config = installation().config
    header, secret = config.remote_user_header, config.remote_user_secret
    if not (header and secret and request.environ.get(TRUSTED_PEER)):
        return ""
    # The address alone proves nothing: every program on the proxy's machine has it.
    if not equal_in_constant_time(request.headers.get(PROXY_SECRET, ""), secret):
        return ""
    name = request.headers.get(header, "").strip()
    try:
        # WSGI decodes headers as Latin-1 (PEP 3333); proxies write names in UTF-8.
        return name.encode("latin-1").decode()
    except UnicodeError:
        return name


def _person_of_proxy(name: str) -> Person:
    person = find_person(reading(), name)
    if person is None or person.disabled_at is not None:
        _log(Actor(name, request.remote_addr or "", "proxy"), EventKind.REFUSED_PERMISSION)
        raise NotPermitted(
            say("The intranet says that you are %(name)s, who may not use this panel.", name=name)
        )
    found = current_session()
    if found is None or not found.by_proxy or not _is_session_of(found, person):
        sign_in(person, by_proxy=True)
        _log(actor(), EventKind.SIGNED_IN)
    else:
        _note_seen(found)
    return person


def _is_session_of(found: BrowserSession, person: Person) -> bool:
    return found.person_id == person.id and is_session_valid(found, person)


def _log(who: Actor, what: EventKind) -> None:
    with writing() as writer:
        log.add_entry(writer, who, what)


def _csrf_secret(secret_keys: Sequence[str], person: Person) -> str:
    # The same for all sessions of a generation: after signing in again, a page that stayed open
    # can still send its form.
    text = f"csrf {person.id} {person.generation}"
    return hmac.digest(secret_keys[0].encode(), text.encode(), hashlib.sha256).hex()[:16]
