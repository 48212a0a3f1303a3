"""The synchronise parameters: who this server is, the shared pair, and where its primary is."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.log import Actor, EventKind, refuse_stale
from panel.errors import NeedsConfirmation
from panel.i18n import Message
from panel.models.runs import PASSWORD_UNREADABLE, Link, Loop
from panel.models.settings import Server, Settings, lock_settings
from panel.preferences.field_checks import Checks
from panel.preferences.parameter_kinds import Secret
from panel.preferences.parameter_rules import check_new_password, check_role, serious_acts
from panel.preferences.parameter_table import PARAMETERS, PASSWORD, Parameters, tidy
from panel.preferences.shared_password import fit_password
from panel.security.vault import Vault


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
    acts that somebody was warned of ("sync_id", "url_http", "url_on_primary", "weak_password").
    What is saved already is no change. Raise :class:`Invalid` with a reason for every field that
    cannot stand, :class:`Conflict`, or :class:`NeedsConfirmation`.
    """
    settings = lock_settings(session)
    change = check_parameters(session, vault, wanted, version)
    if not change.values:
        return settings
    missing = {name: warning for name, warning in change.acts.items() if name not in confirmed}
    if missing:
        raise NeedsConfirmation(missing)
    write_changes(session, actor, vault, settings, change.values)
    return settings


@dataclass(frozen=True)
class Change:
    """The ``values`` that become something else, secrets as they were typed.

    ``acts`` are those to confirm before, each with its warning.
    """

    values: dict[str, Any]
    acts: dict[str, Message]


def check_parameters(
    session: Session, vault: Vault, wanted: Parameters, version: int | None = None
) -> Change:
    """Return what saving ``wanted`` would change; change nothing.

    ``version`` None stands for the present one. Raise :class:`Invalid` and :class:`Conflict` as
    :func:`save_parameters` does.
    """
    settings = session.get_one(Settings, 1)
    checks = Checks()
    wanted = tidy(checks, wanted)
    values = find_changes(settings, vault, wanted)
    if not values and not checks.problems:
        return Change({}, {})
    if version is not None:
        _refuse_stale(session, settings, version)
    check_role(session, checks, vault, settings, wanted)
    checks.finish()
    acts = serious_acts(session, settings, wanted)
    acts.update(check_new_password(checks, wanted, values))
    checks.finish()
    return Change(values, acts)


def changed_settings(settings: Settings, vault: Vault, changes: dict[str, Any]) -> Settings:
    """Return a copy of ``settings`` with ``changes``, in no session and never saved."""
    columns = [column.key for column in Settings.__mapper__.column_attrs]
    copy = Settings(**{name: getattr(settings, name) for name in columns})
    _apply(copy, vault, changes)
    return copy


def remove_password(session: Session, actor: Actor, version: int) -> Settings:
    """Forget the shared password. Raise :class:`Conflict` as :func:`save_parameters` does."""
    return remove_secret(session, actor, PASSWORD, version)


def remove_secret(session: Session, actor: Actor, secret: Secret, version: int) -> Settings:
    """Forget ``secret``. Raise :class:`Conflict` as :func:`save_parameters` does."""
    settings = lock_settings(session)
    if not secret.is_set(settings):
        return settings
    _refuse_stale(session, settings, version)
    was = {secret.name: secret.for_activity(settings)}
    secret.clear(settings)
    is_password = secret is PASSWORD
    what = EventKind.PASSWORD_REMOVED if is_password else EventKind.PARAMETERS_CHANGED
    record(session, actor, what, settings, was, {secret.name: None})
    return settings


def clear_url(session: Session, actor: Actor, version: int) -> Settings:
    """Forget this server's URL. Raise :class:`Conflict` as :func:`save_parameters` does."""
    settings = lock_settings(session)
    was = settings.url
    if not was:
        return settings
    _refuse_stale(session, settings, version)
    settings.url = ""
    record(session, actor, EventKind.URL_CLEARED, settings, {"url": was}, {"url": ""})
    tell_row(session, actor, settings, was)
    return settings


