"""Hashes of secrets that are only checked: people's passwords, the code, a primary's pairs."""

import hashlib
import hmac
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

if TYPE_CHECKING:
    pass

# OWASP's Password Storage Cheat Sheet: argon2id, 19 MiB, two passes, one lane. RFC 9106's own
# choice takes 64 MiB a check, which a small site's machine does not have to spare.
_hasher = PasswordHasher(
    time_cost=2,
    memory_cost=19 * 1024,
    parallelism=1,
)


def hash_secret(secret: str) -> str:
    """Return the argon2id hash of ``secret``, with its parameters and salt in it."""
    return _hasher.hash(secret)


def verify_secret(secret_hash: str, secret: str) -> bool:
    """Say whether ``secret`` is the one that was hashed. Takes as long for a wrong one."""
    try:
        return _hasher.verify(secret_hash, secret)
    except (VerificationError, InvalidHashError, UnicodeError):
        return False


class TypedSecret:
    """A secret that somebody typed, and the hashes that it was compared with already.

    Comparing is slow on purpose: it is done once before a lock is taken, and what came of it counts
    under the lock. If there is another hash by then, that one is compared with too.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._known: dict[str, bool] = {}

    def matches(self, secret_hash: str) -> bool:
        """Say whether it is the secret that was hashed."""
        if secret_hash not in self._known:
            self._known[secret_hash] = verify_secret(secret_hash, self._secret)
        return self._known[secret_hash]


def hash_token(token: str) -> str:
    """Return the form in which a random token (256 bits) is stored: SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def equal_in_constant_time(one: str, other: str) -> bool:
    """Compare two texts in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
