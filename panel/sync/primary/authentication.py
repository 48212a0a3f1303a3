"""The authentication of callers by the ``Authorization`` header (PROTOCOL.md, *Who calls*)."""

import base64
import binascii
import hashlib
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import clock
from panel.models.base import HIGHEST_SYNC_ID, NAME_LENGTH, searchable
from panel.models.settings import Server, Settings
from panel.security.hashes import equal_in_constant_time, hash_token, verify_secret
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import Pair

# Wrong pairs of one address within the window. More than the five of people, since many satellites
# may share an address.
MOST_WRONG, WINDOW = 20, timedelta(minutes=15)
_MOST_ADDRESSES, _MOST_KNOWN = 10_000, 2_000
_SYNC_ID_DIGITS = len(str(HIGHEST_SYNC_ID))


@dataclass(frozen=True)
class DeviceToken:
    """A token ``SYNC_ID.SECRET`` that the primary issued to one device."""

    sync_id: int
    token: str


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
        except (binascii.Error, UnicodeError):
            pass
    raise SyncRefusal("site_name_not_found")


def find_device(session: Session, device: DeviceToken) -> Server:
    """Return the row with this token. Raise SyncRefusal (device_token_ended) if there is none."""
    server = find_server(session, device.sync_id)
    if server is None or server.device_token_hash is None:
        raise SyncRefusal("device_token_ended")
    if not equal_in_constant_time(server.device_token_hash, hash_token(device.token)):
        raise SyncRefusal("device_token_ended")
    return server


def find_server(session: Session, sync_id: int) -> Server | None:
    """Return the row with this Sync ID that is not removed, None if there is none."""
    query = select(Server).where(Server.sync_id == sync_id, Server.removed_at.is_(None))
    return session.scalar(query)


class _WrongPairs:
    """The moments of the last wrong pairs, by address or by user name."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, deque[datetime]] = OrderedDict()

    def count(self, key: str) -> None:
        self._wrong.setdefault(key, deque(maxlen=MOST_WRONG)).append(clock.now())
        self._wrong.move_to_end(key)
        _trim(self._wrong, _MOST_ADDRESSES)

    def seconds_blocked(self, key: str) -> int:
        """Return for how many more seconds pairs are refused; 0 if they are not."""
        now, wrong = clock.now(), self._wrong.get(key)
        if wrong and len(wrong) == MOST_WRONG and now - wrong[0] < WINDOW:
            return int((wrong[0] + WINDOW - now).total_seconds()) + 1
        return 0


class Authenticator:
    """Checks pairs, and blocks an address with too many wrong ones (PROTOCOL.md, *Who calls*).

    There is one for each process. A right pair is remembered as a digest, since v5 sends it with
    every request and argon2 is slow. It is accepted from a blocked address too, so that one wrong
    site does not shut out the others behind its address. That does not help to guess a password:
    wrong pairs from a blocked address block their user name too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_address, self._by_name = _WrongPairs(), _WrongPairs()
        self._right: OrderedDict[str, None] = OrderedDict()

    def check_pair(self, session: Session, pair: Pair, address: str) -> Server | None:
        """Return the row whose own pair this is; None for the shared pair.

        Raise SyncRefusal: too_many_tries, site_name_not_found, site_incorrect_password.
        """
        owner, password_hash = _find_pair(session, pair.user_name)
        digest = hashlib.sha256(f"{password_hash} {pair.wire_password}".encode()).hexdigest()
        name = f"{address} {searchable(pair.user_name)[:NAME_LENGTH]}"
        with self._lock:
            if password_hash and digest in self._right and not self._by_name.seconds_blocked(name):
                return owner
            if seconds := self._by_address.seconds_blocked(address):
                if password_hash:
                    # Unknown names are not counted: they would evict the real ones.
                    self._by_name.count(name)
                raise SyncRefusal("too_many_tries", seconds=seconds)
        if password_hash is None or not verify_secret(password_hash, pair.wire_password):
            with self._lock:
                self._by_address.count(address)
                self._by_name.count(name)
            code = "site_name_not_found" if password_hash is None else "site_incorrect_password"
            raise SyncRefusal(code)
        with self._lock:
            self._right[digest] = None
            _trim(self._right, _MOST_KNOWN)
        return owner


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


def _trim(kept: OrderedDict[str, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