def _refuse_stale(session: Session, settings: Settings, version: int) -> None:
    if version != settings.parameters_version:
        refuse_stale(session, "parameters", None, version, settings.parameters_version)


# A device token is good for one server, known under one name, at one other end.
_OF_THE_TOKEN = {"user_name", "password", "url"}
# Who stands at the other end may speak another protocol than the one that answered last.
_OF_THE_PROTOCOL = {"url", "protocol"}
# What these are makes no difference to whether a run succeeds.
_OF_NO_TRY = {"contact", "request_size"}


def find_changes(settings: Settings, vault: Vault, wanted: Parameters) -> dict[str, Any]:
    """Return the values that become something else, the typed secrets among them."""
    return {
        name: wanted[name]
        for name, parameter in PARAMETERS.items()
        if parameter.differs(settings, vault, wanted[name])
    }


def write_changes(
    session: Session, actor: Actor, vault: Vault, settings: Settings, changes: dict[str, Any]
) -> None:
    """Give ``settings`` the values in ``changes`` and record it, as one new version."""
    was = {name: PARAMETERS[name].for_activity(settings) for name in changes}
    _apply(settings, vault, changes)
    became = {name: PARAMETERS[name].for_activity(settings) for name in changes}
    record(session, actor, EventKind.PARAMETERS_CHANGED, settings, was, became)
    if "url" in changes:
        tell_row(session, actor, settings, was["url"])


def _apply(settings: Settings, vault: Vault, changes: dict[str, Any]) -> None:
    # In the order of the table: the form of the password follows from the Sync ID.
    for name, value in changes.items():
        PARAMETERS[name].write(settings, vault, value)
    if "password" not in changes:
        fit_password(settings, vault)


def set_url(session: Session, actor: Actor, settings: Settings, url: str) -> None:
    """Keep the URL that was typed in the row of a satellite's primary."""
    was, settings.url = settings.url, url
    record(session, actor, EventKind.PARAMETERS_CHANGED, settings, {"url": was}, {"url": url})


def record(
    session: Session,
    actor: Actor,
    what: EventKind,
    settings: Settings,
    was: dict[str, Any],
    became: dict[str, Any],
) -> None:
    """Count one more version of the parameters and write its row of Activity."""
    settings.parameters_version += 1
    if _OF_THE_TOKEN & became.keys():
        has_token = Link.device_token_sealed.is_not(None)
        session.execute(update(Link).where(has_token).values(token_withheld=True))
    if _OF_THE_PROTOCOL & became.keys():
        session.execute(update(Link).values(protocol=""))
    if became.keys() - _OF_NO_TRY:
        try_anew(session, settings, has_new_password="password" in became)
    log.add_entry(
        session,
        actor,
        what,
        subject="parameters",
        version=settings.parameters_version,
        was=was,
        became=became,
    )


def try_anew(session: Session, settings: Settings, *, has_new_password: bool = False) -> None:
    """Make a satellite's next run due at once, and forget why the last one was in vain.

    That says nothing of what was saved since. A satellite that was never tried begins by itself,
    and one whose password no key opens cannot try until it has a new one.
    """
    if not settings.is_satellite or not settings.interval_minutes:
        return
    loops = update(Loop).where(Loop.started_at.is_not(None))
    if not has_new_password:
        loops = loops.where(Loop.refusal != PASSWORD_UNREADABLE)
    forgotten = {"refusal": "", "refusal_values": None, "failures": 0, "due_at": None}
    session.execute(loops.values(asked_at=clock.now(), **forgotten))


def tell_row(session: Session, actor: Actor, settings: Settings, was: str) -> None:
    """Count the change in the row of a satellite, which shows the same URL and may be open."""
    if not settings.is_satellite:
        return
    for server in session.scalars(select(Server).where(Server.removed_at.is_(None))):
        server.version += 1
        log.add_entry(
            session,
            actor,
            EventKind.SERVER_CHANGED,
            subject="server",
            subject_id=server.id,
            label=server.label,
            version=server.version,
            was={"url": was},
            became={"url": settings.url},
        )
