"""The log Activity: one row for each act and refusal, and a count for what repeats itself.

Nobody can fill it: repeats of one kind, by one person or from one address, are one row with a
count. What is too old, or more than is kept, is removed, and a row says so.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, delete, func, or_, select, tuple_
from sqlalchemy.orm import Session

from panel import clock
from panel.errors import Conflict, Difference
from panel.i18n import Message, say
from panel.models.base import ADDRESS_LENGTH, NAME_LENGTH
from panel.models.people import Activity


class EventKind(StrEnum):
    """The kinds of acts and refusals that are logged."""

    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    SESSION_ENDED = "session_ended"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - a kind of act, not a password
    TRIES_FORGIVEN = "tries_forgiven"
    CONNECTION_TESTED = "connection_tested"
    UNLOCKED = "unlocked"
    WRONG_CODE = "wrong_code"
    LOCKED_NOW = "locked_now"
    REFUSED_LOCKED = "refused_locked"
    REFUSED_PERMISSION = "refused_permission"
    REFUSED_TOO_MANY = "refused_too_many"
    CODE_SET = "code_set"
    INTERVAL_CHANGED = "interval_changed"
    PARAMETERS_CHANGED = "parameters_changed"
    PASSWORD_REMOVED = "password_removed"  # noqa: S105 - a kind of act, not a password
    URL_CLEARED = "url_cleared"
    SERVER_ADDED = "server_added"
    SERVER_CHANGED = "server_changed"
    SERVER_REMOVED = "server_removed"
    SERVER_RESTORED = "server_restored"
    HARDWARE_BOUND = "hardware_bound"
    HARDWARE_CLEARED = "hardware_cleared"
    SETUP_ISSUED = "setup_issued"
    SETUP_REVOKED = "setup_revoked"
    SETUP_USED = "setup_used"
    JOINED = "joined"
    PERSON_ADDED = "person_added"
    PERSON_CHANGED = "person_changed"
    PERSON_DISABLED = "person_disabled"
    PERSON_ENABLED = "person_enabled"
    PASSWORD_SET = "password_set"  # noqa: S105 - a kind of act, not a password
    IMPORTED = "imported"
    EXPORTED_SECRETS = "exported_secrets"
    TOKEN_ADDED = "token_added"  # noqa: S105 - a kind of act, not a token
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a kind of act, not a token
    STATUS_ADDRESS_MADE = "status_address_made"
    STATUS_ADDRESS_REVOKED = "status_address_revoked"
    SYNC_ASKED = "sync_asked"
    SYNC_STOPPED = "sync_stopped"
    INITIALISE_ASKED = "initialise_asked"
    BACKUP_RESTORED = "backup_restored"
    RESTORE_FOUND = "restore_found"
    COPY_FOUND = "copy_found"
    SYNC_REFUSED = "sync_refused"
    SET_ASIDE_RETRIED = "set_aside_retried"
    SET_ASIDE_LEFT_OUT = "set_aside_left_out"
    RECORDS_ARCHIVED = "records_archived"
    RECORDS_GIVEN_BACK = "records_given_back"
    # Its name is in a trigger of the database too.
    ACTIVITY_REMOVED = "activity_removed"


# Stands for a password or a code, in the old value and in the new one.
SECRET = "changed"  # noqa: S105 - a word that stands for a secret
# In characters.
LABEL_LENGTH = 120
# In the place of an address, of a row that counts for many.
MANY_ADDRESSES = "*"

# What somebody may cause without end. A repeat is one whatever it was about, since who is refused
# can choose that.
_REFUSALS = frozenset(
    {
        EventKind.SIGN_IN_FAILED,
        EventKind.WRONG_PASSWORD,
        EventKind.WRONG_CODE,
        EventKind.REFUSED_LOCKED,
        EventKind.REFUSED_PERMISSION,
        EventKind.REFUSED_TOO_MANY,
        EventKind.SYNC_REFUSED,
    }
)
# These repeat one another only where they are the same in everything.
_HARMLESS = frozenset(
    {
        EventKind.SIGNED_IN,
        EventKind.SIGNED_OUT,
        EventKind.SESSION_ENDED,
        EventKind.UNLOCKED,
        EventKind.LOCKED_NOW,
        EventKind.CONNECTION_TESTED,
        EventKind.SYNC_ASKED,
        EventKind.SYNC_STOPPED,
        EventKind.SET_ASIDE_RETRIED,
    }
)
# A row counts what comes within an hour of the last time, and within a day in all.
_REPEATS_WITHIN, _COUNTS_FOR = timedelta(hours=1), timedelta(days=1)
# There is no moment before the first day.
_SECOND_DAY = datetime.min.replace(tzinfo=UTC) + _COUNTS_FOR
# Rows of refused strangers, a kind and an hour; beyond them one row counts for every address.
_MOST_STRANGERS = 100
# Providers give a subscriber no less than such a network of IPv6 (RFC 6177).
_SUBSCRIBER_BITS = 64
# Removed in one transaction: other writers wait meanwhile.
_REMOVED_AT_ONCE = 10_000


@dataclass(frozen=True)
class Actor:
    """Who acts: a signed-in person, a script at the shell, or the sync service.

    ``address`` is the network address that the act came from, empty at the shell. ``via`` is "web",
    "shell", "proxy", "api" or "sync"; ``person_id`` is None unless a signed-in person acts.
    """

    name: str
    address: str = ""
    via: str = "shell"
    person_id: int | None = None


def add_entry(
    session: Session,
    actor: Actor,
    what: EventKind,
    *,
    subject: str = "",
    subject_id: int | None = None,
    label: str = "",
    version: int | None = None,
    was: Mapping[str, Any] | None = None,
    became: Mapping[str, Any] | None = None,
) -> None:
    """Add the entry that ``actor`` did ``what`` to a subject.

    ``subject`` is its kind, such as "server", and ``subject_id`` the id of its row. ``label`` is
    its name for people. ``was`` and ``became`` map the changed fields to their old and new values;
    a secret is :data:`SECRET`. ``version`` is the subject's version after the change, by which
    :func:`changes_since` finds the entry. Names too long for their columns are cut. A repeat
    only raises the count of the row that is there.
    """
    row = Activity(
        at=clock.now(),
        person=actor.name[:NAME_LENGTH],
        address=actor.address[:ADDRESS_LENGTH],
        via=actor.via,
        what=what,
        subject=subject,
        subject_id=subject_id,
        label=label[:LABEL_LENGTH],
        version=version,
    )
    if was is not None:
        row.was = dict(was)
    if became is not None:
        row.became = dict(became)
    repeated = _find_repeated(session, row, actor.person_id is None)
    if repeated is None:
        session.add(row)
    else:
        # By the database: another request may count at the same time.
        repeated.count = Activity.count + 1
        repeated.last_at = row.at


def _find_repeated(session: Session, row: Activity, is_stranger: bool) -> Activity | None:
    """Return the row that ``row`` repeats; None if it is news."""
    if row.what in _HARMLESS:
        same = Activity.address == row.address, Activity.label == row.label
        return _newest_like(session, row, Activity.person == row.person, *same)
    if row.what not in _REFUSALS:
        return None
    if not is_stranger and row.what != EventKind.SIGN_IN_FAILED:
        return _newest_like(session, row, Activity.person == row.person)
    # A name that nobody has is whatever a stranger typed.
    who = () if is_stranger else (Activity.person == row.person,)
    repeated = _newest_like(session, row, *who, network=network_of(row.address))
    if repeated is not None or row.subject_id is not None or not _are_many(session, row):
        return repeated
    row.person, row.address, row.label = "" if is_stranger else row.person, MANY_ADDRESSES, ""
    many = Activity.address == row.address, Activity.person == row.person
    return _newest_like(session, row, *many)


def _newest_like(
    session: Session, row: Activity, *who: ColumnElement[bool], network: str | None = None
) -> Activity | None:
    """Return the newest row of lately of the same kind, subject and outcome, and of ``who``."""
    query = select(Activity).where(
        *(Activity.what == row.what, Activity.via == row.via, *who),
        Activity.at > row.at - _COUNTS_FOR,
        or_(Activity.at > row.at - _REPEATS_WITHIN, Activity.last_at > row.at - _REPEATS_WITHIN),
        Activity.subject == row.subject,
        Activity.subject_id.is_not_distinct_from(row.subject_id),
    )
    for found in session.scalars(query.order_by(Activity.id.desc()).limit(2 * _MOST_STRANGERS)):
        is_near = network is None or network_of(found.address) == network
        if is_near and found.became == row.became and found.at <= row.at:
            return found
    return None


def _are_many(session: Session, row: Activity) -> bool:
    """Say whether the last hour has so many rows of this kind that strangers share one."""
    rows = select(func.count()).where(
        Activity.what == row.what, Activity.at > row.at - _REPEATS_WITHIN
    )
    return (session.scalar(rows) or 0) >= _MOST_STRANGERS


def network_of(address: str) -> str:
    """Return the address by which attempts are counted: of IPv6 the /64, which one user has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:ADDRESS_LENGTH]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _SUBSCRIBER_BITS), strict=False))


