"""Rules across parameters: role, password and list of servers, and what must be confirmed."""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from panel.i18n import Message, say
from panel.models.base import PRIMARY_SYNC_ID, searchable
from panel.models.records import Record
from panel.models.runs import Run
from panel.models.settings import Server, Settings
from panel.preferences.field_checks import (
    HTTP_WARNING,
    PRIMARY_URL_WARNING,
    Checks,
    check_url,
    why_weak,
)
from panel.preferences.parameter_table import Parameters
from panel.preferences.shared_password import read_password
from panel.security.vault import Unreadable, Vault


def check_role(
    session: Session, checks: Checks, vault: Vault, settings: Settings, wanted: Parameters
) -> None:
    """Add to ``checks`` what conflicts: the wanted role, the rows of the list, the password."""
    _check_list(session, checks, wanted)
    if not wanted.password and (reason := _why_password_again(vault, settings, wanted)):
        checks.refuse("password", reason)


def _why_password_again(vault: Vault, settings: Settings, wanted: Parameters) -> Message | None:
    """Return why the saved password cannot serve the wanted role; None if it can."""
    if wanted.is_satellite and settings.password_sealed is None and settings.password_hash:
        return say("Type the Password again: a primary's cannot be sent, only checked.")
    try:
        if wanted.is_primary:
            read_password(settings, vault)
    except Unreadable:
        return say("Type the Password again: the key that it was kept under is gone.")
    return None


def _check_list(session: Session, checks: Checks, wanted: Parameters) -> None:
    live = select(Server).where(Server.removed_at.is_(None)).limit(1)
    same_id = session.scalar(live.where(Server.sync_id == wanted.sync_id))
    if wanted.sync_id is not None and same_id is not None:
        reason = say("%(server)s in the list has this Sync ID.", server=same_id.label)
        checks.refuse("sync_id", reason)
    elif wanted.is_satellite:
        satellites = live.with_only_columns(func.count()).where(Server.sync_id != PRIMARY_SYNC_ID)
        if session.scalar(satellites.limit(None)):
            reason = say("A satellite lists the primary only. Remove the other servers first.")
            checks.refuse("sync_id", reason)
    elif wanted.is_primary and wanted.user_name:
        same_name = live.where(Server.user_name_key == searchable(wanted.user_name))
        if (server := session.scalar(same_name)) is not None:
            reason = say("%(server)s has this User name of its own.", server=server.label)
            checks.refuse("user_name", reason)


def serious_acts(session: Session, settings: Settings, wanted: Parameters) -> dict[str, Message]:
    """Map each act that must be confirmed before ``wanted`` is saved to its warning."""
    acts = {}
    if wanted.sync_id != settings.sync_id and has_synchronised(session):
        acts["sync_id"] = _sync_id_warning(wanted.sync_id)
    if wanted.url and (wanted.url != settings.url or wanted.is_primary != settings.is_primary):
        if wanted.is_primary:
            acts["url_on_primary"] = PRIMARY_URL_WARNING
        elif check_url(wanted.url)[1]:
            acts["url_http"] = HTTP_WARNING
    return acts


def _sync_id_warning(sync_id: int | None) -> Message:
    if sync_id is None:
        return say("This server has synchronised records. Without a Sync ID it stops doing so.")
    return say(
        "Records were synchronised here already. They stay with the Sync ID that wrote them, and "
        "this server can no longer change them. As %(sync_id)s it starts anew and must initialise.",
        sync_id=sync_id,
    )


def check_new_password(
    checks: Checks, wanted: Parameters, changes: Mapping[str, object]
) -> dict[str, Message]:
    """Look whether a shared password that was typed now is easy to guess.

    A primary, where it is chosen, refuses such a one in ``checks``. A satellite has to take what
    its primary has: return the act to confirm with its warning.
    """
    reason = why_weak(wanted.password, wanted.user_name) if wanted.password else None
    if reason is None or "password" not in changes:
        return {}
    if wanted.is_primary:
        checks.refuse("password", reason)
        return {}
    warning = say(
        "This password is easy to guess. %(reason)s It is changed at the primary first.",
        reason=reason,
    )
    return {"weak_password": warning}


def has_synchronised(session: Session) -> bool:
    """Say whether this server holds records or has run a sync."""
    return any(session.scalar(select(table.id).limit(1)) for table in (Record, Run))
