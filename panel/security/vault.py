"""The secret key of this installation, and the vault that encrypts secrets with it.

One random key signs cookies and, through HKDF (RFC 5869), encrypts the secrets that must be sent
again later. Older keys still decrypt, so that a change of the key loses nothing.
"""

import base64
import secrets
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from panel.paths import write_once

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

KEY_FILE_NAME = "secret_key"


class Unreadable(Exception):
    """A sealed secret that no current key opens."""


def read_or_make_key(data_dir: Path) -> str:
    """Return the key in ``data_dir``; a missing one is generated, readable by its owner only.

    Raise OSError if the file is unusable.
    """
    return write_once(data_dir / KEY_FILE_NAME, lambda: secrets.token_urlsafe(48))


def has_key(data_dir: Path) -> bool:
    """Say whether ``data_dir`` holds a key."""
    return (data_dir / KEY_FILE_NAME).exists()


class Vault:
    """Seals secrets with the newest key (the first), and opens them with any.

    Fernet: AES-128-CBC with HMAC-SHA-256.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._secret_keys = tuple(secret_keys)

    @cached_property
    def _fernet(self) -> "MultiFernet":
        # Imported late, as below: it takes 7 MB, which a primary rarely needs.
        from cryptography.fernet import MultiFernet

        return MultiFernet([_fernet(key) for key in self._secret_keys])

    def seal(self, secret: str) -> str:
        """Return ``secret`` encrypted and authenticated, in ASCII."""
        return self._fernet.encrypt(secret.encode()).decode("ascii")

    def open(self, sealed: str) -> str:
        """Return the secret in ``sealed``. Raise :class:`Unreadable` if no key fits."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(sealed.encode("ascii")).decode()
        except (InvalidToken, UnicodeError) as error:
            raise Unreadable from error

    def reseal(self, sealed: str) -> str:
        """Return the secret in ``sealed``, sealed anew with the newest key.

        Raise :class:`Unreadable` if no key fits.
        """
        return self.seal(self.open(sealed))


def _fernet(secret_key: str) -> "Fernet":
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"sync-panel vault")
    return Fernet(base64.urlsafe_b64encode(derived.derive(secret_key.encode())))
