"""The set-ups of a primary's satellites: issued, listed, revoked, and found by their secret."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from panel import clock
from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import Invalid, NotFound
from panel.i18n import say
from panel.models.base import NAME_LENGTH
from panel.models.settings import IssuedSetup, Server, Settings, lock_server, lock_settings
from panel.preferences.field_checks import Checks
from panel.preferences.parameter_table import PARAMETERS
from panel.security.hashes import hash_token
from panel.setups.setup_text import Setup, new_code

LIFETIME = timedelta(days=14)
# An answer can be lost: for so long the machine that joined may join again.
REPEATABLE_FOR = timedelta(hours=1)
_MOST_LISTED = 5
_UNUSED = (IssuedSetup.used_at.is_(None), IssuedSetup.revoked_at.is_(None))


class SetupState(StrEnum):
    """What a set-up is: not used yet, used, past its end, or revoked."""

    OPEN = "open"
    USED = "used"
    ENDED = "ended"
    REVOKED = "revoked"


@dataclass(frozen=True)
class SetupTarget:
    """The URL at which a satellite reaches this primary, and what tells its certificate.

    ``fingerprint`` and ``private_ca`` are as in the parameters; empty for a public authority.
    """

    url: str = ""
    fingerprint: str = ""
    private_ca: str = ""


def issue_setup(session: Session, actor: Actor, server_id: int, target: SetupTarget) -> Setup:
    """Issue a set-up for the row ``server_id`` and return it, with its secret, this once.

    It takes the place of one that was issued before and not used. Raise :class:`NotFound`, or
    :class:`Invalid` (``sync_id`` and ``name`` of this server, or a field of ``target``).
    """
    settings = lock_settings(session)
    if not settings.is_primary:
        raise Invalid({"sync_id": say("Only a primary issues set-ups, for those of its list.")})
    if not settings.name or not settings.store:
        raise Invalid({"name": say("Give this server a Name and a Store first.")})
    server = lock_server(session, server_id)
    target = _checked(target)
    now, code = clock.now(), new_code()
    session.execute(
        update(IssuedSetup)
        .where(IssuedSetup.server_id == server.id, *_UNUSED)
        .values(revoked_at=now)
    )
    issued = IssuedSetup(
        server_id=server.id,
        code_hash=_hash(code),
        made_by=actor.name[:NAME_LENGTH],
        made_at=now,
        ends_at=now + LIFETIME,
        **vars(target),
    )
    session.add(issued)
    session.flush()
    _log(session, actor, EventKind.SETUP_ISSUED, server, {"ends_at": f"{issued.ends_at:%Y-%m-%d}"})
    return setup_of(settings, server, issued, code)


def setup_of(settings: Settings, server: Server, issued: IssuedSetup, code: str) -> Setup:
    """Return what is handed out of the set-up ``issued`` for ``server``, whose secret is ``code``.

    It has the names that both servers have now, which may have changed since it was issued.
    """
    return Setup(
        issued.url,
        code,
        server.sync_id,
        server.name,
        server.store,
        settings.name,
        settings.store,
        fingerprint=issued.fingerprint,
        private_ca=issued.private_ca,
        ends_at=issued.ends_at,
    )


def revoke_setup(session: Session, actor: Actor, server_id: int, setup_id: int) -> Server:
    """Revoke a set-up of the row ``server_id``, and return the row.

    One that was used or revoked already stays as it is. Raise :class:`NotFound`.
    """
    lock_settings(session)
    server = lock_server(session, server_id)
    issued = session.get(IssuedSetup, setup_id, with_for_update=True, populate_existing=True)
    if issued is None or issued.server_id != server.id:
        raise NotFound(say("There is no such set-up any more."))
    if issued.used_at is None and issued.revoked_at is None:
        issued.revoked_at = clock.now()
        _log(session, actor, EventKind.SETUP_REVOKED, server)
    return server


def list_setups(session: Session, server_id: int) -> Sequence[IssuedSetup]:
    """Return the newest set-ups of a row, at most five, the newest first."""
    query = select(IssuedSetup).where(IssuedSetup.server_id == server_id)
    return session.scalars(query.order_by(IssuedSetup.id.desc()).limit(_MOST_LISTED)).all()


def last_target(session: Session) -> SetupTarget | None:
    """Return what the newest set-up of any row says of this primary; None if there is none."""
    newest = session.scalar(select(IssuedSetup).order_by(IssuedSetup.id.desc()).limit(1))
    if newest is None:
        return None
    return SetupTarget(newest.url, newest.fingerprint, newest.private_ca)


def state_of(issued: IssuedSetup, now: datetime) -> SetupState:
    """Return the state of a set-up at ``now``."""
    if issued.used_at is not None:
        return SetupState.USED
    if issued.revoked_at is not None:
        return SetupState.REVOKED
    return SetupState.ENDED if issued.ends_at <= now else SetupState.OPEN


def find_by_code(session: Session, code: str, *, lock: bool = False) -> IssuedSetup | None:
    """Return the set-up with this secret, None if there is none; with ``lock`` it is locked."""
    # Looked up by its hash, so that the time reveals nothing about the 65 random bits.
    query = select(IssuedSetup).where(IssuedSetup.code_hash == _hash(code))
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return session.scalar(query)


def note_used(
    session: Session, actor: Actor, server: Server, issued: IssuedSetup, hardware_id: str
) -> None:
    """Note that the machine ``hardware_id`` joined with a set-up, the first time or again."""
    if issued.used_at is None:
        issued.used_at, issued.hardware_id = clock.now(), hardware_id
        _log(session, actor, EventKind.SETUP_USED, server)


def _checked(target: SetupTarget) -> SetupTarget:
    checks = Checks()
    values = {name: PARAMETERS[name].tidy(checks, value) for name, value in vars(target).items()}
    checks.finish()
    if not values["url"]:
        raise Invalid({"url": say("Give the address at which satellites reach this server.")})
    return SetupTarget(**values)


def _hash(code: str) -> str:
    return hash_token(f"setup {code}")


def _log(
    session: Session,
    actor: Actor,
    what: EventKind,
    server: Server,
    became: dict[str, str] | None = None,
) -> None:
    log.add_entry(
        session,
        actor,
        what,
        subject="server",
        subject_id=server.id,
        label=server.label,
        became=became,
    )
