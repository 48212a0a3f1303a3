"""A typed password that has to wait for the authorisation code, sealed in the form meanwhile."""

import json
from datetime import timedelta

from panel import clock
from panel.keys import Unreadable
from panel.web.services import services
from panel.web.session import actor

TYPED_MINUTES = 30


def seal_typed(secret: str) -> str:
    """Return a typed password so that only this person can send it back, within half an hour."""
    until = clock.now() + timedelta(minutes=TYPED_MINUTES)
    return services().vault.seal(
        json.dumps(["typed", actor().person_id, until.timestamp(), secret])
    )


def open_typed(sealed: str) -> str | None:
    """Return what :func:`seal_typed` sealed; None if it is not this person's, or too old."""
    try:
        purpose, person_id, until, secret = json.loads(services().vault.open(sealed))
    except (Unreadable, ValueError, TypeError):
        return None
    good = purpose == "typed" and person_id == actor().person_id and clock.now().timestamp() < until
    return str(secret) if good else None
