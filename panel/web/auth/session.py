"""Who is signed in: a signed cookie with the person and the generation that it is good for.

A new password or a disabling raises the person's generation, which ends every older session at
once. A session that a reverse proxy began is good only while that proxy names the same person.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from flask import Flask, Response, current_app, g, request, session
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from itsdangerous import BadData
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

# Short, since they travel with every request: person, generation, by proxy, CSRF secret.
PERSON, GENERATION, BY_PROXY, CSRF = "p", "g", "x", "_c"


class Sessions(SecureCookieSessionInterface):
    """Flask's session cookie, with the name and the attributes that this request calls for."""

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Give the cookie with ``response``, the last that is done to it."""
        super().save_session(app, session, response)
        if response.cache_control.no_store:
            # What nobody may keep cannot be taken for another answer.
            response.headers.pop("Vary", None)

    def get_cookie_name(self, app: Flask) -> str:
        return cookie_name(super().get_cookie_name(app))

    def get_cookie_path(self, app: Flask) -> str:
        return str(cookie_options()["path"])

    def get_cookie_secure(self, app: Flask) -> bool:
        return bool(cookie_options()["secure"])

    def get_cookie_samesite(self, app: Flask) -> str:
        return str(cookie_options()["samesite"])

    def get_cookie_partitioned(self, app: Flask) -> bool:
        return bool(cookie_options()["partitioned"])


def cookie_options() -> dict[str, Any]:
    """Return the attributes of every cookie of ours, as ``Response.set_cookie`` takes them.

    In another site's frame a browser sends only partitioned cookies, and those only under https.
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
    """Give the browser a cookie of ours with ``response``; with 0 seconds take it back."""
    # Without Expires, which says the same in 40 bytes more.
    cookie = dump_cookie(name, value, seconds, sync_expires=False, **cookie_options())
    response.headers.add("Set-Cookie", cookie)


def cookie_name(name: str) -> str:
    """Return what a cookie that lets somebody do something is called where this request is from.

    Partitions keep the cookies of a frame apart from those of a tab. Two names keep them apart in
    browsers without partitions too: who is signed in or has unlocked here is neither there.
    """
    return f"{name}f" if is_framed() else name


def current_person() -> Person | None:
    """Return who sends this request, if that is a person who may sign in.

    Raise :class:`NotPermitted` if a trusted proxy names somebody the panel does not let in.
    """
    if "person" not in g:
        g.person = None
        name = _name_from_proxy()
        g.person = _person_of_proxy(name) if name else _person_of_session()
    person: Person | None = g.person
    return person


def actor() -> Actor:
    """Return the signed-in person as the verbs want to know them; nameless if nobody is."""
    person = current_person()
    return Actor(
        name=person.name if person else "",
        address=request.remote_addr or "",
        via="proxy" if session.get(BY_PROXY) else "web",
        person_id=person.id if person else None,
    )


def sign_in(person: Person, by_proxy: bool = False) -> None:
    """Begin a session for ``person``, keeping nothing of the one before."""
    session.clear()
    session[PERSON], session[GENERATION] = person.id, person.generation
    if by_proxy:
        session[BY_PROXY] = 1
    session[CSRF] = _csrf_secret(installation().config.secret_keys, person)
    g.person = person


def renew_session(person: Person) -> bool:
    """Keep this browser signed in if it is that of ``person``, whose older sessions just ended.

    Say whether it is: its open page then holds the CSRF token of a session that has ended.
    """
    if session.get(PERSON) != person.id:
        return False
    sign_in(person, by_proxy=BY_PROXY in session)
    return True


def session_ends_at() -> datetime | None:
    """Return when the session that this request came with ends by itself."""
    sessions = cast(Sessions, current_app.session_interface)
    signer = sessions.get_signing_serializer(current_app)
    cookie = request.cookies.get(sessions.get_cookie_name(current_app))
    if signer is None or cookie is None:
        return None
    try:
        begun_at: datetime = signer.loads(cookie, return_timestamp=True)[1]
    except BadData:
        return None
    return begun_at + current_app.permanent_session_lifetime


def ended_by_password() -> bool:
    """Say whether this session was good until its person, who may still come, got a new password.

    It may be their own doing, in a form that was sent twice: its second copy comes too late.
    """
    person = _named_in_session()
    return person is not None and person.disabled_at is None and not _still_good(person)


def sign_out() -> None:
    """End the session."""
    session.clear()
    g.person = None


def _person_of_session() -> Person | None:
    person = _named_in_session()
    return person if person and _still_good(person) else None


def _named_in_session() -> Person | None:
    """Return whom the session names, if it began with a password; it may be good no longer."""
    if PERSON not in session or BY_PROXY in session:
        return None
    with installation().database.reading() as reading:
        return reading.get(Person, session[PERSON])


def _still_good(person: Person) -> bool:
    return person.disabled_at is None and session.get(GENERATION) == person.generation


def _name_from_proxy() -> str:
    header = installation().config.remote_user_header
    if not header or not request.environ.get(TRUSTED_PEER):
        return ""
    name = request.headers.get(header, "").strip()
    try:
        # WSGI hands headers over as Latin-1; proxies write names in UTF-8.
        return name.encode("latin-1").decode()
    except UnicodeError:
        return name


def _person_of_proxy(name: str) -> Person:
    with installation().database.reading() as reading:
        person = find_person(reading, name)
    if person is None or person.disabled_at is not None:
        _record(Actor(name, request.remote_addr or "", "proxy"), EventKind.REFUSED_PERMISSION)
        raise NotPermitted(
            say("The intranet says that you are %(name)s, who may not use this panel.", name=name)
        )
    if session.get(PERSON) != person.id or BY_PROXY not in session or not _still_good(person):
        sign_in(person, by_proxy=True)
        _record(actor(), EventKind.SIGNED_IN)
    return person


def _record(who: Actor, what: EventKind) -> None:
    with installation().database.writing() as writing:
        log.add_entry(writing, who, what)


def _csrf_secret(secret_keys: Sequence[str], person: Person) -> str:
    # The same for each session of this generation: a page that was open while its session ended
    # is good again once its reader has signed in again.
    text = f"csrf {person.id} {person.generation}"
    return hmac.digest(secret_keys[0].encode(), text.encode(), hashlib.sha256).hex()[:16]
