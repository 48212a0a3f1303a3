"""Which protocol a primary speaks, found out without changing anything there or here."""

from collections.abc import Iterator
from contextlib import contextmanager

from panel.sync.msupply_v5.client import About, Central
from panel.sync.protocol.error_codes import STATUS, SyncRefusal
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import Mode, Request
from panel.sync.satellite.sync_settings import Orders
from panel.sync.transport import exchange_client
from panel.sync.transport.http import LinkFault, Transport

# What a server answers that does not know the address of our own protocol.
_NOT_THERE = "not_a_sync_server"


def knock(line: Transport, orders: Orders) -> str:
    """Return "own" or "v5", whichever the primary speaks and the preferences allow; ours first.

    The password is sent and not the token, since it is the password that somebody typed. Raise
    SyncRefusal or LinkFault where we are not let in.
    """
    if orders.protocol != "v5":
        try:
            request = Request(orders.about, mode=Mode.TEST)
            exchange_client.exchange(line, orders.pair, "", orders.about, request)
            return "own"
        except (SyncRefusal, LinkFault) as problem:
            if orders.protocol == "own" or problem.code != _NOT_THERE:
                raise
    with as_faults():
        check_site(Central(line, orders).site(), orders)
    return "v5"


def find_protocol(line: Transport, orders: Orders) -> str:
    """Return "own" or "v5", whichever the primary speaks, whether or not it lets us in.

    Where it does not, the run that follows is told so, and the primary writes it down. Raise
    LinkFault, or SyncRefusal where the answer is nothing that our own protocol says.
    """
    try:
        request = Request(orders.about, mode=Mode.TEST)
        exchange_client.exchange(line, orders.pair, "", orders.about, request)
    except SyncRefusal as refusal:
        if refusal.code not in STATUS:
            raise
    except LinkFault as fault:
        if fault.code != _NOT_THERE:
            raise
        return "v5"
    return "own"


def check_site(about: About, orders: Orders, known_uuid: str = "") -> None:
    """Raise SyncRefusal if the central server takes us for another site, or is another one."""
    if about.sync_id != orders.sync_id:
        raise SyncRefusal(
            "identity_differs", differences=[["sync_id", about.sync_id, orders.sync_id]]
        )
    if known_uuid and about.uuid != known_uuid:
        raise SyncRefusal("initialise_needed")


@contextmanager
def as_faults() -> Iterator[None]:
    """Turn an answer that is not v5's into the fault that it is."""
    try:
        yield
    except BadMessage as error:
        raise LinkFault("not_a_sync_server") from error
