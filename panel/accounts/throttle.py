"""The throttle of failed attempts at passwords, the code, satellites' pairs and set-ups.

Failures are counted in the database, so the throttle holds across processes and restarts (OWASP
ASVS 5.0, 6.3.1). It slows guessing down and locks nobody out: where a person or a satellite has
succeeded before, from the same address or browser, only its own failures from there count.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.log import Actor, EventKind, network_of
from panel.errors import Throttled
from panel.i18n import Message, say
from panel.models.base import NAME_LENGTH, searchable
from panel.models.people import Activity, FailureCount, KnownSource

# The time after which all free failures are available again; they come back evenly.
RECOVERY_TIME = timedelta(hours=1)
# The first failure beyond the free ones causes the first wait. Each further one doubles the wait,
# up to the longest.
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)
# Of the refusals of one source, one is logged within this time.
LOGGED_EVERY = timedelta(minutes=15)
# How many counts are kept for each purpose; the oldest are deleted first.
MOST_COUNTS = 10_000
# How many sources are remembered for one name, and for how long after their last use.
MOST_SOURCES_OF_NAME, SOURCE_KEPT_FOR = 3_000, timedelta(days=180)
_SOURCE_REFRESHED_AFTER = timedelta(days=1)


class Purpose(StrEnum):
    """The secret that an attempt gives: a password, the authorisation code, a pair, a set-up."""

    SIGN_IN = "sign_in"
    CODE = "code"
    PAIR = "pair"
    SETUP = "setup"


class Scope(StrEnum):
    """Which failures are counted together."""

    # Those of one name from one known source; of a satellite's name, those from one address.
    SOURCE = "source"
    # Those of one name from all sources that are not known for it.
    NAME = "name"
    # Those from one address, whatever the name.
    ADDRESS = "address"
    # Those of all names from sources that are not known.
    ALL = "all"


# How many failures cause no wait. Many people or satellites may share an address, so it has more. A
# satellite repeats its pair by itself: it reaches its own limit before the limit of its address, so
# one site with a wrong pair does not block the others there.
FREE_FAILURES = {
    (Purpose.SIGN_IN, Scope.SOURCE): 5,
    (Purpose.SIGN_IN, Scope.NAME): 5,
    (Purpose.SIGN_IN, Scope.ADDRESS): 20,
    (Purpose.CODE, Scope.SOURCE): 5,
    (Purpose.CODE, Scope.NAME): 5,
    (Purpose.CODE, Scope.ALL): 20,
    (Purpose.PAIR, Scope.SOURCE): 10,
    (Purpose.PAIR, Scope.ADDRESS): 20,
    (Purpose.SETUP, Scope.ADDRESS): 20,
}
# The counts that matter for an attempt from a source that is not known for its name.
_SCOPES_OF_UNKNOWN = {
    Purpose.SIGN_IN: (Scope.NAME, Scope.ADDRESS),
    Purpose.CODE: (Scope.NAME, Scope.ALL),
    Purpose.PAIR: (Scope.SOURCE, Scope.ADDRESS),
    Purpose.SETUP: (Scope.ADDRESS,),
}


@dataclass(frozen=True)
class Attempt:
    """An attempt to give a secret under ``name`` from ``address``.

    ``browser`` is a hash that identifies the browser, or the satellite's machine, among others at
    the same address; it is empty if nothing identifies it.
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
        """Return the sources of the attempt: the browser, which says more, before the address."""
        return [source for source in (self.browser, network_of(self.address)) if source]


@dataclass(frozen=True)
class _Counter:
    """The key of a count, within a purpose."""

    scope: Scope
    name: str
    source: str


def throttled_until(session: Session, attempt: Attempt) -> datetime | None:
    """Return the moment (UTC) until which ``attempt`` is refused; None if it is not refused."""
    now = clock.now()
    counts = _read_counts(session, attempt.purpose, _counters(session, attempt))
    ends = (_end_of_wait(row, FREE_FAILURES[attempt.purpose, Scope(row.scope)]) for row in counts)
    # A wait that is longer than the longest comes from a clock that was set back since.
    return max((end for end in ends if now < end <= now + LONGEST_WAIT), default=None)


