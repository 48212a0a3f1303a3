"""The fields of a row of the list of servers, and the rules for them."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from panel.errors import Choice, NeedsConfirmation
from panel.i18n import Message, say
from panel.models.base import (
    NAME_LENGTH,
    PRIMARY_SYNC_ID,
    STORE_LENGTH,
    USER_NAME_LENGTH,
    searchable,
)
from panel.models.records import Record
from panel.models.settings import Server, Settings
from panel.preferences.field_checks import (
    HTTP_WARNING,
    PRIMARY_URL_WARNING,
    Checks,
    check_url,
    why_weak,
)
from panel.preferences.parameter_table import SYNC_ID

KEEP_RECORDS, ARCHIVE_RECORDS = "records=keep", "records=archive"
_KEEP = say("Yes: it gets its records back.")
_ARCHIVE = say(
    "No: they are archived. The primary keeps them, and no server gets or changes them any more."
)


@dataclass(frozen=True)
class ServerFields:
    """A row as somebody typed it.

    ``url`` None, and ``password`` None or empty, leave the saved value. On a satellite ``url`` is
    the URL of the parameters.
    """

    sync_id: int | None
    name: str
    store: str
    url: str | None = None
    user_name: str = ""
    password: str | None = None


def tidy(checks: Checks, typed: ServerFields) -> ServerFields:
    """Return the values normalised; the reasons against single values are in ``checks``."""
    if typed.sync_id is None:
        checks.refuse("sync_id", say("A server needs a Sync ID."))
    needs_name, needs_store = say("A server needs a Name."), say("A server needs a Store.")
    return replace(
        typed,
        sync_id=SYNC_ID.tidy(checks, typed.sync_id),
        name=checks.text("name", typed.name, NAME_LENGTH, needs_name),
        store=checks.text("store", typed.store, STORE_LENGTH, needs_store),
        url=None if typed.url is None else checks.url("url", typed.url),
        user_name=checks.text("user_name", typed.user_name, USER_NAME_LENGTH),
        password=checks.secret("password", typed.password) if typed.password else None,
    )


def check_row(
    session: Session,
    checks: Checks,
    settings: Settings,
    wanted: ServerFields,
    server: Server | None = None,
) -> None:
    """Add to ``checks`` why ``wanted`` conflicts with settings and other rows.

    ``server`` is the row that it changes, None for a new one.
    """
    if reason := _why_not_this_sync_id(session, settings, wanted.sync_id, server):
        checks.refuse("sync_id", reason)
    if settings.is_primary:
        _check_own_pair(session, checks, settings, wanted, server)
    else:
        for field in ("user_name", "password"):
            if getattr(wanted, field):
                reason = say("Only on a primary a server has a pair of its own.")
                checks.refuse(field, reason)


def _why_not_this_sync_id(
    session: Session, settings: Settings, sync_id: int | None, server: Server | None
) -> Message | None:
    others = select(Server).where(Server.removed_at.is_(None)).limit(1)
    if server is not None:
        others = others.where(Server.id != server.id)
    if settings.sync_id is None:
        return say("Give this server a Sync ID first.")
    if sync_id == settings.sync_id:
        return say("This is the Sync ID of this server itself.")
    same_id = session.scalar(others.where(Server.sync_id == sync_id))
    if same_id is not None:
        return say("%(server)s has this Sync ID already.", server=same_id.label)
    return None if settings.is_primary else _why_not_on_a_satellite(sync_id, session.scalar(others))


def _why_not_on_a_satellite(sync_id: int | None, other: Server | None) -> Message | None:
    if sync_id != PRIMARY_SYNC_ID:
        return say("A satellite synchronises with the primary only, whose Sync ID is 1.")
    if other is not None:
        return say("A satellite lists one server, and %(server)s is here.", server=other.label)
    return None


def _check_own_pair(
    session: Session,
    checks: Checks,
    settings: Settings,
    wanted: ServerFields,
    server: Server | None,
) -> None:
    """Check that an own pair is complete and its User name unique (mSupply Sync v5 looks it up)."""
    has_password = wanted.password is not None or (
        server is not None and server.password_hash is not None
    )
    if wanted.password and (reason := why_weak(wanted.password, wanted.user_name, wanted.name)):
        checks.refuse("password", reason)
    if wanted.user_name and not has_password:
        checks.refuse("password", say("A User name of its own needs a Password too."))
    if not wanted.user_name:
        if has_password:
            checks.refuse("user_name", say("A Password of its own needs a User name too."))
        return
    key = searchable(wanted.user_name)
    if key == searchable(settings.user_name):
        checks.refuse("user_name", say("This is the User name of the shared pair."))
    others = select(Server).where(Server.removed_at.is_(None), Server.user_name_key == key)
    if server is not None:
        others = others.where(Server.id != server.id)
    if (same_name := session.scalar(others.limit(1))) is not None:
        reason = say("%(server)s has this User name already.", server=same_name.label)
        checks.refuse("user_name", reason)


def check_confirmed(
    settings: Settings,
    url: str | None,
    was: str,
    choice: Choice | None,
    confirmed: Collection[str],
) -> None:
    """Raise :class:`NeedsConfirmation` if ``url`` needs a warning, or ``choice`` is not made.

    ``was`` is the URL before; ``confirmed`` names the acts that somebody was warned of.
    """
    acts = _acts_of_url(settings, url) if url and url != was else {}
    acts = {act: warning for act, warning in acts.items() if act not in confirmed}
    if choice and sum(act in confirmed for act in choice.acts) == 1:
        choice = None
    if acts or choice:
        raise NeedsConfirmation(acts, choice)


def _acts_of_url(settings: Settings, url: str) -> dict[str, Message]:
    if settings.is_primary:
        return {"url_on_primary": PRIMARY_URL_WARNING}
    return {"url_http": HTTP_WARNING} if check_url(url)[1] else {}


def ask_about_records(
    session: Session, settings: Settings, sync_id: int | None, user: Server | None = None
) -> Choice | None:
    """Return the question whose records those of ``sync_id`` are; None if it has none.

    On a primary a number may have been used before: its records are the same store's, or they are
    archived, so that another store neither gets nor overwrites them. ``user`` is the row that had
    the number, None for the one that was removed last.
    """
    if not settings.is_primary or sync_id is None:
        return None
    counts = select(func.count()).select_from(Record)
    count = (session.scalar(counts.where(Record.owner == sync_id)) or 0) + (
        session.scalar(counts.where(Record.to == sync_id)) or 0
    )
    if not count:
        return None
    before = user or find_user_before(session, sync_id)
    question = (
        say(
            "Sync ID %(sync_id)s has %(count)s records already, of %(server)s. Is this the same "
            "store?",
            sync_id=sync_id,
            count=count,
            server=before.name,
        )
        if before
        else say(
            "Sync ID %(sync_id)s has %(count)s records already. Is this the same store?",
            sync_id=sync_id,
            count=count,
        )
    )
    return Choice(question, {KEEP_RECORDS: _KEEP, ARCHIVE_RECORDS: _ARCHIVE})


def find_user_before(session: Session, sync_id: int) -> Server | None:
    """Return the row with this Sync ID that was removed last, None if none is known any more."""
    removed = select(Server).where(Server.sync_id == sync_id, Server.removed_at.is_not(None))
    return session.scalar(removed.order_by(Server.removed_at.desc(), Server.id.desc()).limit(1))


def fields_of(server: Server) -> ServerFields:
    """Return the fields of a saved row; its password and its URL stay unchanged."""
    return ServerFields(
        sync_id=server.sync_id,
        name=server.name,
        store=server.store,
        user_name=server.user_name,
    )
