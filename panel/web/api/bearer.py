"""Requests of applications prove themselves with a bearer token (RFC 6750)."""

from collections.abc import Collection

from flask import Blueprint, Response, request

from panel import clock
from panel.accounts.tokens import find_token, note_use, use_is_news
from panel.errors import Refusal
from panel.i18n import say
from panel.web.base.context import installation


class TokenNeeded(Refusal):
    """The request has no bearer token, or one that is unknown or revoked."""

    status = 401
    code = "token_needed"


def ask_for_tokens(blueprint: Blueprint, but_not: Collection[str]) -> None:
    """Refuse every request to ``blueprint`` without a token, but for the endpoints ``but_not``."""

    def check() -> None:
        if request.endpoint not in but_not:
            _check_token()

    blueprint.before_request(check)
    blueprint.after_request(_name_the_scheme)


def _check_token() -> None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    with installation().database.reading() as session:
        token = find_token(session, secret.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        raise TokenNeeded(say("Send a token: `sync-panel token add` makes one."))
    if use_is_news(token, clock.now()):
        with installation().database.writing() as session:
            note_use(session, token.id, clock.now())


def _name_the_scheme(response: Response) -> Response:
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
