"""The kinds of entries of Activity, and the words for each."""

from collections.abc import Mapping
from enum import StrEnum

from panel.i18n import Message, say


class EventKind(StrEnum):
    """The kinds of acts and refusals that are logged."""

    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    SESSION_ENDED = "session_ended"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - a kind of act, not a password
    TRIES_FORGIVEN = "tries_forgiven"
    CONNECTION_TESTED = "connection_tested"
    UNLOCKED = "unlocked"
    WRONG_CODE = "wrong_code"
    LOCKED_NOW = "locked_now"
    REFUSED_LOCKED = "refused_locked"
    REFUSED_PERMISSION = "refused_permission"
    REFUSED_TOO_MANY = "refused_too_many"
    CODE_SET = "code_set"
    INTERVAL_CHANGED = "interval_changed"
    PARAMETERS_CHANGED = "parameters_changed"
    PASSWORD_REMOVED = "password_removed"  # noqa: S105 - a kind of act, not a password
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
    PASSWORD_SET = "password_set"  # noqa: S105 - a kind of act, not a password
    IMPORTED = "imported"
    EXPORTED_SECRETS = "exported_secrets"
    TOKEN_ADDED = "token_added"  # noqa: S105 - a kind of act, not a token
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a kind of act, not a token
    SYNC_ASKED = "sync_asked"
    INITIALISE_ASKED = "initialise_asked"
    BACKUP_RESTORED = "backup_restored"
    SYNC_REFUSED = "sync_refused"
    SET_ASIDE_RETRIED = "set_aside_retried"
    SET_ASIDE_LEFT_OUT = "set_aside_left_out"


_PHRASES: Mapping[str, Message] = {
    EventKind.SIGNED_IN: say("signed in"),
    EventKind.SIGN_IN_FAILED: say("failed to sign in"),
    EventKind.SIGNED_OUT: say("signed out"),
    EventKind.SESSION_ENDED: say("ended a session"),
    EventKind.WRONG_PASSWORD: say("gave a wrong password"),
    EventKind.TRIES_FORGIVEN: say("let a person try again"),
    EventKind.CONNECTION_TESTED: say("tested the connection"),
    EventKind.UNLOCKED: say("unlocked the parameters"),
    EventKind.WRONG_CODE: say("gave a wrong authorisation code"),
    EventKind.LOCKED_NOW: say("locked the parameters"),
    EventKind.REFUSED_LOCKED: say("was refused: the parameters were locked"),
    EventKind.REFUSED_PERMISSION: say("was refused: no permission"),
    EventKind.REFUSED_TOO_MANY: say("was refused: too many wrong tries"),
    EventKind.CODE_SET: say("set the authorisation code"),
    EventKind.INTERVAL_CHANGED: say("changed the sync time interval"),
    EventKind.PARAMETERS_CHANGED: say("changed the parameters"),
    EventKind.PASSWORD_REMOVED: say("removed a password"),
    EventKind.URL_CLEARED: say("cleared a URL"),
    EventKind.SERVER_ADDED: say("added a server"),
    EventKind.SERVER_CHANGED: say("changed a server"),
    EventKind.SERVER_REMOVED: say("removed a server"),
    EventKind.SERVER_RESTORED: say("put a removed server back"),
    EventKind.HARDWARE_BOUND: say("was bound to a machine"),
    EventKind.HARDWARE_CLEARED: say("cleared a Hardware ID"),
    EventKind.PERSON_ADDED: say("added a person"),
    EventKind.PERSON_CHANGED: say("changed a person's permissions"),
    EventKind.PERSON_DISABLED: say("disabled a person"),
    EventKind.PERSON_ENABLED: say("enabled a person"),
    EventKind.PASSWORD_SET: say("set a person's password"),
    EventKind.IMPORTED: say("imported preferences"),
    EventKind.EXPORTED_SECRETS: say("exported preferences with secrets"),
    EventKind.TOKEN_ADDED: say("added an application's token"),
    EventKind.TOKEN_REVOKED: say("revoked an application's token"),
    EventKind.SYNC_ASKED: say("asked to sync now"),
    EventKind.INITIALISE_ASKED: say("asked to initialise"),
    EventKind.BACKUP_RESTORED: say("said that a backup was restored"),
    EventKind.SYNC_REFUSED: say("was refused a sync"),
    EventKind.SET_ASIDE_RETRIED: say("tried a record set aside again"),
    EventKind.SET_ASIDE_LEFT_OUT: say("left out a record set aside"),
}


def describe(what: str) -> Message:
    """Return the words for a kind as they follow a name: "asha *signed in*".

    An unknown kind, of another version of the panel, is returned as it is.
    """
    return _PHRASES.get(what, Message(what))
