"""The synchronise parameters: who this server is, the shared pair, and where its primary is."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from panel.errors import NeedsConfirmation
from panel.keys import Unreadable, Vault
from panel.models import Server, Settings
from panel.preferences import activity
from panel.preferences.activity import SECRET, What
from panel.preferences.actor import Actor
from panel.preferences.checks import Checks
from panel.preferences.parameter_rules import Parameters, check_role, label, serious_acts, tidy
from panel.preferences.rows import lock_settings, refuse_stale
from panel.preferences.shared_password import (
    fit_password,
    is_password,
    read_password,
    set_password,
    wire_password,
)
from panel.sync.models import Link
from panel.words import say

__all__ = [
    "Parameters",
    "clear_url",
    "read_password",
    "remove_password",
    "save_parameters",
    "wire_password",
]

# Everything but the password, whose value is never compared or written down.
_PLAIN = (
    "sync_id", "name", "store", "user_name", "url", "request_size",
    "protocol", "private_ca", "fingerprint",
)  # fmt: skip
# A device token is good for one server, known under one name, at one other end.
_OF_THE_TOKEN = {"sync_id", "user_name", "password", "url"}


def save_parameters(
    session: Session,
    actor: Actor,
    vault: Vault,
    wanted: Parameters,
    version: int,
    confirmed: Collection[str] = (),
) -> Settings:
    """Keep ``wanted`` as the parameters of this server.

    ``version`` is the ``parameters_version`` that the form was opened on; ``confirmed`` names the
    acts that somebody was warned of ("sync_id", "url_http", "url_on_primary"). What is saved
    already is no change. Raise :class:`Invalid` with a reason for every field that cannot stand,
    :class:`Conflict`, or :class:`NeedsConfirmation`.
    """
    settings = lock_settings(session)
    checks = Checks()
    wanted = tidy(checks, wanted)
    changes = _changes(settings, vault, wanted)
    if not changes and not checks.problems:
        return settings
    if version != settings.parameters_version:
        refuse_stale(session, "parameters", None, version, settings.parameters_version)
    check_role(session, checks, settings, wanted)
    _check_sealed(checks, settings, vault, wanted)
    checks.finish()
    acts = serious_acts(session, settings, wanted)
    missing = {name: warning for name, warning in acts.items() if name not in confirmed}
    if missing:
        raise NeedsConfirmation(missing)
    _apply(session, actor, vault, settings, changes)
    return settings


def _changes(settings: Settings, vault: Vault, wanted: Parameters) -> dict[str, Any]:
    """Return the fields that become something else, the typed password among them."""
    changes = {
        field: getattr(wanted, field)
        for field in _PLAIN
        if getattr(wanted, field) != getattr(settings, field)
    }
    if wanted.password and not is_password(settings, vault, wanted.password):
        changes["password"] = wanted.password
    return changes


def _check_sealed(checks: Checks, settings: Settings, vault: Vault, wanted: Parameters) -> None:
    """A primary keeps the hash of the sealed password: that takes a key that opens it."""
    if not wanted.is_primary or wanted.password:
        return
    try:
        read_password(settings, vault)
    except Unreadable:
        reason = say("Type the Password again: the key that it was kept under is gone.")
        checks.refuse("password", reason)


def _apply(
    session: Session, actor: Actor, vault: Vault, settings: Settings, changes: dict[str, Any]
) -> None:
    before = {field: getattr(settings, field) for field in changes if field != "password"}
    password = changes.pop("password", None)
    for field, value in changes.items():
        setattr(settings, field, value)
    if password is None:
        fit_password(settings, vault)
    else:
        set_password(settings, vault, password)
        before["password"] = changes["password"] = SECRET
    _record(session, actor, What.PARAMETERS_CHANGED, settings, before, changes)
    if "url" in changes:
        _tell_row(session, actor, settings, before["url"])


def _record(
    session: Session,
    actor: Actor,
    what: What,
    settings: Settings,
    was: dict[str, Any],
    became: dict[str, Any],
) -> None:
    settings.parameters_version += 1
    if _OF_THE_TOKEN & became.keys():
        session.execute(update(Link).values(device_token_sealed=None))
    activity.record(
        session,
        actor,
        what,
        subject="parameters",
        version=settings.parameters_version,
        was=was,
        became=became,
    )


def _tell_row(session: Session, actor: Actor, settings: Settings, was: str) -> None:
    """A satellite's row shows the same URL: whoever edits it hears of the change as well."""
    if not settings.is_satellite:
        return
    for server in session.scalars(select(Server).where(Server.removed_at.is_(None))):
        server.version += 1
        activity.record(
            session,
            actor,
            What.SERVER_CHANGED,
            subject="server",
            subject_id=server.id,
            label=label(server),
            version=server.version,
            was={"url": was},
            became={"url": settings.url},
        )


def set_url(session: Session, actor: Actor, settings: Settings, url: str) -> None:
    """Keep the URL that was typed in the row of a satellite's primary (settings locked)."""
    was, settings.url = settings.url, url
    _record(session, actor, What.PARAMETERS_CHANGED, settings, {"url": was}, {"url": url})


def remove_password(session: Session, actor: Actor, version: int) -> Settings:
    """Forget the shared password. Raise :class:`Conflict` as :func:`save_parameters` does."""
    settings = lock_settings(session)
    if not settings.has_password:
        return settings
    if version != settings.parameters_version:
        refuse_stale(session, "parameters", None, version, settings.parameters_version)
    settings.password_sealed = settings.password_hash = None
    settings.password_changed_at = None
    was, became = {"password": SECRET}, {"password": None}
    _record(session, actor, What.PASSWORD_REMOVED, settings, was, became)
    return settings


def clear_url(session: Session, actor: Actor, version: int) -> Settings:
    """Forget this server's URL. Raise :class:`Conflict` as :func:`save_parameters` does."""
    settings = lock_settings(session)
    was = settings.url
    if not was:
        return settings
    if version != settings.parameters_version:
        refuse_stale(session, "parameters", None, version, settings.parameters_version)
    settings.url = ""
    _record(session, actor, What.URL_CLEARED, settings, {"url": was}, {"url": ""})
    _tell_row(session, actor, settings, was)
    return settings
