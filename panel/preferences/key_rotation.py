"""What is sealed, under the newest key: an older one can then be forgotten."""

from sqlalchemy.orm import Session

from panel.models.row_locks import lock_settings
from panel.models.sync import Link
from panel.security.vault import Unreadable, Vault


def reseal(session: Session, vault: Vault) -> None:
    """Seal the shared password and the device token anew; what no key opens stays as it is."""
    settings = lock_settings(session)
    link = session.get_one(Link, 1, with_for_update=True, populate_existing=True)
    settings.password_sealed = _anew(vault, settings.password_sealed)
    link.device_token_sealed = _anew(vault, link.device_token_sealed)


def _anew(vault: Vault, sealed: str | None) -> str | None:
    try:
        return sealed and vault.reseal(sealed)
    except Unreadable:
        return sealed
