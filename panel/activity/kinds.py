"""What leaves a row of Activity, and the words for each."""

from collections.abc import Mapping
from enum import StrEnum

from panel.i18n import Message, say


class What(StrEnum):
    """Everything that leaves a row."""

    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    UNLOCKED = "unlocked"
    WRONG_CODE = "wrong_code"
    LOCKED_NOW = "locked_now"
    REFUSED_LOCKED = "refused_locked"
    REFUSED_PERMISSION = "refused_permission"
    REFUSED_TOO_MANY = "refused_too_many"
    CODE_SET = "code_set"
    INTERVAL_CHANGED = "interval_changed"
    PARAMETERS_CHANGED = "parameters_changed"
    PASSWORD_REMOVED = "password_removed"  # noqa: S105 - what happened, no password
    URL_CLEARED = "url_cleared"
    SERVER_ADDED = "server_added"
    SERVER_CHANGED = "server_changed"
    SERVER_REMOVED = "server_removed"
    SERVER_RESTORED = "server_restored"
    HARDWARE_BOUND = "hardware_bound"
    HARDWARE_CLEARED = "hardware_cleared"
    PERSON_ADDED = "person_added"
    PERSON_CHANGED = "person_changed"
    PERSON_DISABLED = "person_disabled"
    PERSON_ENABLED = "person_enabled"
    PASSWORD_SET = "password_set"  # noqa: S105 - what happened, no password
    IMPORTED = "imported"
    EXPORTED_SECRETS = "exported_secrets"
    TOKEN_ADDED = "token_added"  # noqa: S105 - what happened, no token
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - what happened, no token
    SYNC_ASKED = "sync_asked"
    INITIALISE_ASKED = "initialise_asked"
    SYNC_REFUSED = "sync_refused"
    SET_ASIDE_RETRIED = "set_aside_retried"
    SET_ASIDE_LEFT_OUT = "set_aside_left_out"


_PHRASES: Mapping[str, Message] = {
    What.SIGNED_IN: say("signed in"),
    What.SIGN_IN_FAILED: say("failed to sign in"),
    What.SIGNED_OUT: say("signed out"),
    What.UNLOCKED: say("unlocked the parameters"),
    What.WRONG_CODE: say("gave a wrong authorisation code"),
    What.LOCKED_NOW: say("locked the parameters"),
    What.REFUSED_LOCKED: say("was refused: the parameters were locked"),
    What.REFUSED_PERMISSION: say("was refused: no permission"),
    What.REFUSED_TOO_MANY: say("was refused: too many wrong tries"),
    What.CODE_SET: say("set the authorisation code"),
    What.INTERVAL_CHANGED: say("changed the sync time interval"),
    What.PARAMETERS_CHANGED: say("changed the parameters"),
    What.PASSWORD_REMOVED: say("removed a password"),
    What.URL_CLEARED: say("cleared a URL"),
    What.SERVER_ADDED: say("added a server"),
    What.SERVER_CHANGED: say("changed a server"),
    What.SERVER_REMOVED: say("removed a server"),
    What.SERVER_RESTORED: say("put a removed server back"),
    What.HARDWARE_BOUND: say("was bound to a machine"),
    What.HARDWARE_CLEARED: say("cleared a Hardware ID"),
    What.PERSON_ADDED: say("added a person"),
    What.PERSON_CHANGED: say("changed a person's permissions"),
    What.PERSON_DISABLED: say("disabled a person"),
    What.PERSON_ENABLED: say("enabled a person"),
    What.PASSWORD_SET: say("set a person's password"),
    What.IMPORTED: say("imported preferences"),
    What.EXPORTED_SECRETS: say("exported preferences with secrets"),
    What.TOKEN_ADDED: say("added an application's token"),
    What.TOKEN_REVOKED: say("revoked an application's token"),
    What.SYNC_ASKED: say("asked to sync now"),
    What.INITIALISE_ASKED: say("asked to initialise"),
    What.SYNC_REFUSED: say("was refused a sync"),
    What.SET_ASIDE_RETRIED: say("tried a record set aside again"),
    What.SET_ASIDE_LEFT_OUT: say("left out a record set aside"),
}


def describe(what: str) -> Message:
    """Return ``what`` as people read it after a name: "asha *signed in*"."""
    return _PHRASES.get(what, Message(what))
