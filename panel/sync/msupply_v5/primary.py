"""The primary's side of v5, one transaction a call (PROTOCOL.md, *As a primary*)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from panel.db import Database
from panel.i18n import say
from panel.models.settings import Server
from panel.sync.msupply_v5 import sites
from panel.sync.msupply_v5.calls import CALLS, FIRST, WITH_BODY, Calls, Request
from panel.sync.msupply_v5.codec import read_object, to_bytes
from panel.sync.msupply_v5.sites import Caller
from panel.sync.primary.exchange import Primary
from panel.sync.primary.run_log import refusals_noted
from panel.sync.protocol.body_codec import (
    LARGEST_BODY_BYTES,
    MOST_ELEMENTS,
    Body,
    Garbled,
    TooLarge,
    TooManyElements,
    Turn,
    UnknownEncoding,
    announced_bytes,
    unpack,
    write_body,
)
from panel.sync.protocol.error_codes import Reason, SyncRefusal, explain
from panel.sync.protocol.json_reader import BadMessage, JsonObject

# Answered while another call is under way.
STATUS = ("GET", "site_status")


@dataclass(frozen=True)
class Answer:
    """An HTTP status and a JSON body; a 204 has no body."""

    status: int
    body: bytes = b""
    # Its Content-Encoding, "" for none.
    encoding: str = ""


def is_call(method: str, name: str) -> bool:
    """Say whether v5 has this call."""
    return (method, name) == STATUS or (method, name) in CALLS


def answer(service: Primary, request: Request) -> Answer:
    """Return the answer of ``service`` to one call of a site; errors are answers too."""
    try:
        with refusals_noted(service.database, request.address):
            return _answer(service, request)
    except SyncRefusal as refusal:
        return _error_answer(refusal)
    except BadMessage as error:
        return _error_answer(SyncRefusal("bad_request", what=str(error)))


_AT_NEXT_SYNC = say("Nothing has to be done here: the site tries again at its next sync.")
_TELL_CENTRAL = say("Tell whoever looks after the central server.")
_CHECK_SETTINGS = say("Check the URL, the user name and the password in the site's sync settings.")
# To the person at a site, which has no words of its own for these and shows the message as it is.
_AT_SITE = {
    "sync_disabled": Reason(
        say("Sync is disabled on the central server, because a URL is set there."), _TELL_CENTRAL
    ),
    "not_a_primary": Reason(
        say("The server at this address is not a central server."), _CHECK_SETTINGS
    ),
    "sync_paused": Reason(say("Sync is paused on the central server."), _AT_NEXT_SYNC),
    "initialise_later": Reason(
        say("Many other sites initialise at this moment."),
        say("Nothing is lost. Start the initialisation again in %(seconds)s seconds."),
    ),
    "sync_is_running": Reason(
        say("The central server still works on an earlier request of this site."), _AT_NEXT_SYNC
    ),
    "too_many_tries": Reason(
        say("Too many wrong passwords came from this address."),
        say(
            "Correct the user name and the password in the site's sync settings, and wait "
            "%(seconds)s seconds."
        ),
    ),
    "bad_request": Reason(
        say("The central server did not understand what this site sent (%(what)s)."), _TELL_CENTRAL
    ),
    "site_restored": Reason(
        say("This site was restored from a backup, so that records are missing here."),
        say(
            "Delete the site's data folder and initialise again. The central server has all that "
            "this site sent, and hands it back."
        ),
    ),
    "deletes_missed": Reason(
        say("This site was away for longer than the central server keeps deletions."),
        say(
            "Delete the site's data folder and initialise again. The central server has all that "
            "this site sent, and hands it back."
        ),
    ),
    "another_past": Reason(
        say("This site has records that the central server does not know: one was restored."),
        say(
            "Ask whoever looks after the central server first. If nothing else helps, delete the "
            "site's data folder and initialise again."
        ),
    ),
}


def _error_answer(refusal: SyncRefusal) -> Answer:
    reason = explain(refusal.code, refusal.values, _AT_SITE)
    message = f"{reason.what} {reason.next}"
    error = {"code": refusal.code, "message": message, "data": refusal.values or None}
    return Answer(refusal.status, to_bytes({"error": error}))


def _answer(service: Primary, request: Request) -> Answer:
    caller = sites.caller_of(request.headers, request.address)
    with _trials_marked(caller):
        server_id = sites.recognise(service.database, service.authenticator, caller)
    if (request.method, request.name) == STATUS:
        return Answer(200, to_bytes(_status_of(service.database, server_id)))
    if (request.method, request.name) == FIRST and caller.is_trial:
        with service.database.reading() as session:
            site_id = session.get_one(Server, server_id).sync_id
        # The id of the site is made when it is met in earnest.
        return Answer(200, to_bytes({"id": "", "siteId": site_id}))
    call = CALLS[request.method, request.name]
    with _alone(server_id, request.name), Turn() as turn:
        # Once the caller is known, since a stranger's body could fill the memory, and before the
        # transaction, so that no writer waits for it.
        content, sent = b"", JsonObject({})
        if (request.method, request.name) in WITH_BODY:
            turn.take_for(announced_bytes(request.headers.get("content-length", "")))
            content = request.read_body()
            sent = _read(content, request.headers.get("content-encoding", ""), turn)
        with service.database.writing() as session:
            _show_to_others(session, server_id, request.name)
            # A person may have typed the pair of another site: its machine then asks who it is,
            # finds the id of another site, and goes no further.
            goes_on = (request.method, request.name) != FIRST
            site = sites.admit(session, server_id, caller, binds=goes_on)
            answered = call(Calls(session, site, request.query, sent, service.initialises))
            body = Body(b"") if answered is None else _packed(answered, request)
            sites.count_bytes(session, site, len(content), len(body.content))
    return Answer(204 if answered is None else 200, body.content, body.encoding)


@contextmanager
def _trials_marked(caller: Caller) -> Iterator[None]:
    try:
        yield
    except SyncRefusal as refusal:
        # A connection test does not change the status of the satellite.
        refusal.is_trial = caller.is_trial
        raise


def _packed(answered: dict[str, Any], request: Request) -> Body:
    return write_body(answered, request.headers.get("accept-encoding", ""))


def _read(content: bytes, encoding: str, turn: Turn) -> JsonObject:
    try:
        return read_object(unpack(content, encoding, LARGEST_BODY_BYTES, turn))
    except TooManyElements as error:
        raise BadMessage(f"more than {MOST_ELEMENTS} values") from error
    except TooLarge as error:
        raise BadMessage(f"larger than {LARGEST_BODY_BYTES} bytes") from error
    except UnknownEncoding as error:
        raise BadMessage(f"in an unknown encoding, {error}") from error
    except Garbled as error:
        raise BadMessage(f"damaged: {error}") from error


# --- one call at a time for each site ------------------------------------------------------------

_under_way: dict[int, str] = {}
_under_way_lock = Lock()


@contextmanager
def _alone(server_id: int, name: str) -> Iterator[None]:
    with _under_way_lock:
        if server_id in _under_way:
            raise SyncRefusal("sync_is_running")
        _under_way[server_id] = name
    try:
        yield
    finally:
        with _under_way_lock:
            del _under_way[server_id]


def _show_to_others(session: Session, server_id: int, name: str) -> None:
    """Let other processes know of the call until the transaction ends. Raise SyncRefusal.

    SQLite needs none of it: its other writers wait.
    """
    if session.get_bind().dialect.name == "postgresql":
        lock = func.pg_try_advisory_xact_lock(_LOCKS.get(name, _OTHER_LOCK), server_id)
        if not session.scalar(select(lock)):
            raise SyncRefusal("sync_is_running")


def _elsewhere(database: Database, server_id: int) -> str | None:
    """Return the name of the call of a site that another process answers, None if none does."""
    if database.engine.dialect.name != "postgresql":
        return None
    with database.reading() as session:
        held = session.scalar(_HELD, {"site": server_id, "locks": [*_LOCKS.values(), _OTHER_LOCK]})
    return {lock: name for name, lock in _LOCKS.items()}.get(held, "other") if held else None


# Arbitrary numbers, which no other program on the same PostgreSQL is likely to use.
_LOCKS = {"initialise": 1_306_851_241, "queued_records": 1_306_851_242}
_OTHER_LOCK = 1_306_851_243
_HELD = text(
    "SELECT classid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND objid::bigint = :site AND classid::bigint = ANY(:locks) LIMIT 1"
)


def _status_of(database: Database, server_id: int) -> dict[str, Any]:
    codes = {
        None: ("idle", "Nothing is under way."),
        "initialise": ("initialisation_in_progress", "The records of this site are being queued."),
        "queued_records": ("integration_in_progress", "A batch is being stored."),
    }
    other = ("sync_is_running", "A call of this site is under way.")
    name = _under_way.get(server_id) or _elsewhere(database, server_id)
    code, message = codes.get(name, other)
    return {"code": code, "message": message, "data": None}
