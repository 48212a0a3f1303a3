"""Why a primary does not do what a caller asks: a stable code, its HTTP status, and values.

The codes that begin with ``site_``, ``api_`` or ``sync_is`` are those of mSupply Sync v5, the rest
are our own. What each means to people, and what to do next, is in
:mod:`panel.sync.protocol.explanations`.
"""

from typing import Any

STATUS = {
    "bad_request": 400,
    "site_name_not_found": 401,
    "site_incorrect_password": 401,
    "site_incorrect_hardware_id": 401,
    "site_has_no_store": 401,
    "device_token_ended": 401,
    "waiting_to_be_added": 403,
    "sync_disabled": 403,
    "not_a_primary": 403,
    "api_version_incompatible": 409,
    "identity_differs": 409,
    "initialise_needed": 409,
    # The digest of the identity is not the one known: send it in full.
    "identity_wanted": 409,
    "too_many_tries": 429,
    "site_auth_timeout": 503,
    "sync_is_running": 503,
    "sync_paused": 503,
}

# What somebody at the primary puts right, or what passes: the satellite goes on asking.
PASSING = frozenset(
    {
        "waiting_to_be_added",
        "sync_disabled",
        "sync_paused",
        "sync_is_running",
        "site_auth_timeout",
        "too_many_tries",
    }
)


class SyncRefusal(Exception):
    """A primary refuses a caller, who gets ``values``: nothing that is a secret to them."""

    def __init__(self, code: str, /, **values: Any) -> None:
        super().__init__(code)
        self.code = code
        self.values = values
        # The row of the caller, once it is known that it speaks for it.
        self.server_id: int | None = None
        # Somebody only tries whether a sync would be let in: nothing of it is written down.
        self.is_trial = False

    @property
    def status(self) -> int:
        """Return the HTTP status that goes with the code."""
        return STATUS[self.code]
