"""What prevents a server from syncing: URLs on a primary, missing parameters on a satellite."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.i18n import Message, say
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.settings import Server, Settings

MOST_URLS = 50


@dataclass(frozen=True)
class BlockingUrl:
    """A URL that disables sync on the primary: its own, or that of a row of the list."""

    kind: Literal["settings", "server"]
    server_id: int | None
    label: str


def blocking_urls(session: Session) -> list[BlockingUrl]:
    """Return the URLs that disable sync on a primary, at most :data:`MOST_URLS` of the list."""
    settings = session.get_one(Settings, 1)
    if not settings.is_primary:
        return []
    own = [BlockingUrl("settings", None, settings.name)] if settings.url else []
    rows = session.scalars(_WITH_URL)
    return own + [BlockingUrl("server", server.id, server.label) for server in rows]


# Greater than "": the index of URLs answers that, unlike "not equal".
_WITH_URL = (
    select(Server)
    .where(Server.url > "", Server.removed_at.is_(None))
    .order_by(Server.sync_id)
    .limit(MOST_URLS)
)


def why_not_ready(session: Session, settings: Settings) -> Message | None:
    """Return why this satellite cannot sync with its preferences; None if it can."""
    if not settings.url:
        return say("Disabled, because the URL of the primary is empty.")
    if not settings.user_name or not settings.has_password:
        return say("Disabled, because the User name or the Password is not set.")
    if session.scalar(_PRIMARY) is None:
        return say("Disabled, because the primary is not in the list of servers.")
    return None


_PRIMARY = select(Server.id).where(Server.sync_id == PRIMARY_SYNC_ID, Server.removed_at.is_(None))
