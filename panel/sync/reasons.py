"""What happened and what to do next, in words, for every code that the sync writes down."""

from collections.abc import Mapping
from typing import Any

from panel.words import Message, say

# Refusals that pass by themselves: the satellite tries again, as after a fault of the line.
PASSING = frozenset({"sync_is_running", "sync_paused", "site_auth_timeout", "too_many_tries"})

_PLAIN: Mapping[str, Message] = {
    # --- the line
    "timed_out": say(
        "%(host)s did not answer in time. Check the line and the URL; it is tried again by itself."
    ),
    "connection_refused": say(
        "%(host)s could not be reached, or nothing listens there. "
        "Check that the primary runs, the port in the URL, and firewalls on the way."
    ),
    "name_not_found": say(
        "The name %(host)s was not found. Check the URL for typing mistakes, "
        "and that this machine has a name server and is online."
    ),
    "certificate": say(
        "The certificate of %(host)s is not trusted (%(why)s). If the primary has a certificate "
        "of its own, enter its authority or its fingerprint in the parameters."
    ),
    "cut_off": say(
        "The line to %(host)s broke. Nothing is lost: the next run goes on where this one was."
    ),
    "server_error": say(
        "The primary, or a proxy before it, answered with error %(status)s. "
        "If that goes on, look at the primary's log."
    ),
    "not_a_sync_server": say(
        "Something answers at this URL, but no Sync Panel. "
        "Check the URL, the path too, with whoever runs the primary."
    ),
    "redirected": say(
        "The URL leads elsewhere, to %(location)s. If that is the primary, enter it as the URL."
    ),
    "stopped": say(
        "The program was stopped meanwhile. Nothing is lost: the next run goes on from there."
    ),
    # --- who calls
    "site_name_not_found": say(
        "The primary does not know this User name. Enter the one that the primary shows, "
        "or the one of this server's own row there."
    ),
    "site_incorrect_password": say("The Password is wrong. Enter the one set on the primary."),
    "site_incorrect_hardware_id": say(
        "The primary has this Sync ID bound to another machine. If this machine took its place, "
        "press Clear at its Hardware ID in the primary's list."
    ),
    "site_has_no_store": say("This server states no store. Enter the Store in the parameters."),
    "device_token_ended": say(
        "The primary ended this device's token. The next run signs in with the password."
    ),
    "waiting_to_be_added": say(
        "The primary does not list this Sync ID yet. It now waits there to be added."
    ),
    "too_many_tries": say(
        "Too many wrong tries came from this address. The primary hears it again later."
    ),
    "identity_wanted": say("The primary asked for this server's whole identity, twice."),
    # --- what the primary's preferences say
    "sync_disabled": say(
        "Sync is disabled on the primary, because a URL is set there. Clear it on the primary."
    ),
    "sync_paused": say(
        "Sync is paused on the primary, whose interval is 0. It is tried again by itself."
    ),
    "not_a_primary": say(
        "The server at this URL is no primary: its Sync ID is not 1. Check the URL."
    ),
    "sync_is_running": say(
        "The primary is still busy with this server's last sync. It is tried again by itself."
    ),
    "site_auth_timeout": say(
        "The primary could not check the password in time. It is tried again by itself."
    ),
    "initialise_needed": say(
        "One of the two servers does not remember the last sync: it was restored from a backup, "
        "or this one was away too long. Press Initialise; what is new here is pushed after it."
    ),
    # --- what the preferences here lack
    "not_a_satellite": say("This server is no satellite, so it goes nowhere to synchronise."),
    "no_url": say("The URL of the primary is empty. Enter it in the parameters."),
    "no_pair": say("The User name or the Password is not set. Enter them in the parameters."),
    "no_primary": say("The primary is not in the list of servers. Add it, with Sync ID 1."),
    "password_unreadable": say(
        "The key that sealed the Password is gone, so it cannot be sent. Enter it again."
    ),
    "bad_request": say(
        "The primary did not understand this server (%(what)s). Update the older of the two."
    ),
    "api_version_incompatible": say(
        "The primary speaks versions %(oldest)s to %(newest)s of the protocol, this server "
        "version %(theirs)s. Update the older of the two."
    ),
    # --- records set aside
    "owned_by_another": say(
        "Server %(owner)s has a record with this table and id. One of the two has to get "
        "another id."
    ),
    "not_the_owner": say("It says that server %(owner)s owns it, which did not send it."),
    "address_fixed": say(
        "It is addressed to another server than before. Delete it, and write it under another id."
    ),
}

_LABELS: Mapping[str, Message] = {
    "sync_id": say("Sync ID"),
    "name": say("Name"),
    "store": say("Store"),
    "primary_name": say("Name of the primary"),
    "primary_store": say("Store of the primary"),
}


def explain(code: str, values: Mapping[str, Any] | None = None) -> Message:
    """Return the sentences for ``code``; another server's unknown code is shown as it is."""
    values = values or {}
    if code == "identity_differs":
        return _identity_differs(values)
    plain = _PLAIN.get(code)
    if plain is None:
        return say("The primary refused with the code %(code)s.", code=code)
    # The values may come from another server: some may be missing, or long.
    places = [part.split(")")[0] for part in plain.text.split("%(")[1:]]
    return Message(plain.text, {name: str(values.get(name, "?"))[:200] for name in places})


def label(field: str) -> Message:
    """Return what the screen calls a ``field`` of an identity."""
    return _LABELS.get(field, Message(field))


def _identity_differs(values: Mapping[str, Any]) -> Message:
    parts = [
        f"{label(field)}: {at_primary} / {at_satellite}"
        for field, at_primary, at_satellite in values.get("differences") or []
    ]
    return say(
        "The two servers do not agree on who they are (at the primary / at the satellite): "
        "%(differences)s. Correct one side, or use the other's.",
        differences="; ".join(parts),
    )
