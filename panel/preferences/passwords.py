"""Hashes of secrets that are only checked: people's passwords, the code, a primary's pairs."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

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
