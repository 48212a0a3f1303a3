"""The shared password, stored in the form that this server's role needs.

A satellite sends it, so it is sealed. A primary only checks it, so it stores the argon2 hash of
what travels on the wire, which cannot be reversed.
"""

import hashlib

from panel import clock
from panel.models.settings import Settings
from panel.security.hashes import equal_in_constant_time, hash_secret, verify_secret
from panel.security.vault import Unreadable, Vault


def wire_password(password: str) -> str:
    """Return the lower-case hex SHA-256 that travels instead of a password (mSupply Sync v5)."""
    return hashlib.sha256(password.encode()).hexdigest()


def read_password(settings: Settings, vault: Vault) -> str | None:
    """Return the password that a satellite sends; None if none is set.

    Raise :class:`panel.security.vault.Unreadable` if no key opens it.
    """
    sealed = settings.password_sealed
    return None if sealed is None else vault.open(sealed)


def is_password(settings: Settings, vault: Vault, password: str) -> bool:
    """Say whether ``password`` is the saved one."""
    if settings.password_hash is not None:
        return verify_secret(settings.password_hash, wire_password(password))
    try:
        return equal_in_constant_time(read_password(settings, vault) or "", password)
    except Unreadable:
        return False


def set_password(settings: Settings, vault: Vault, password: str) -> None:
    """Store ``password`` in the form that the role of ``settings`` needs."""
    if settings.is_primary:
        settings.password_hash, settings.password_sealed = (
            hash_secret(wire_password(password)),
            None,
        )
    else:
        settings.password_hash, settings.password_sealed = None, vault.seal(password)
    settings.password_changed_at = clock.now()


def fit_password(settings: Settings, vault: Vault) -> None:
    """Turn a sealed password into the hash of a primary, if this server became one.

    Raise :class:`panel.security.vault.Unreadable` if no key opens it.
    """
    if settings.is_primary and settings.password_sealed is not None:
        changed_at = settings.password_changed_at
        set_password(settings, vault, vault.open(settings.password_sealed))
        settings.password_changed_at = changed_at
