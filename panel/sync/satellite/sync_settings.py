"""The settings of a run, read from the preferences before each batch."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import __version__
from panel.installation import Installation
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import PASSWORD_UNREADABLE, Link
from panel.models.settings import Server, Settings, SyncProtocol
from panel.preferences.parameter_table import PROXY_PASSWORD
from panel.preferences.shared_password import read_password, wire_password
from panel.security.vault import Unreadable, Vault
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.protocol.messages import Identity, Pair
from panel.sync.transport.http import Target, proxy_url

_MOST_TOKENS = 3


@dataclass(frozen=True)
class SyncSettings:
    """The settings of a satellite's run."""

    interval_minutes: int
    # None: automatic.
    request_size: int | None
    protocol: SyncProtocol
    target: Target
    identity: Identity
    pair: Pair
    # The device token, "" before the primary has issued one, and where it is to ask first
    # (Link.token_withheld).
    token: str
    # Those of the last primaries that were at the URL, newest first.
    tokens: tuple[str, ...] = ()

    @property
    def sync_id(self) -> int:
        """Return the Sync ID of this server."""
        return self.identity.sync_id

    def digest(self) -> str:
        """Return 16 characters that change with every setting that may cause a refusal."""
        settings = f"{self.target} {self.identity} {self.pair} {self.protocol}"
        return hashlib.sha256(settings.encode()).hexdigest()[:16]


def read_sync_settings(session: Session, installation: Installation) -> SyncSettings:
    """Return the settings that the preferences give now. Raise SyncRefusal if one is missing."""
    settings = session.get_one(Settings, 1, populate_existing=True)
    return sync_settings_of(session, installation, settings)


def sync_settings_of(
    session: Session, installation: Installation, settings: Settings
) -> SyncSettings:
    """Return the settings of a run that ``settings`` give, saved or not. Raise SyncRefusal."""
    if not settings.is_satellite or not settings.url:
        raise SyncRefusal("not_a_satellite" if not settings.is_satellite else "no_url")
    primary = session.scalar(
        select(Server).where(Server.sync_id == PRIMARY_SYNC_ID, Server.removed_at.is_(None)),
        execution_options={"populate_existing": True},
    )
    if primary is None:
        raise SyncRefusal("no_primary")
    link = session.get_one(Link, 1, populate_existing=True)
    # Each begins with the Sync ID that it is for.
    mark = f"{settings.sync_id}."
    tokens = [one for one in read_tokens(link, installation.vault) if one.startswith(mark)]
    return SyncSettings(
        settings.interval_minutes,
        settings.request_size,
        settings.protocol,
        target_of(settings, installation.vault),
        own_identity(settings, primary, installation.hardware_id),
        _pair(settings, installation.vault),
        "" if link.token_withheld or not tokens else tokens[0],
        tuple(tokens),
    )


def target_of(settings: Settings, vault: Vault) -> Target:
    """Return where ``settings`` say that the primary is, and the way there."""
    try:
        password = PROXY_PASSWORD.open(settings, vault) or ""
    except Unreadable:
        # The proxy tells that it is missing.
        password = ""
    proxy = proxy_url(settings.proxy, settings.proxy_user, password)
    return Target(settings.url, settings.private_ca, settings.fingerprint, proxy)


def own_identity(settings: Settings, primary: Server, hardware_id: str) -> Identity:
    """Return the identity that this satellite states."""
    return Identity(
        settings.sync_id or 0,
        settings.name,
        settings.store,
        hardware_id,
        __version__,
        primary.name,
        primary.store,
    )


def _pair(settings: Settings, vault: Vault) -> Pair:
    try:
        password = read_password(settings, vault)
    except Unreadable as error:
        raise SyncRefusal(PASSWORD_UNREADABLE) from error
    if not settings.user_name or not password:
        raise SyncRefusal("no_pair")
    return Pair(settings.user_name, wire_password(password))


def read_tokens(link: Link, vault: Vault) -> list[str]:
    """Return the last device tokens, newest first."""
    try:
        text = vault.open(link.device_token_sealed) if link.device_token_sealed else ""
    except Unreadable:
        return []
    # A header takes ASCII alone.
    return text.split() if text.isascii() else []


def keep_token(link: Link, vault: Vault, token: str) -> None:
    """Keep ``token`` as the newest, with those of before: the URL may have been a wrong one."""
    others = [one for one in read_tokens(link, vault) if one != token]
    link.device_token_sealed = vault.seal(" ".join([token, *others][:_MOST_TOKENS]))
