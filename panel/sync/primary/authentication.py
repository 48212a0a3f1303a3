"""The authentication of callers by the ``Authorization`` header (PROTOCOL.md, *Who calls*)."""

import base64
import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import clock
from panel.accounts.throttle import (
    Attempt,
    Purpose,
    count_failure,
    is_source_outdated,
    remember_source,
    throttled_until,
)
from panel.db import Database
from panel.models.base import HIGHEST_SYNC_ID, searchable
from panel.models.people import lock_code
from panel.models.settings import Server, Settings
from panel.security.hashes import equal_in_constant_time, hash_token, verify_secret
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import Pair

_MOST_KNOWN = 2_000
_SYNC_ID_DIGITS = len(str(HIGHEST_SYNC_ID))


@dataclass(frozen=True)
class DeviceToken:
    """A token ``SYNC_ID.SECRET`` that the primary issued to one device."""

    sync_id: int
    token: str

    def is_of(self, token_hash: str | None) -> bool:
        """Say whether this is the token that has this hash; None for no token."""
        return token_hash is not None and equal_in_constant_time(token_hash, hash_token(self.token))


def read_authorization(header: str) -> Pair | DeviceToken:
    """Return the pair (Basic, RFC 7617) or the token (Bearer, RFC 6750) of a header.

    Raise SyncRefusal if there is neither in it.
    """
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        sync_id, _, secret = value.partition(".")
        is_number = sync_id.isascii() and sync_id.isdigit() and len(sync_id) <= _SYNC_ID_DIGITS
        if is_number and secret:
            return DeviceToken(int(sync_id), value)
        raise SyncRefusal("device_token_ended")
    if scheme.lower() == "basic":
        try:
            user_name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
            return Pair(user_name, password)
        except ValueError:
            # Not Base64, which may have characters beyond ASCII, or not UTF-8.
            pass
    raise SyncRefusal("site_name_not_found")


class Authenticator:
    """Checks pairs, and slows guessing down (PROTOCOL.md, *Who calls*).

    Failures are counted in the database. A right pair is remembered in this process as a digest,
    since v5 sends it with every request and argon2 is slow.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._right: OrderedDict[str, None] = OrderedDict()

    def check_pair(
        self, database: Database, pair: Pair, address: str, device: str = ""
    ) -> Server | None:
        """Return the row whose own pair this is; None for the shared pair.

        ``device`` is the Hardware ID that came with it, if any: beside the ``address`` it tells a
        site that was right before from one that guesses. Raise SyncRefusal: too_many_tries,
        site_name_not_found, site_incorrect_password.
        """
        with database.reading() as session:
            owner, password_hash = _find_pair(session, pair.user_name)
            # Names that nobody has are not counted: they would make room for more guesses.
            name = pair.user_name if password_hash else ""
            attempt = Attempt(Purpose.PAIR, name, address, hash_token(device) if device else "")
            refuse_throttled(session, attempt)
            is_news = bool(password_hash) and is_source_outdated(session, attempt)
        if password_hash is None or not self._is_right(password_hash, pair.wire_password):
            count_wrong(database, attempt)
            code = "site_name_not_found" if password_hash is None else "site_incorrect_password"
            raise SyncRefusal(code)
        if is_news:
            with database.writing() as session:
                lock_code(session)
                # Of many guesses at the same time others were counted since.
                refuse_throttled(session, attempt)
                remember_source(session, attempt)
        return owner

    def _is_right(self, password_hash: str, wire_password: str) -> bool:
        digest = hashlib.sha256(f"{password_hash} {wire_password}".encode()).hexdigest()
        with self._lock:
            if digest in self._right:
                return True
        if not verify_secret(password_hash, wire_password):
            return False
        with self._lock:
            self._right[digest] = None
            while len(self._right) > _MOST_KNOWN:
                self._right.popitem(last=False)
        return True


def refuse_throttled(session: Session, attempt: Attempt) -> None:
    """Raise SyncRefusal (too_many_tries) after too many failures."""
    until = throttled_until(session, attempt)
    if until is not None:
        seconds = int((until - clock.now()).total_seconds()) + 1
        raise SyncRefusal("too_many_tries", seconds=seconds)


def count_wrong(database: Database, attempt: Attempt) -> None:
    """Count a failed attempt. Raise SyncRefusal as :func:`refuse_throttled` does."""
    with database.writing() as session:
        # Locked, so that wrong ones at the same time are counted one by one.
        lock_code(session)
        refuse_throttled(session, attempt)
        count_failure(session, attempt)


def _find_pair(session: Session, user_name: str) -> tuple[Server | None, str | None]:
    """Return the row with this own user name, None for the shared one, and the password hash."""
    key = searchable(user_name)
    query = select(Server).where(Server.user_name_key == key, Server.removed_at.is_(None))
    server = (
        session.scalar(query.where(Server.password_hash.is_not(None)).limit(1)) if key else None
    )
    if server is not None:
        return server, server.password_hash
    settings = session.get_one(Settings, 1)
    if key and searchable(settings.user_name) == key:
        return None, settings.password_hash
    return None, None
