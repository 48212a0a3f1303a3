"""The lease that lets one process run at a time; its holder renews it during a run.

A holder that died is replaced when its lease ends, or at once if it was a process of this machine.
A holder that was only slow notices that before it stores anything more.
"""

import logging
import os
import secrets
import socket
import threading
from datetime import timedelta

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from panel import clock
from panel.db import Database
from panel.models.runs import Loop

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=45)
# How far the clocks of two machines with one database may differ.
_SKEW = LEASE
_RENEW_SECONDS = 10.0
_HOST = socket.gethostname()[:30]


class LeaseLost(Exception):
    """Another process has the lease now, or this one was told to stop."""


def is_free(loop: Loop) -> bool:
    """Say whether the lease can be acquired: it is free, it ended, or its holder died."""
    if loop.holder is None or loop.held_until is None:
        return True
    left = loop.held_until - clock.now()
    # One that ends later than any lease was acquired before the clock was set back.
    return not timedelta(0) < left <= LEASE + _SKEW or _has_died(loop.holder)


class Lease:
    """The lease as one holder has it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = f"{_HOST}:{os.getpid()}:{secrets.token_hex(4)}"
        self._ended = threading.Event()

    def acquire(self, session: Session) -> bool:
        """Acquire the lease in the transaction of ``session`` if it is free; say whether it was."""
        loop = session.get_one(Loop, 1, with_for_update=True, populate_existing=True)
        if loop.holder != self._holder and not is_free(loop):
            return False
        loop.holder, loop.held_until = self._holder, clock.now() + LEASE
        return True

    def guard(self, session: Session) -> None:
        """Renew the lease in the transaction of ``session``. Raise :class:`LeaseLost`."""
        held = update(Loop).where(Loop.holder == self._holder)
        values = held.values(held_until=clock.now() + LEASE).returning(Loop.id)
        renewed = session.scalars(values).all()
        if self._ended.is_set() or not renewed:
            raise LeaseLost

    def stop(self) -> None:
        """Make :meth:`guard` raise from now on, so that the run stores nothing more."""
        self._ended.set()

    def release(self) -> None:
        """Release the lease for the next holder."""
        with self._database.writing() as session:
            held = update(Loop).where(Loop.holder == self._holder)
            session.execute(held.values(holder=None, held_until=None))

    def keep_renewing(self, until: threading.Event) -> None:
        """Renew the lease until the event is set: a batch may take longer than a lease lasts."""
        while not until.wait(_RENEW_SECONDS):
            try:
                with self._database.writing() as session:
                    self.guard(session)
            except LeaseLost:
                return
            except SQLAlchemyError as error:
                # The lease lasts for several renewals: the next one is soon enough.
                log.warning("The lease of the sync could not be renewed: %s", error)


def _has_died(holder: str) -> bool:
    host, _, rest = holder.partition(":")
    number = rest.partition(":")[0]
    # On Windows os.kill with signal 0 would end the process.
    if os.name != "posix" or host != _HOST or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
