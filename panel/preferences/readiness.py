"""What prevents a server from syncing: URLs on a primary, what is missing, the first steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session

from panel.i18n import Message, join, say
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.settings import IssuedSetup, Server, Settings

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
    """What a server lacks to sync: a field, or the row of a satellite's primary."""

    URL = "url"
    PAIR = "pair"
    PRIMARY = "primary"


_WHY: Mapping[Missing, Message] = {
    Missing.URL: say("Not ready: the URL of the primary is empty."),
    Missing.PAIR: say("Not ready: no user name and password yet."),
    Missing.PRIMARY: say("Not ready: the primary is not in the list of servers."),
}
_THINGS: Mapping[Missing, Message] = {
    Missing.URL: say("the URL of the primary"),
    Missing.PAIR: say("a user name and password"),
    Missing.PRIMARY: say("the primary in the list of servers"),
}


def missing_on_satellite(settings: Settings, primary_name: str | None) -> Sequence[Missing]:
    """Return all that this satellite lacks; ``primary_name`` is that of its list, None without."""
    has_pair = bool(settings.user_name) and settings.has_password
    has = {
        Missing.URL: bool(settings.url),
        Missing.PAIR: has_pair,
        Missing.PRIMARY: primary_name is not None,
    }
    return [one for one in Missing if not has[one]]


def missing_on_primary(session: Session, settings: Settings) -> Sequence[Missing]:
    """Return what this primary lacks, so that a satellite of its list could sign in."""
    if settings.user_name and settings.has_password:
        return []
    has_row = session.scalar(_LISTED.limit(1)) is not None
    return [] if has_row and row_without_pair(session) is None else [Missing.PAIR]


def row_without_pair(session: Session) -> int | None:
    """Return the id of a row that has neither a pair of its own nor a set-up to get one by."""
    return session.scalar(_WITHOUT_PAIR)


_LISTED = select(Server.id).where(Server.removed_at.is_(None))
_SET_UP = (
    exists(IssuedSetup.id)
    .where(IssuedSetup.server_id == Server.id, IssuedSetup.revoked_at.is_(None))
    .correlate(Server)
)
_WITHOUT_PAIR = _LISTED.where(Server.password_hash.is_(None), ~_SET_UP).limit(1)


def why_not(missing: Sequence[Missing]) -> Message:
    """Return the sentence about all that is missing."""
    if len(missing) == 1:
        return _WHY[missing[0]]
    return say("Not ready. Missing: %(things)s.", things=join([_THINGS[m] for m in missing], ", "))


def why_not_ready(session: Session, settings: Settings) -> Message | None:
    """Return why this satellite cannot sync with its preferences; None if it can."""
    missing = missing_on_satellite(settings, primary_name(session))
    return why_not(missing) if missing else None


class Step(StrEnum):
    """The first steps of a server: a parameter by its name, or what else there is to do."""

    SYNC_ID = "sync_id"
    NAME = "name"
    STORE = "store"
    USER_NAME = "user_name"
    PASSWORD = "password"  # noqa: S105 - the name of a field
    URL = "url"
    PRIMARY = "primary"
    SATELLITE = "satellite"
    SETUP = "setup"
    TEST = "test"


def steps_of_satellite(
    settings: Settings, primary_name: str | None, *, is_tested: bool
) -> dict[Step, bool]:
    """Map each first step of a satellite to whether it is done."""
    return {
        **_own_steps(settings),
        Step.USER_NAME: bool(settings.user_name),
        Step.PASSWORD: settings.has_password,
        Step.URL: bool(settings.url),
        Step.PRIMARY: primary_name is not None,
        Step.TEST: is_tested,
    }


def steps_of_primary(settings: Settings, *, has_row: bool, is_missing: bool) -> dict[Step, bool]:
    """Map each first step of a primary to whether it is done; ``is_missing`` of what signs in."""
    return {**_own_steps(settings), Step.SATELLITE: has_row, Step.SETUP: not is_missing}


def _own_steps(settings: Settings) -> dict[Step, bool]:
    return {
        Step.SYNC_ID: settings.sync_id is not None,
        Step.NAME: bool(settings.name),
        Step.STORE: bool(settings.store),
    }


def primary_name(session: Session) -> str | None:
    """Return the name of the primary in a satellite's list; None if it is not there."""
    return session.scalar(_PRIMARY)


_PRIMARY = select(Server.name).where(Server.sync_id == PRIMARY_SYNC_ID, Server.removed_at.is_(None))