def remove_old(session: Session, before: datetime, most: int) -> bool:
    """Remove rows from before ``before``, and the oldest of more than ``most``, with a row for it.

    Return whether there is more to remove.
    """
    last_kept = select(Activity.id).order_by(Activity.id.desc()).offset(most).limit(1)
    too_many = session.scalar(last_kept) or 0
    is_old = func.coalesce(Activity.last_at, Activity.at) < before
    query = select(Activity.id, Activity.at).where(or_(is_old, Activity.id <= too_many))
    rows = session.execute(query.order_by(Activity.id).limit(_REMOVED_AT_ONCE)).all()
    if not rows:
        return False
    last = rows[-1]
    add_entry(
        session,
        Actor("", via="sync"),
        EventKind.ACTIVITY_REMOVED,
        subject="activity",
        subject_id=last.id,
        became={"rows": len(rows), "until": f"{last.at:%Y-%m-%d}"},
    )
    session.flush()
    session.execute(
        delete(Activity).where(or_(is_old, Activity.id <= too_many), Activity.id <= last.id),
        execution_options={"synchronize_session": False},
    )
    return len(rows) == _REMOVED_AT_ONCE


def search(
    session: Session,
    *,
    person: str = "",
    what: str = "",
    begin: datetime | None = None,
    end: datetime | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> list[Activity]:
    """Return at most ``limit`` entries, the newest first, which fulfil every condition given.

    ``person`` is a name, ``what`` a kind. The entries are from ``begin`` (included) to ``end`` (not
    included). ``before_id`` is the id of the last entry of the previous page; after one that is
    gone there is nothing.
    """
    query = select(Activity).order_by(Activity.at.desc(), Activity.id.desc()).limit(limit)
    if person:
        query = query.where(Activity.person == person)
    if what:
        query = query.where(Activity.what == what)
    if begin is not None:
        # An index has ``at`` alone: no row counts for longer than this.
        query = query.where(Activity.at >= max(begin, _SECOND_DAY) - _COUNTS_FOR)
        query = query.where(or_(Activity.at >= begin, Activity.last_at >= begin))
    if end is not None:
        query = query.where(Activity.at < end)
    if before_id is not None:
        before = session.scalar(select(Activity.at).where(Activity.id == before_id))
        if before is None:
            return []
        query = query.where(tuple_(Activity.at, Activity.id) < (before, before_id))
    return list(session.scalars(query))


def changes_since(
    session: Session, subject: str, subject_id: int | None, version: int
) -> list[Difference]:
    """Return every change of a field of a subject after its ``version``, the oldest first.

    ``subject`` and ``subject_id`` are as in :func:`add_entry`; a subject there is one of has None.
    """
    query = (
        select(Activity)
        .where(Activity.subject == subject, Activity.version > version)
        .where(Activity.subject_id == subject_id)
        .order_by(Activity.version, Activity.id)
    )
    return [
        Difference(field, (row.was or {}).get(field), became, row.person, row.at)
        for row in session.scalars(query)
        for field, became in (row.became or {}).items()
    ]


def refuse_stale(
    session: Session, subject: str, subject_id: int | None, seen: int, present: int
) -> NoReturn:
    """Raise :class:`Conflict` with the changes since the form was opened.

    ``seen`` is the version that the form shows, ``present`` the version that is saved.
    """
    raise Conflict(changes_since(session, subject, subject_id, seen), present)


_PHRASES: Mapping[str, Message] = {
    EventKind.SIGNED_IN: say("signed in"),
    EventKind.SIGN_IN_FAILED: say("failed to sign in"),
    EventKind.SIGNED_OUT: say("signed out"),
    EventKind.SESSION_ENDED: say("ended a session"),
    EventKind.WRONG_PASSWORD: say("gave a wrong password"),
    EventKind.TRIES_FORGIVEN: say("let a person try again"),
    EventKind.CONNECTION_TESTED: say("tested the connection"),
    EventKind.UNLOCKED: say("unlocked the parameters"),
    EventKind.WRONG_CODE: say("gave a wrong authorisation code"),
    EventKind.LOCKED_NOW: say("locked the parameters"),
    EventKind.REFUSED_LOCKED: say("was refused: the parameters were locked"),
    EventKind.REFUSED_PERMISSION: say("was refused: no permission"),
    EventKind.REFUSED_TOO_MANY: say("was refused: too many wrong tries"),
    EventKind.CODE_SET: say("set the authorisation code"),
    EventKind.INTERVAL_CHANGED: say("changed the sync time interval"),
    EventKind.PARAMETERS_CHANGED: say("changed the parameters"),
    EventKind.PASSWORD_REMOVED: say("removed a password"),
    EventKind.URL_CLEARED: say("cleared a URL"),
    EventKind.SERVER_ADDED: say("added a server"),
    EventKind.SERVER_CHANGED: say("changed a server"),
    EventKind.SERVER_REMOVED: say("removed a server"),
    EventKind.SERVER_RESTORED: say("put a removed server back"),
    EventKind.HARDWARE_BOUND: say("was bound to a machine"),
    EventKind.HARDWARE_CLEARED: say("cleared a Hardware ID"),
    EventKind.SETUP_ISSUED: say("issued a set-up"),
    EventKind.SETUP_REVOKED: say("revoked a set-up"),
    EventKind.SETUP_USED: say("joined with a set-up"),
    EventKind.JOINED: say("joined this server to its primary with a set-up"),
    EventKind.PERSON_ADDED: say("added a person"),
    EventKind.PERSON_CHANGED: say("changed a person's permissions"),
    EventKind.PERSON_DISABLED: say("disabled a person"),
    EventKind.PERSON_ENABLED: say("enabled a person"),
    EventKind.PASSWORD_SET: say("set a person's password"),
    EventKind.IMPORTED: say("imported preferences"),
    EventKind.EXPORTED_SECRETS: say("exported preferences with secrets"),
    EventKind.TOKEN_ADDED: say("added an application's token"),
    EventKind.TOKEN_REVOKED: say("revoked an application's token"),
    EventKind.STATUS_ADDRESS_MADE: say("made an address of the status line"),
    EventKind.STATUS_ADDRESS_REVOKED: say("revoked the address of the status line"),
    EventKind.SYNC_ASKED: say("asked to sync now"),
    EventKind.SYNC_STOPPED: say("stopped a sync"),
    EventKind.INITIALISE_ASKED: say("asked to initialise"),
    EventKind.BACKUP_RESTORED: say("said that a backup was restored"),
    EventKind.RESTORE_FOUND: say("found that a backup was restored here"),
    EventKind.COPY_FOUND: say("found that it was restored from a backup, or copied"),
    EventKind.SYNC_REFUSED: say("was refused a sync"),
    EventKind.SET_ASIDE_RETRIED: say("tried a record set aside again"),
    EventKind.SET_ASIDE_LEFT_OUT: say("left out a record set aside"),
    EventKind.RECORDS_ARCHIVED: say("archived records"),
    EventKind.RECORDS_GIVEN_BACK: say("gave archived records back"),
    EventKind.ACTIVITY_REMOVED: say("removed by age: rows of Activity"),
}


def describe(what: str) -> Message:
    """Return the words for the kind ``what`` that follow a name, as in "asha *signed in*".

    A kind that only another version of the panel knows is returned as it is.
    """
    return _PHRASES.get(what, Message(what))
