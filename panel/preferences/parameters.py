"""The synchronise parameters: who this server is, the shared pair, and where its primary is."""

from collections.abc import Collection

from sqlalchemy.orm import Session

from panel.activity.actor import Actor
from panel.activity.log import SECRET, What
from panel.errors import NeedsConfirmation
from panel.models.base import Settings
from panel.models.row_locks import lock_settings, refuse_stale
from panel.preferences.fields import Checks
from panel.preferences.parameter_changes import find_changes, record, tell_row, write_changes
from panel.preferences.parameter_fields import Parameters, tidy
from panel.preferences.parameter_rules import check_role, serious_acts
from panel.preferences.shared_password import read_password, wire_password
from panel.security.vault import Vault

__all__ = [
    "Parameters",
    "clear_url",
    "read_password",
    "remove_password",
    "save_parameters",
    "wire_password",
]


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
    changes = find_changes(settings, vault, wanted)
    if not changes and not checks.problems:
        return settings
    _refuse_stale(session, settings, version)
    check_role(session, checks, vault, settings, wanted)
    checks.finish()
    acts = serious_acts(session, settings, wanted)
    missing = {name: warning for name, warning in acts.items() if name not in confirmed}
    if missing:
        raise NeedsConfirmation(missing)
    write_changes(session, actor, vault, settings, changes)
    return settings


def remove_password(session: Session, actor: Actor, version: int) -> Settings:
    """Forget the shared password. Raise :class:`Conflict` as :func:`save_parameters` does."""
    settings = lock_settings(session)
    if not settings.has_password:
        return settings
    _refuse_stale(session, settings, version)
    settings.password_sealed = settings.password_hash = None
    settings.password_changed_at = None
    was, became = {"password": SECRET}, {"password": None}
    record(session, actor, What.PASSWORD_REMOVED, settings, was, became)
    return settings


def clear_url(session: Session, actor: Actor, version: int) -> Settings:
    """Forget this server's URL. Raise :class:`Conflict` as :func:`save_parameters` does."""
    settings = lock_settings(session)
    was = settings.url
    if not was:
        return settings
    _refuse_stale(session, settings, version)
    settings.url = ""
    record(session, actor, What.URL_CLEARED, settings, {"url": was}, {"url": ""})
    tell_row(session, actor, settings, was)
    return settings


def _refuse_stale(session: Session, settings: Settings, version: int) -> None:
    if version != settings.parameters_version:
        refuse_stale(session, "parameters", None, version, settings.parameters_version)
