"""The throttle of failed attempts at passwords, the authorisation code and satellites' pairs.

Failures are counted in the database, so the throttle holds across processes and restarts (OWASP
ASVS 5.0, 6.3.1). It slows guessing down and shuts nobody out: from an address or a browser where a
name proved itself before, only that name's own failures from there count.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import Throttled
from panel.i18n import Message, say
from panel.models.base import ADDRESS_LENGTH, NAME_LENGTH, searchable
from panel.models.people import Activity, FailureCount, KnownSource

# So many failures count nothing, and come back within this time, one after the other.
REGAINED_IN = timedelta(hours=1)
# Each one more doubles the wait until the next attempt, from the first to the longest.
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)
# One refusal of a source is logged in this time.
LOGGED_EVERY = timedelta(minutes=15)
# Network bits of an IPv6 address that one subscriber has.
_SUBSCRIBER_BITS = 64
# Counts of each purpose; the oldest are deleted first.
MOST_COUNTS = 10_000
# Sources of one name, and how long one is remembered after its last use.
MOST_SOURCES_OF_NAME, SOURCE_KEPT = 3_000, timedelta(days=180)
_SOURCE_REFRESHED = timedelta(days=1)


class Purpose(StrEnum):
    """What an attempt is at."""

    SIGN_IN = "sign_in"
    CODE = "code"
    PAIR = "pair"


class Scope(StrEnum):
    """What failures are counted by."""

    # Of a name from one source that is known, or of a satellite's from one address.
    SOURCE = "source"
    # Of a name, from all sources that are not known.
    NAME = "name"
    # From one address, whatever the name.
    ADDRESS = "address"
    # Of all names from sources that are not known.
    ALL = "all"


# How many failures are free. An address may be that of many people or satellites; a satellite
# repeats its pair by itself, so that one wrong site stays below the limit of its address.
FREE = {
    (Purpose.SIGN_IN, Scope.SOURCE): 5,
    (Purpose.SIGN_IN, Scope.NAME): 5,
    (Purpose.SIGN_IN, Scope.ADDRESS): 20,
    (Purpose.CODE, Scope.SOURCE): 5,
    (Purpose.CODE, Scope.NAME): 5,
    (Purpose.CODE, Scope.ALL): 20,
    (Purpose.PAIR, Scope.SOURCE): 10,
    (Purpose.PAIR, Scope.ADDRESS): 20,
}
# Those that count for an attempt from a source that is not known.
_OF_UNKNOWN = {
    Purpose.SIGN_IN: (Scope.NAME, Scope.ADDRESS),
    Purpose.CODE: (Scope.NAME, Scope.ALL),
    Purpose.PAIR: (Scope.SOURCE, Scope.ADDRESS),
}


@dataclass(frozen=True)
class Attempt:
    """An attempt under ``name`` from ``address``.

    ``browser`` is the hash of what tells the browser, or the satellite's machine, from others at
    the same address; empty where nothing does.
    """

    purpose: Purpose
    name: str
    address: str
    browser: str = ""

    @property
    def key(self) -> str:
        """Return the name as it is counted: folded in case and cut to its column."""
        return searchable(self.name)[:NAME_LENGTH]

    @property
    def sources(self) -> list[str]:
        """Return what the name may be known from, the most telling first."""
        return [source for source in (self.browser, network_of(self.address)) if source]


@dataclass(frozen=True)
class _Counter:
    scope: Scope
    name: str
    source: str


def network_of(address: str) -> str:
    """Return the address by which failures are counted: of IPv6 the /64, which one user has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:ADDRESS_LENGTH]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _SUBSCRIBER_BITS), strict=False))