def throttle_refusal(session: Session, attempt: Attempt, actor: Actor) -> Throttled | None:
    """Return the refusal of an ``attempt`` by ``actor`` after too many failures, else None.

    A refusal is logged. The caller holds the lock on the authorisation code's row, so that attempts
    at the same time are counted one by one.
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
    """Count a failed attempt; return how many more may fail before the next wait."""
    counters = _counters(session, attempt)
    rows = {_counter_of(row): row for row in _read_counts(session, attempt.purpose, counters)}
    left = [_raise_count(session, attempt, one, rows.get(one)) for one in counters]
    return min(left, default=0)


def remember_source(session: Session, attempt: Attempt) -> None:
    """Remember that the name of ``attempt`` succeeded from its sources."""
    now = clock.now()
    for source in attempt.sources:
        known = session.get(KnownSource, (attempt.purpose, attempt.key, source))
        if known is None:
            _make_room_for_source(session, attempt)
            known = KnownSource(purpose=attempt.purpose, name=attempt.key, source=source)
            session.add(known)
        known.last_at = now


def is_source_outdated(session: Session, attempt: Attempt) -> bool:
    """Say whether :func:`remember_source` has anything to write.

    It has if a source of ``attempt`` is new, or was last used more than a day ago.
    """
    fresh = select(func.count()).where(
        *_is_source_of(attempt), KnownSource.last_at > clock.now() - _SOURCE_REFRESHED_AFTER
    )
    return (session.scalar(fresh) or 0) < len(attempt.sources)


def forgive(session: Session, name: str) -> None:
    """Forget every failure that could keep the person ``name`` from trying again.

    Those that are counted by address or for all names are among them.
    """
    of_people = FailureCount.purpose.in_((Purpose.SIGN_IN, Purpose.CODE))
    of_name = FailureCount.name.in_((searchable(name)[:NAME_LENGTH], ""))
    session.execute(delete(FailureCount).where(of_people, of_name))


def _counters(session: Session, attempt: Attempt) -> list[_Counter]:
    """Return the keys of the counts that matter for ``attempt``."""
    if known := _known_source(session, attempt):
        return [_Counter(Scope.SOURCE, attempt.key, known)]
    address = network_of(attempt.address)
    counters = {
        Scope.SOURCE: _Counter(Scope.SOURCE, attempt.key, address),
        Scope.NAME: _Counter(Scope.NAME, attempt.key, ""),
        Scope.ADDRESS: _Counter(Scope.ADDRESS, "", address),
        Scope.ALL: _Counter(Scope.ALL, "", ""),
    }
    # The shell has no address. A satellite's name that is in no row comes as an empty one.
    missing = {Scope.ADDRESS: not address, Scope.SOURCE: not attempt.key}
    return [
        counters[scope] for scope in _SCOPES_OF_UNKNOWN[attempt.purpose] if not missing.get(scope)
    ]


def _known_source(session: Session, attempt: Attempt) -> str:
    """Return the first of the sources of ``attempt`` that is known for its name; "" if none is."""
    known = set(session.scalars(select(KnownSource.source).where(*_is_source_of(attempt))))
    return next((source for source in attempt.sources if source in known), "")


def _is_source_of(attempt: Attempt) -> tuple[Any, ...]:
    return (
        KnownSource.purpose == attempt.purpose,
        KnownSource.name == attempt.key,
        KnownSource.source.in_(attempt.sources),
    )


def _read_counts(
    session: Session, purpose: Purpose, counters: list[_Counter]
) -> list[FailureCount]:
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


def _counter_of(row: FailureCount) -> _Counter:
    return _Counter(Scope(row.scope), row.name, row.source)


def _level_now(row: FailureCount, free: int) -> float:
    regained = (clock.now() - row.last_at) / RECOVERY_TIME * free
    # A moment in the future comes from a clock that was set back since.
    return max(0.0, row.level - max(0.0, regained))


def _end_of_wait(row: FailureCount, free: int) -> datetime:
    # Rounded, because five failures within some seconds have a level a little below five.
    doublings = round(row.level) - free
    if doublings < 0:
        return row.last_at
    # Checked first, because a power of two for a large level would be an enormous number.
    if doublings > (LONGEST_WAIT // FIRST_WAIT).bit_length():
        return row.last_at + LONGEST_WAIT
    wait: timedelta = FIRST_WAIT * 2**doublings
    return row.last_at + min(wait, LONGEST_WAIT)


def _raise_count(
    session: Session, attempt: Attempt, counter: _Counter, row: FailureCount | None
) -> int:
    free = FREE_FAILURES[attempt.purpose, counter.scope]
    if row is None:
        _make_room_for_count(session, attempt.purpose)
        row = FailureCount(purpose=attempt.purpose, level=0.0, last_at=clock.now())
        row.scope, row.name, row.source = counter.scope, counter.name, counter.source
        session.add(row)
    row.level, row.last_at = _level_now(row, free) + 1, clock.now()
    return max(0, free - round(row.level))


def _make_room_for_count(session: Session, purpose: Purpose) -> None:
    """Delete the counts that have no effect any more, and the oldest if there are too many."""
    of_purpose = FailureCount.purpose == purpose
    # After so long every failure is forgiven.
    session.execute(
        delete(FailureCount).where(
            of_purpose, FailureCount.last_at < clock.now() - 8 * RECOVERY_TIME
        )
    )
    count = session.scalar(select(func.count()).select_from(FailureCount).where(of_purpose)) or 0
    if count >= MOST_COUNTS:
        oldest = select(func.min(FailureCount.last_at)).where(of_purpose).scalar_subquery()
        session.execute(delete(FailureCount).where(of_purpose, FailureCount.last_at == oldest))


def _make_room_for_source(session: Session, attempt: Attempt) -> None:
    of_name = (KnownSource.purpose == attempt.purpose, KnownSource.name == attempt.key)
    session.execute(delete(KnownSource).where(KnownSource.last_at < clock.now() - SOURCE_KEPT_FOR))
    count = session.scalar(select(func.count()).select_from(KnownSource).where(*of_name)) or 0
    if count >= MOST_SOURCES_OF_NAME:
        oldest = select(func.min(KnownSource.last_at)).where(*of_name).scalar_subquery()
        session.execute(delete(KnownSource).where(*of_name, KnownSource.last_at == oldest))


def _has_recent_refusal(session: Session, actor: Actor) -> bool:
    """Say whether a refusal of ``actor`` was logged recently, so that one more entry is useless."""
    rows = select(Activity.id).where(Activity.what == EventKind.REFUSED_TOO_MANY)
    rows = rows.where(Activity.at > clock.now() - LOGGED_EVERY, Activity.address == actor.address)
    if actor.person_id is not None:
        rows = rows.where(Activity.person == actor.name)
    return session.scalar(rows.limit(1)) is not None
