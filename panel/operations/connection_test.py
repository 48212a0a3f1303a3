"""The connection test: whether the primary admits this satellite; neither side's data changes."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.activity import log
from panel.activity.log import Actor, EventKind
from panel.errors import Invalid
from panel.i18n import say
from panel.installation import Installation
from panel.models.people import Activity
from panel.models.runs import InitialiseState, Link, Loop
from panel.models.settings import Settings
from panel.preferences.parameter_table import PROXY_PASSWORD, Parameters
from panel.preferences.parameters import changed_settings, check_parameters
from panel.status.history import Disagreement, disagreements
from panel.sync.protocol.error_codes import SyncRefusal
from panel.sync.run import check_connection
from panel.sync.satellite.sync_settings import (
    SyncSettings,
    read_sync_settings,
    sync_settings_of,
)
from panel.sync.transport.http import HttpTransport, LinkFault, Target, Transport

# For all of a trial, however many bytes keep coming.
TRIAL_SECONDS = 20.0
# Each takes a thread that answers requests.
MOST_TRIALS = 2
Answer = TypeVar("Answer")
_trials = threading.BoundedSemaphore(MOST_TRIALS)


@dataclass(frozen=True)
class Trial:
    """The result of a connection test.

    ``code`` is empty for success, else one of :mod:`panel.sync.protocol.error_codes`.
    """

    code: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    # None where the primary was not reached.
    round_trip_ms: int | None = None

    @property
    def is_well(self) -> bool:
        """Say whether a sync would be admitted."""
        return not self.code

    @property
    def disagreements(self) -> list[Disagreement]:
        """Return the fields in which the two identities differ."""
        return disagreements(self.code, self.values, at_primary=False)


def try_connection(
    installation: Installation,
    actor: Actor,
    typed: Parameters | None = None,
    open_line: Callable[[Target], Transport] = HttpTransport,
) -> Trial:
    """Test the saved parameters, or the ``typed`` ones, with the primary; return the result.

    It waits for at most :data:`TRIAL_SECONDS`, and logs that ``actor`` tested which server. Raise
    :class:`Invalid` if the typed parameters could not be saved, or if the saved password would go
    to a server that it was not saved for.
    """
    try:
        sync_settings = (
            _typed_settings(installation, typed) if typed else _saved_settings(installation)
        )
    except SyncRefusal as refusal:
        return Trial(refusal.code, refusal.values)
    trial = _in_time(sync_settings, open_line)
    if trial.is_well and _is_told_to_initialise(installation):
        trial = Trial("initialise_needed", {}, trial.round_trip_ms)
    with installation.database.writing() as session:
        log.add_entry(
            session,
            actor,
            EventKind.CONNECTION_TESTED,
            subject="parameters",
            label=sync_settings.target.url,
            became={"code": trial.code} if trial.code else None,
        )
    return trial


def was_tested_well(session: Session) -> bool:
    """Say whether the last test of the connection that Activity has went well."""
    tests = select(Activity.became).where(Activity.what == EventKind.CONNECTION_TESTED)
    newest = session.execute(tests.order_by(Activity.id.desc()).limit(1)).first()
    return newest is not None and not newest.became


def ask_in_time(
    target: Target,
    open_line: Callable[[Target], Transport],
    ask: Callable[[Transport], Answer],
) -> Answer:
    """Return what ``ask`` returns, given a connection to ``target``.

    Raise what it raises, and LinkFault: ``timed_out`` after :data:`TRIAL_SECONDS`, however many
    bytes keep coming, and ``trial_under_way`` while :data:`MOST_TRIALS` others last.
    """
    if not _trials.acquire(blocking=False):
        raise LinkFault("trial_under_way")
    try:
        line = open_line(target)
    except BaseException:
        _trials.release()
        raise
    results: list[Callable[[], Answer]] = []

    def run() -> None:
        try:
            results.append(_outcome(ask, line))
        finally:
            line.close()
            _trials.release()

    # A thread of its own, since nothing can end a look-up of a name.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(TRIAL_SECONDS)
    if not thread.is_alive() and results:
        return results[0]()
    line.abort()
    raise LinkFault("timed_out", host=urlsplit(target.url).hostname or "")


def _outcome(ask: Callable[[Transport], Answer], line: Transport) -> Callable[[], Answer]:
    """Return what gives the answer of ``ask``, or raises its refusal, in another thread."""
    try:
        answer = ask(line)
    except (SyncRefusal, LinkFault) as error:
        return partial(_raise, error)
    return lambda: answer


def _raise(error: Exception) -> NoReturn:
    raise error


def _in_time(settings: SyncSettings, open_line: Callable[[Target], Transport]) -> Trial:
    """Return the result of a trial, or at the deadline that there was none in time."""
    try:
        return ask_in_time(settings.target, open_line, lambda line: _try(line, settings))
    except LinkFault as fault:
        return Trial(fault.code, fault.values)


def _try(line: Transport, settings: SyncSettings) -> Trial:
    try:
        check_connection(line, settings)
    except SyncRefusal as refusal:
        return Trial(refusal.code, refusal.values, _round_trip_ms(line))
    return Trial(round_trip_ms=_round_trip_ms(line))


def _is_told_to_initialise(installation: Installation) -> bool:
    """Say whether the last run got ``initialise_needed``, which a primary tells only to runs."""
    with installation.database.reading() as session:
        is_refused = session.get_one(Loop, 1).refusal == "initialise_needed"
        return is_refused and session.get_one(Link, 1).initialise == InitialiseState.DONE


def _saved_settings(installation: Installation) -> SyncSettings:
    with installation.database.reading() as session:
        return read_sync_settings(session, installation)


def _typed_settings(installation: Installation, typed: Parameters) -> SyncSettings:
    """Return the settings of a run as they would be if ``typed`` was saved."""
    with installation.database.reading() as session:
        values = check_parameters(session, installation.vault, typed).values
        saved = session.get_one(Settings, 1)
        settings = changed_settings(saved, installation.vault, values)
        _check_secrets(settings, saved, typed)
        return sync_settings_of(session, installation, settings)


def _check_secrets(settings: Settings, saved: Settings, typed: Parameters) -> None:
    """Raise :class:`Invalid` if a saved password would go to another server than its own."""
    # Scheme and port too: another one of a host is another program, or a line that tells.
    goes_elsewhere = _origin(settings.url) != _origin(saved.url)
    has_new_proxy = settings.proxy != saved.proxy
    # Over https the proxy only carries what it cannot read.
    is_read = bool(settings.proxy) and has_new_proxy and urlsplit(settings.url).scheme == "http"
    problems = {}
    if settings.password_sealed and not typed.password and (goes_elsewhere or is_read):
        reason = say("Type the Password again: it was saved for another server than this URL's.")
        problems["password"] = (
            reason if goes_elsewhere else say("Type the Password again: the new proxy can read it.")
        )
    sends_it = settings.proxy and settings.proxy_user and settings.proxy_password_sealed
    if sends_it and has_new_proxy and not typed[PROXY_PASSWORD.name]:
        reason = say("Type it again: it was saved for another proxy.")
        problems[PROXY_PASSWORD.name] = reason
    if problems:
        raise Invalid(problems)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _round_trip_ms(line: Transport) -> int:
    return max(1, round(line.meter.connect_seconds * 1000))
