"""What disables sync on a primary: URLs, since a primary goes to nobody."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.models.row_locks import label
from panel.models.settings import Server, Settings

MOST_SHOWN_URLS = 50


@dataclass(frozen=True)
class BlockingUrl:
    """A URL that disables sync on the primary: its own, or that of one row of the list."""

    kind: Literal["settings", "server"]
    server_id: int | None
    label: str


def blocking_urls(session: Session) -> list[BlockingUrl]:
    """Return what disables sync on a primary: every URL that is set, at most the first 50."""
    settings = session.get_one(Settings, 1)
    if not settings.is_primary:
        return []
    own = [BlockingUrl("settings", None, settings.name)] if settings.url else []
    # "Not empty", said so that the index of the URLs can answer it.
    query = select(Server).where(Server.url > "", Server.removed_at.is_(None))
    rows = session.scalars(query.order_by(Server.sync_id).limit(MOST_SHOWN_URLS))
    return own + [BlockingUrl("server", server.id, label(server)) for server in rows]
