"""What prevents a server from syncing: URLs on a primary, missing parameters on a satellite."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sqlalchemy import exists, select, text
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


# Greater than "": the index of URLs answers that, unlike "not equal". The plus keeps SQLite from
# walking along the index of Sync IDs for the order, past every row without a URL.
_WITH_URL = (
    select(Server)
    .where(Server.url > "", Server.removed_at.is_(None))
    .order_by(Server.sync_id + 0)
    .limit(MOST_URLS)
)
# For those who only need to know whether a row of the list has a URL. The empty text stands in the
# statement, since PostgreSQL plans it once for every value.
HAS_URL = exists(
    select(Server.id).where(Server.url > text("''"), Server.removed_at.is_(None)).correlate(None)
)


def is_blocked(session: Session, settings: Settings) -> bool:
    """Say whether a URL disables sync on a primary: its own, or one of the list."""
    return bool(settings.url) or session.scalar(_IS_BLOCKED) is True


_IS_BLOCKED = select(HAS_URL)


class Missing(StrEnum):
    """What a satellite lacks to sync: a field, or the row of its primary."""

    URL = "url"
    PAIR = "pair"
    PRIMARY = "primary"


_WHY: Mapping[Missing, Message] = {
    Missing.URL: say("Not ready: the URL of the primary is empty."),
    Missing.PAIR: say("Not ready: no user name and password yet."),
    Missing.PRIMARY: say("Not ready: the primary is not in the list of servers."),
}


def missing_on_satellite(settings: Settings, primary_name: str | None) -> Missing | None:
    """Return what this satellite lacks; ``primary_name`` is that of its list, None without."""
    if not settings.url:
        return Missing.URL
    if not settings.user_name or not settings.has_password:
        return Missing.PAIR
    return Missing.PRIMARY if primary_name is None else None


def missing_on_primary(session: Session, settings: Settings) -> Missing | None:
    """Return what this primary lacks, so that a satellite of its list could sign in."""
    if settings.user_name and settings.has_password:
        return None
    has_row = session.scalar(_LISTED.limit(1)) is not None
    without_own = session.scalar(_LISTED.where(Server.password_hash.is_(None)).limit(1))
    return Missing.PAIR if not has_row or without_own is not None else None


_LISTED = select(Server.id).where(Server.removed_at.is_(None))


def why_not(missing: Missing) -> Message:
    """Return the sentence about what is missing."""
    return _WHY[missing]


def why_not_ready(session: Session, settings: Settings) -> Message | None:
    """Return why this satellite cannot sync with its preferences; None if it can."""
    missing = missing_on_satellite(settings, primary_name(session))
    return why_not(missing) if missing else None


def primary_name(session: Session) -> str | None:
    """Return the name of the primary in a satellite's list; None if it is not there."""
    return session.scalar(_PRIMARY)


_PRIMARY = select(Server.name).where(Server.sync_id == PRIMARY_SYNC_ID, Server.removed_at.is_(None))
