"""A typed password that has to wait for the authorisation code, sealed in the form meanwhile."""

import json
from datetime import timedelta

from flask import request

from panel import clock
from panel.security.vault import Unreadable
from panel.web.auth.session import actor
from panel.web.base.context import services

TYPED_MINUTES = 30


def seal_typed(secret: str) -> str:
    """Return a typed password so that only who typed it can send it back, within half an hour."""
    until = clock.now() + timedelta(minutes=TYPED_MINUTES)
    return services().vault.seal(json.dumps(["typed", _owner(), until.timestamp(), secret]))


def open_typed(sealed: str) -> str | None:
    """Return what :func:`seal_typed` sealed; None if it is another's, or too old."""
    try:
        purpose, owner, until, secret = json.loads(services().vault.open(sealed))
    except (Unreadable, ValueError, TypeError):
        return None
    good = purpose == "typed" and owner == _owner() and clock.now().timestamp() < until
    return str(secret) if good else None


def _owner() -> object:
    """Return who is signed in; before anybody can be, the set-up link that the form came by."""
    return actor().person_id or (request.view_args or {}).get("token")
