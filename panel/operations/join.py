"""Joining a primary with a set-up: sets the parameters, binds the row and begins to sync."""

from collections.abc import Callable, Collection
from dataclasses import replace

from sqlalchemy.orm import Session

from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import NeedsConfirmation, Refusal
from panel.i18n import Message, say
from panel.installation import Installation
from panel.models.base import PRIMARY_SYNC_ID
from panel.models.runs import Link
from panel.models.settings import Settings, find_listed
from panel.operations.connection_test import ask_in_time
from panel.operations.sync_requests import ask_to_sync
from panel.preferences.parameter_table import Parameters, parameters_of
from panel.preferences.parameters import check_parameters, save_parameters
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server, edit_server
from panel.setups.setup_text import Setup
from panel.sync.protocol.error_codes import SyncRefusal, explain
from panel.sync.satellite.sync_settings import keep_token, target_of
from panel.sync.transport import exchange_client
from panel.sync.transport.exchange_client import Joined
from panel.sync.transport.http import HttpTransport, LinkFault, Target, Transport

# With these the primary may have got the request, and the answer was lost.
_ANSWER_LOST = frozenset({"timed_out", "cut_off"})
# They stand for what only the answer tells, so that the rest can be checked before.
_ANY_SYNC_ID, _ANY_USER_NAME, _ANY_PASSWORD = 2, "site", "known once the primary has answered"


class NotJoined(Refusal):
    """The primary refused, or was not reached; ``reason_code`` is one of ``error_codes``."""

    status = 409
    code = "not_joined"

    def __init__(self, reason_code: str, message: Message) -> None:
        super().__init__(message)
        self.reason_code = reason_code


def join(
    installation: Installation,
    actor: Actor,
    setup: Setup,
    confirmed: Collection[str] = (),
    open_line: Callable[[Target], Transport] = HttpTransport,
) -> Settings:
    """Join the primary of ``setup``, keep what it answers, ask for a sync, and return the settings.

    What would be refused here is refused before anything is sent. ``confirmed`` is as in
    :func:`save_parameters`. Raise what that and :func:`add_server` raise, and :class:`NotJoined`.
    """
    with installation.database.reading() as session:
        settings = session.get_one(Settings, 1)
        _check(session, settings, installation, setup, confirmed)
        target = replace(
            target_of(settings, installation.vault),
            url=setup.url,
            private_ca=setup.private_ca,
            fingerprint=setup.fingerprint,
        )
    try:
        joined = ask_in_time(
            target,
            open_line,
            lambda line: exchange_client.join(line, setup.code, installation.hardware_id),
        )
    except (SyncRefusal, LinkFault) as error:
        raise _not_joined(error) from error
    with installation.database.writing() as session:
        return _keep(session, installation, actor, setup, joined, confirmed)


def _check(
    session: Session,
    settings: Settings,
    installation: Installation,
    setup: Setup,
    confirmed: Collection[str],
) -> None:
    """Raise what keeping an answer would raise, as far as ``setup`` tells what that will be."""
    if settings.is_primary:
        raise Refusal(say("This server is a primary: only a satellite joins one."))
    expected = Joined(
        sync_id=setup.sync_id or settings.sync_id or _ANY_SYNC_ID,
        name=setup.name or settings.name,
        store=setup.store or settings.store,
        primary_name=setup.primary_name,
        primary_store=setup.primary_store,
        user_name=_ANY_USER_NAME,
        password=_ANY_PASSWORD,
        token="",
    )
    wanted = _parameters(settings, setup, expected)
    acts = check_parameters(session, installation.vault, wanted).acts
    if missing := {act: warning for act, warning in acts.items() if act not in confirmed}:
        raise NeedsConfirmation(missing)


def _parameters(settings: Settings, setup: Setup, joined: Joined) -> Parameters:
    return parameters_of(settings).replace(
        sync_id=joined.sync_id,
        name=joined.name,
        store=joined.store,
        user_name=joined.user_name,
        password=joined.password,
        url=setup.url,
        protocol=setup.protocol,
        fingerprint=setup.fingerprint,
        private_ca=setup.private_ca,
    )


def _keep(
    session: Session,
    installation: Installation,
    actor: Actor,
    setup: Setup,
    joined: Joined,
    confirmed: Collection[str],
) -> Settings:
    settings, vault = session.get_one(Settings, 1), installation.vault
    wanted, version = _parameters(settings, setup, joined), settings.parameters_version
    settings = save_parameters(session, actor, vault, wanted, version, confirmed)
    _list_primary(session, actor, joined)
    link = session.get_one(Link, 1, with_for_update=True)
    keep_token(link, vault, joined.token)
    link.token_withheld = False
    log.add_entry(session, actor, EventKind.JOINED, subject="parameters", label=setup.url)
    if settings.interval_minutes:
        ask_to_sync(session, actor)
    return settings


def _list_primary(session: Session, actor: Actor, joined: Joined) -> None:
    """Add the primary to the list, or give its row the names that it has now."""
    fields = ServerFields(PRIMARY_SYNC_ID, joined.primary_name, joined.primary_store)
    server = find_listed(session, PRIMARY_SYNC_ID)
    if server is None:
        add_server(session, actor, fields)
    else:
        edit_server(session, actor, server.id, fields, server.version)


def _not_joined(error: SyncRefusal | LinkFault) -> NotJoined:
    reason = explain(error.code, error.values)
    told = say("%(what)s %(next)s", what=reason.what, next=reason.next)
    if error.code in _ANSWER_LOST:
        told = say(
            "%(what)s If the primary heard it, the same set-up can be used here for another hour: "
            "try again.",
            what=reason.what,
        )
    return NotJoined(error.code, told)
