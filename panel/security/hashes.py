"""Hashes of secrets that are only checked, and which secrets are too easy to guess for that."""

import hashlib
import hmac
import re
import threading
from itertools import pairwise

import brotli
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from panel.paths import KNOWN_PASSWORDS

# OWASP's Password Storage Cheat Sheet: argon2id, 19 MiB, two passes, one lane. RFC 9106's first
# choice takes 2 GiB a check and its second 64 MiB, more than a small site's machine can spare.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Strangers choose how many passwords are checked at once, and each takes 19 MiB.
_at_once = threading.BoundedSemaphore(2)


class TypedSecret:
    """A secret that somebody typed, with the results of the comparisons made so far.

    A comparison is slow on purpose. It is made before a lock is taken, and its result is used
    under the lock; a hash that was changed in between is compared too.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._results: dict[str, bool] = {}

    def matches(self, secret_hash: str) -> bool:
        """Say whether this is the secret of ``secret_hash``."""
        if secret_hash not in self._results:
            self._results[secret_hash] = verify_secret(secret_hash, self._secret)
        return self._results[secret_hash]


def hash_secret(secret: str) -> str:
    """Return the argon2id hash of ``secret``, with its parameters and salt in it."""
    with _at_once:
        return _hasher.hash(secret)


def verify_secret(secret_hash: str, secret: str) -> bool:
    """Say whether ``secret`` is that of ``secret_hash``; a wrong one takes as long as the right."""
    try:
        with _at_once:
            return _hasher.verify(secret_hash, secret)
    except (VerificationError, InvalidHashError, UnicodeError):
        return False


def hash_token(token: str) -> str:
    """Return the SHA-256 in hex under which a random token (256 bits) is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def equal_in_constant_time(one: str, other: str) -> bool:
    """Compare two texts in a time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


# With fewer letters or digits of its own a secret is no more than what stands around them.
_FEWEST_OF_ITS_OWN = 4


def is_known(secret: str) -> bool:
    """Say whether ``secret`` is among the 10 000 commonest passwords, or little more than one.

    Little more: digits and signs around it ("Password2026!"), the same text again and again, or
    characters in their order ("1234567890").
    """
    text = secret.casefold()
    repeated = re.fullmatch(r"(.+?)\1+", text)
    core = repeated[1] if repeated else text
    forms = {text, core, re.sub(r"^[\W\d_]+|[\W\d_]+$", "", core)}
    return len(core) < _FEWEST_OF_ITS_OWN or _is_in_order(core) or any(map(_is_common, forms))


def is_about(secret: str, name: str) -> bool:
    """Say whether ``secret`` is ``name``, or little more than it: "asha-asha 2026"."""
    name = name.strip().casefold()
    if not name or name not in secret.casefold():
        return False
    rest = re.sub(r"[\W\d_]", "", secret.casefold().replace(name, ""))
    return len(rest) < _FEWEST_OF_ITS_OWN


def _is_in_order(text: str) -> bool:
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    # After the 9 comes the 0 on every keyboard.
    return steps in ({1}, {-1}, {1, -9}, {-1, 9})


def _is_common(text: str) -> bool:
    # Read again each time: it takes a millisecond, and nobody sets a password twice a day.
    return bool(text) and f"\n{text}\n".encode() in brotli.decompress(KNOWN_PASSWORDS.read_bytes())