def throttled_until(session: Session, attempt: Attempt) -> datetime | None:
    """Return until when ``attempt`` is refused; None if it is not."""
    now = clock.now()
    counts = _read(session, attempt.purpose, _counters(session, attempt))
    ends = (_end_of_wait(row, FREE[attempt.purpose, Scope(row.scope)]) for row in counts)
    # A wait that is longer than the longest comes from a clock that was set back since.
    return max((end for end in ends if now < end <= now + LONGEST_WAIT), default=None)


def throttle_refusal(session: Session, attempt: Attempt, actor: Actor) -> Throttled | None:
    """Return and log the refusal of an attempt by ``actor`` after too many failures, else None.

    The caller holds the lock on the authorisation code's row, so that attempts at the same time are
    counted one by one.
    """
    until = throttled_until(session, attempt)
    if until is None:
        return None
    if not _has_recent_refusal(session, actor):
        log.add_entry(session, actor, EventKind.REFUSED_TOO_MANY)
    return Throttled(say("Too many wrong tries. %(wait)s", wait=wait_words(until)), until)


def wait_words(until: datetime) -> Message:
    """Return the sentence that says in how many minutes to try again."""
    minutes = -(-(until - clock.now()) // timedelta(minutes=1))
    if minutes <= 1:
        return say("Try again in one minute.")
    return say("Try again in %(minutes)s minutes.", minutes=minutes)


def count_failure(session: Session, attempt: Attempt) -> int:
    """Count a failed attempt; return how many more are free before the next wait."""
    counters = _counters(session, attempt)
    rows = {_key_of(row): row for row in _read(session, attempt.purpose, counters)}
    left = [_raise_count(session, attempt, one, rows.get(one)) for one in counters]
    return min(left, default=0)


def remember_source(session: Session, attempt: Attempt) -> None:
    """Remember that the name proved itself from the sources of ``attempt``."""
    now = clock.now()
    for source in attempt.sources:
        known = session.get(KnownSource, (attempt.purpose, attempt.key, source))
        if known is None:
            _make_room_for_source(session, attempt)
            known = KnownSource(purpose=attempt.purpose, name=attempt.key, source=source)
            session.add(known)
        known.last_at = now


def is_source_outdated(session: Session, attempt: Attempt) -> bool:
    """Say whether :func:`remember_source` has something to write: it is not known, or for long."""
    fresh = select(func.count()).where(
        *_is_source_of(attempt), KnownSource.last_at > clock.now() - _SOURCE_REFRESHED
    )
    return (session.scalar(fresh) or 0) < len(attempt.sources)


def forgive(session: Session, name: str) -> None:
    """Forget every failure that could keep the person ``name`` from trying again."""
    of_people = FailureCount.purpose.in_((Purpose.SIGN_IN, Purpose.CODE))
    of_name = FailureCount.name.in_((searchable(name)[:NAME_LENGTH], ""))
    session.execute(delete(FailureCount).where(of_people, of_name))


def _counters(session: Session, attempt: Attempt) -> list[_Counter]:
    """Return what counts for ``attempt``."""
    if known := _known_source(session, attempt):
        return [_Counter(Scope.SOURCE, attempt.key, known)]
    address = network_of(attempt.address)
    counters = {
        Scope.SOURCE: _Counter(Scope.SOURCE, attempt.key, address),
        Scope.NAME: _Counter(Scope.NAME, attempt.key, ""),
        Scope.ADDRESS: _Counter(Scope.ADDRESS, "", address),
        Scope.ALL: _Counter(Scope.ALL, "", ""),
    }
    # At the shell there is no address, and a satellite's name that nobody has is none.
    missing = {Scope.ADDRESS: not address, Scope.SOURCE: not attempt.key}
    return [counters[scope] for scope in _OF_UNKNOWN[attempt.purpose] if not missing.get(scope)]


def _known_source(session: Session, attempt: Attempt) -> str:
    """Return the most telling source that the name is known from, "" if there is none."""
    known = set(session.scalars(select(KnownSource.source).where(*_is_source_of(attempt))))
    return next((source for source in attempt.sources if source in known), "")


def _is_source_of(attempt: Attempt) -> tuple[Any, ...]:
    return (
        KnownSource.purpose == attempt.purpose,
        KnownSource.name == attempt.key,
        KnownSource.source.in_(attempt.sources),
    )


def _read(session: Session, purpose: Purpose, counters: list[_Counter]) -> list[FailureCount]:
    wanted = or_(
        *(
            and_(
                FailureCount.scope == one.scope,
                FailureCount.name == one.name,
                FailureCount.source == one.source,
            )
            for one in counters
        )
    )
    return list(
        session.scalars(select(FailureCount).where(FailureCount.purpose == purpose, wanted))
    )


def _key_of(row: FailureCount) -> _Counter:
    return _Counter(Scope(row.scope), row.name, row.source)


def _level_now(row: FailureCount, free: int) -> float:
    regained = (clock.now() - row.last_at) / REGAINED_IN * free
    # A moment in the future comes from a clock that was set back since.
    return max(0.0, row.level - max(0.0, regained))


def _end_of_wait(row: FailureCount, free: int) -> datetime:
    # A small remainder of a failure is none: five within some seconds are five.
    doublings = round(row.level) - free
    if doublings < 0:
        return row.last_at
    # Compared first, so that a large level makes no number without end.
    if doublings > (LONGEST_WAIT // FIRST_WAIT).bit_length():
        return row.last_at + LONGEST_WAIT
    wait: timedelta = FIRST_WAIT * 2**doublings
    return row.last_at + min(wait, LONGEST_WAIT)


def _raise_count(
    session: Session, attempt: Attempt, counter: _Counter, row: FailureCount | None
) -> int:
    free = FREE[attempt.purpose, counter.scope]
    if row is None:
        _make_room(session, attempt.purpose)
        row = FailureCount(purpose=attempt.purpose, level=0.0, last_at=clock.now())
        row.scope, row.name, row.source = counter.scope, counter.name, counter.source
        session.add(row)
    row.level, row.last_at = _level_now(row, free) + 1, clock.now()
    return max(0, free - round(row.level))


def _make_room(session: Session, purpose: Purpose) -> None:
    """Delete what counts no more, and the oldest where there are too many."""
    of_purpose = FailureCount.purpose == purpose
    # By then every failure was regained.
    session.execute(
        delete(FailureCount).where(of_purpose, FailureCount.last_at < clock.now() - 8 * REGAINED_IN)
    )
    count = session.scalar(select(func.count()).select_from(FailureCount).where(of_purpose)) or 0
    if count >= MOST_COUNTS:
        oldest = select(func.min(FailureCount.last_at)).where(of_purpose).scalar_subquery()
        session.execute(delete(FailureCount).where(of_purpose, FailureCount.last_at == oldest))


def _make_room_for_source(session: Session, attempt: Attempt) -> None:
    of_name = (KnownSource.purpose == attempt.purpose, KnownSource.name == attempt.key)
    session.execute(delete(KnownSource).where(KnownSource.last_at < clock.now() - SOURCE_KEPT))
    count = session.scalar(select(func.count()).select_from(KnownSource).where(*of_name)) or 0
    if count >= MOST_SOURCES_OF_NAME:
        oldest = select(func.min(KnownSource.last_at)).where(*of_name).scalar_subquery()
        session.execute(delete(KnownSource).where(*of_name, KnownSource.last_at == oldest))


def _has_recent_refusal(session: Session, actor: Actor) -> bool:
    """Say whether a refusal of this source is logged already: one entry a while is enough."""
    rows = select(Activity.id).where(Activity.what == EventKind.REFUSED_TOO_MANY)
    rows = rows.where(Activity.at > clock.now() - LOGGED_EVERY, Activity.address == actor.address)
    if actor.person_id is not None:
        rows = rows.where(Activity.person == actor.name)
    return session.scalar(rows.limit(1)) is not None
