"""The stable codes of refusals, faults and problems, with their HTTP status and explanations.

Codes that begin with ``site_``, ``api_`` or ``sync_is`` are those of mSupply Sync v5, the others
are our own. :func:`explain` returns what a code means to people, and what to do next.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from panel.i18n import Message, say

# The HTTP status of each code that a primary refuses a call with.
STATUS = {
    "bad_request": 400,
    "site_name_not_found": 401,
    "site_incorrect_password": 401,
    "site_incorrect_hardware_id": 401,
    "site_has_no_store": 401,
    "device_token_ended": 401,
    # The password does not do for this row: it belongs to the machine with its device token.
    "device_token_needed": 401,
    # Of who joins.
    "setup_unknown": 401,
    "setup_ended": 401,
    "setup_revoked": 401,
    "setup_used": 401,
    "waiting_to_be_added": 403,
    "sync_disabled": 403,
    "not_a_primary": 403,
    "api_version_incompatible": 409,
    "identity_differs": 409,
    "initialise_needed": 409,
    # One side was restored from a backup: the values say from where to go on.
    "history_differs": 409,
    "two_machines": 409,
    # The digest of the identity is unknown: send the identity in full.
    "identity_wanted": 409,
    # The record changed while it went in parts, or another one is under way.
    "part_ended": 410,
    "too_many_tries": 429,
    "site_auth_timeout": 503,
    "disk_full": 503,
    "sync_is_running": 503,
    "sync_paused": 503,
    "initialise_later": 503,
}

# The reason of a run that a person ended, or whose parameters a person changed meanwhile.
STOPPED_BY_HAND = "stopped_by_hand"

# The fault of a message that a proxy on the way does not take, and the reason of a record that is
# too large for it by itself.
TOO_LARGE = "too_large_for_the_way"

# The pair that a satellite sends is not the one that the primary knows.
WRONG_PAIR = frozenset({"site_name_not_found", "site_incorrect_password"})

# Refusals that pass or that somebody at the primary may put right: a satellite tries them again.
PASSING = WRONG_PAIR | frozenset(
    {
        "site_incorrect_hardware_id",
        "site_has_no_store",
        "identity_differs",
        "not_a_primary",
        "api_version_incompatible",
        "bad_request",
        "waiting_to_be_added",
        "sync_disabled",
        "sync_paused",
        "sync_is_running",
        "site_auth_timeout",
        "disk_full",
        "too_many_tries",
        "two_machines",
        "device_token_needed",
        "initialise_later",
        "part_ended",
    }
)


# Those of them that pass without anybody.
PASSING_BY_ITSELF = frozenset(
    {"sync_is_running", "site_auth_timeout", "initialise_later", "part_ended"}
)


class SyncRefusal(Exception):
    """A primary refuses a call with a code of :data:`STATUS`, or of a newer primary.

    The caller is sent ``values``, so nothing in them is secret from it.
    """

    def __init__(self, code: str, /, **values: Any) -> None:
        super().__init__(code)
        self.code = code
        self.values = values
        # The id of the caller's row, once its credentials were checked.
        self.server_id: int | None = None
        # A connection test, which is not recorded.
        self.is_trial = False

    @property
    def status(self) -> int:
        """Return the HTTP status that goes with the code."""
        return STATUS[self.code]


@dataclass(frozen=True)
class Reason:
    """The explanation of a code: what the problem is, and what to do next."""

    what: Message
    next: Message


# In the place of a value that the other server did not send.
_UNKNOWN_VALUE = "?"
_VALUES = (
    *("host", "why", "status", "location", "owner", "seconds", "sync_id"),
    *("what", "oldest", "newest", "code", "since", "records", "primary"),
)

_BY_ITSELF = say("Nothing has to be done: it is tried again by itself.")
_LINE = say("Check that this machine is on line. It is tried again by itself.")
_PROXY = say(
    "Check the Proxy in the parameters, or if it is empty HTTPS_PROXY, HTTP_PROXY and NO_PROXY of "
    "the service."
)
_FILL_IN = say("Un-lock and fill it in under Synchronise parameters.")

REASONS: Mapping[str, Reason] = {
    # --- the line ---------------------------------------------------------------------------------
    "name_not_found": Reason(
        say("The name %(host)s was not found."),
        say("Check the URL for a slip, then the internet connection of this machine."),
    ),
    "trial_under_way": Reason(
        say("Another trial of the connection is under way."),
        say("Try again in half a minute."),
    ),
    "timed_out": Reason(
        say("%(host)s did not answer in time."),
        say("The line is down or very slow, or the URL is wrong. It is tried again by itself."),
    ),
    "connection_refused": Reason(
        say("%(host)s cannot be reached, or nothing listens there."),
        say("Check the URL and its port, and that the primary is running."),
    ),
    "certificate": Reason(
        say("The certificate of %(host)s is not to be trusted: %(why)s."),
        say(
            "Check the URL and the date of this machine. If the primary has a certificate of its "
            "own making, give its fingerprint or authority in the parameters."
        ),
    ),
    "cut_off": Reason(say("The line to %(host)s broke."), _LINE),
    "no_tls": Reason(
        say("%(host)s does not speak https at this port."),
        say("Begin the URL with http://, or correct its port."),
    ),
    "tls_wanted": Reason(
        say("%(host)s speaks only https at this port."),
        say("Begin the URL with https://."),
    ),
    "line_sign_in": Reason(
        say("The internet line wants a sign-in first (HTTP 511)."),
        say("Open any web page on this computer and sign in. It is then tried again by itself."),
    ),
    "too_many_requests": Reason(
        say("Something on the way lets no more requests through for now (HTTP 429)."), _BY_ITSELF
    ),
    "proxy_unreachable": Reason(say("The proxy %(host)s cannot be reached."), _PROXY),
    "proxy_refuses": Reason(
        say("The proxy %(host)s does not let this server through (HTTP %(status)s)."), _PROXY
    ),
    "server_error": Reason(
        say("The primary had a problem of its own (HTTP %(status)s)."),
        say("It is tried again by itself. If it lasts, tell whoever looks after the primary."),
    ),
    TOO_LARGE: Reason(
        say("It is too large for the way to the primary: a proxy there refuses it (HTTP 413)."),
        say(
            "Ask whoever looks after the proxy to allow bodies of 16 MiB, or make the record "
            "smaller. It is tried again in every run, and holds up no other."
        ),
    ),
    "redirected": Reason(
        say("The address leads elsewhere, to %(location)s."),
        say("If that is the primary, make it the URL. It may also be a sign-in page of the line."),
    ),
    "not_a_sync_server": Reason(
        say("Something answers at this address, but it is no sync server."),
        say("Check the URL, its path too. It may also be a sign-in page of the internet line."),
    ),
    "stopped": Reason(
        say("The program or the machine was stopped while it ran."),
        say("The next run goes on where this one was."),
    ),
    STOPPED_BY_HAND: Reason(
        say("It was stopped here, or its parameters were changed."),
        say("The next run goes on where this one was."),
    ),
    "central_busy": Reason(say("The central server did not finish what it was told."), _BY_ITSELF),
    "integration_not_started": Reason(
        say("The central server has the records, but did not begin to take them in."), _BY_ITSELF
    ),
    "internal_error": Reason(
        say("The sync met a problem that nobody thought of."),
        say("It is tried again by itself. If it lasts, look into the log of this server."),
    ),
    # --- what the primary refuses -----------------------------------------------------------------
    "site_name_not_found": Reason(
        say("The primary does not know this User name."),
        say("Compare the User name on both servers."),
    ),
    "site_incorrect_password": Reason(
        say("The Password is wrong."),
        say("Type it again on the satellite. If it is not known, set a new one on both servers."),
    ),
    "site_incorrect_hardware_id": Reason(
        say("At the primary this Sync ID belongs to another machine."),
        say(
            "If the satellite moved to a new machine, un-lock the primary and clear the "
            "Hardware ID of its row. If not, two machines use one Sync ID: give one another."
        ),
    ),
    "site_has_no_store": Reason(
        say("The satellite has no Store."), say("Fill in Store on the satellite.")
    ),
    "identity_differs": Reason(
        say("The two servers do not agree on who they are."),
        say("Find out which is right, and change the other."),
    ),
    "setup_unknown": Reason(
        say("The primary does not know this set-up."),
        say("Compare the characters and the URL, or ask for a new set-up at the primary."),
    ),
    "setup_ended": Reason(
        say("This set-up has ended: it was good for 14 days."),
        say("Ask for a new one at the primary."),
    ),
    "setup_revoked": Reason(
        say("This set-up was revoked: a newer one took its place, or its server was removed."),
        say("Use the newest one, or ask for a new one at the primary."),
    ),
    "setup_used": Reason(
        say("This set-up was used already: it is good once, for one computer."),
        say("Ask for a new one at the primary."),
    ),
    "waiting_to_be_added": Reason(
        say(
            "The primary has no server with Sync ID %(sync_id)s: after a sync it waits there to be "
            "added."
        ),
        say("Ask whoever looks after the primary to add it, or correct the Sync ID."),
    ),
    "sync_disabled": Reason(
        say("Sync is disabled on the primary, because a URL is set there."),
        say("On the primary, clear the URL that its page names."),
    ),
    "sync_paused": Reason(
        say("Sync is paused on the primary: its interval is 0."),
        say("On the primary, set an interval above 0."),
    ),
    "not_a_primary": Reason(
        say("The server at this address is not a primary."),
        say("Check the URL; the primary is the server with Sync ID 1."),
    ),
    "api_version_incompatible": Reason(
        say("The two servers' versions do not understand each other."),
        say("Bring the older of the two up to date."),
    ),
    "initialise_needed": Reason(
        say("The primary no longer has all that this satellite missed."),
        say("On the satellite, un-lock and press Initialise. Nothing of its own is lost."),
    ),
    # Why a site of mSupply has to initialise, to the primary.
    "site_restored": Reason(
        say("The site was restored from a backup: it asks for what it had already."),
        say(
            "At the site, delete its data folder and initialise again. It gets back all that it "
            "had sent."
        ),
    ),
    "deletes_missed": Reason(
        say("The site was away for longer than deletions are kept."),
        say(
            "At the site, delete its data folder and initialise again. It gets back all that it "
            "had sent."
        ),
    ),
    "sent_to_lost_past": Reason(
        say(
            "This server was restored from a backup. What the site sent after %(since)s may be "
            "missing here, and the site does not send it again."
        ),
        say(
            "At the site, save such records once more, so that they are sent again. Do not "
            "initialise it: they are only there. Then clear the Hardware ID of this row."
        ),
    ),
    "another_past": Reason(
        say("The site has read further than this server ever told: one was restored or replaced."),
        say(
            "Restore a newer backup of this server, if there is one. Else the site has to "
            "initialise again, and what it sent since the backup is lost with its data folder."
        ),
    ),
    "history_differs": Reason(
        say("The two servers do not find what they last had in common."),
        say("On the satellite, un-lock and press Initialise. Nothing of its own is lost."),
    ),
    "two_machines": Reason(
        say("Two computers use Sync ID %(sync_id)s: one is a copy of the other."),
        say(
            "Switch one of them off, or give it a Sync ID of its own. Then clear the Hardware ID "
            "of the row on the primary."
        ),
    ),
    "initialise_later": Reason(
        say("The primary hands out everything to other satellites at this moment."), _BY_ITSELF
    ),
    "removal_needs_consent": Reason(
        say("%(records)s records that are here are not at %(primary)s: they would be removed."),
        say(
            "If that is the right primary, un-lock, press Initialise and agree to it. If not, "
            "correct the URL. What is removed is kept aside for a while."
        ),
    ),
    "too_many_tries": Reason(
        say("Too many wrong passwords came from this address."),
        say("Correct the User name and Password, and wait %(seconds)s seconds."),
    ),
    "site_auth_timeout": Reason(say("The primary is too busy at this moment."), _BY_ITSELF),
    "disk_full": Reason(
        say("The disk of the primary is full."),
        say("Tell whoever looks after the primary. Once it has room, this goes on by itself."),
    ),
    "sync_is_running": Reason(
        say("The primary still works on an earlier request of this satellite."), _BY_ITSELF
    ),
    "part_ended": Reason(say("A large record changed while it was on its way."), _BY_ITSELF),
    "device_token_ended": Reason(
        say("The primary ended this machine's access."),
        say("Press Sync now: the machine asks again with its User name and Password."),
    ),
    "device_token_needed": Reason(
        say(
            "At the primary this Sync ID belongs to a machine with a token of its own, and the "
            "call came with the password alone."
        ),
        say(
            "If the satellite was set up anew, un-lock the primary and clear the Hardware ID of "
            "its row. If it was not, somebody else calls as this satellite: change the password."
        ),
    ),
    "bad_request": Reason(
        say("The primary did not understand the request (%(what)s)."),
        say("Bring both servers to the same version."),
    ),
    # --- what is missing here ---------------------------------------------------------------------
    "no_url": Reason(say("The URL of the primary is empty."), _FILL_IN),
    "no_pair": Reason(say("The User name or the Password is not set."), _FILL_IN),
    "no_primary": Reason(
        say("The primary is not in the list of servers."),
        say("Un-lock and add it with +: Sync ID 1, its Name and its Store."),
    ),
    "not_a_satellite": Reason(
        say("This server is not a satellite, so it goes to no other server."),
        say("A satellite has a Sync ID above 1."),
    ),
    "no_room": Reason(
        say("Nothing more can be saved on this server; what is here is whole."),
        say("Make room on the disk of its database: it then goes on by itself."),
    ),
    "password_unreadable": Reason(
        say("The Password cannot be read: this installation's secret key is another one."),
        say("Un-lock and type the Password again."),
    ),
    # --- records set aside ------------------------------------------------------------------------
    "not_the_owner": Reason(
        say("It belongs to server %(owner)s, which did not send it."),
        say("Two servers may use one Sync ID: compare them. If not, leave it out."),
    ),
    "owned_by_another": Reason(
        say("There is a record of this name here that belongs to server %(owner)s."),
        say("Give one of the two another id in the application that made it, or leave it out."),
    ),
    "unreadable": Reason(
        say("It cannot be kept as it is (%(what)s)."),
        say("In the application, put it right, or leave it out."),
    ),
    "replaced": Reason(
        say("It was written on two computers, or before and after a backup was restored."),
        say("The other content is in use. Put this one back, or leave it out."),
    ),
    "removed": Reason(
        say("The primary does not have it any more."),
        say("Put it back, or leave it out: it is kept for a while."),
    ),
    "no_such_addressee": Reason(
        say("It is addressed to server %(sync_id)s, which the primary does not have in its list."),
        say(
            "On the primary, add that server: the record then goes on at the next sync. If the "
            "number is wrong, leave it out and make a new one."
        ),
    ),
    "archived": Reason(
        say("There is an archived record of this name, of an earlier server %(owner)s."),
        say("Give it another id in the application that made it, or leave it out."),
    ),
    "address_archived": Reason(
        say("It is addressed to an earlier server %(sync_id)s, which is gone."),
        say("In the application, delete it and make a new one, or leave it out."),
    ),
    "address_fixed": Reason(
        say("It was addressed to another server before, and cannot change that."),
        say("In the application, delete it and make a new one, or leave it out."),
    ),
}


def explain(
    code: str,
    values: Mapping[str, Any] | None = None,
    others: Mapping[str, Reason] = MappingProxyType({}),
) -> Reason:
    """Return the explanation of ``code`` with its ``values``; of an unknown one, with the code.

    A code may be explained more closely by the ``reason`` among its values. ``others`` has the
    words for readers who see another screen than ours.
    """
    names = [name for name in ((values or {}).get("reason"), code) if isinstance(name, str)]
    known_reasons = {**REASONS, **others}
    reason = next((known_reasons[name] for name in names if name in known_reasons), None)
    if reason is None:
        return Reason(
            say("The reason given is “%(code)s”.", code=code),
            say("Bring both servers to the same version, and look into the log."),
        )
    known = {**dict.fromkeys(_VALUES, _UNKNOWN_VALUE), **(values or {})}
    return Reason(_filled(reason.what, known), _filled(reason.next, known))


def _filled(message: Message, values: Mapping[str, Any]) -> Message:
    # Only the values that the sentence names, of all that the other server sent.
    named = {name: values[name] for name in _VALUES if f"%({name})s" in message.text}
    return Message(message.text, named)
