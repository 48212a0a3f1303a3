"""Why a verb did not do what it was asked: a code for programs, and words for people.

The web answers each with its ``status`` and the form again, the command line with the words and
exit code 1, the sync service with its protocol's error. A verb that raises has changed nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from panel.i18n import Message, say


class Refusal(Exception):
    """The base of all: an act that was refused, its stable ``code`` and the reason in words."""

    status = 400
    code = "refused"

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return str(self.message)


class Invalid(Refusal):
    """One or more values cannot stand; ``problems`` has a reason for each field by its name."""

    status = 422
    code = "invalid"

    def __init__(self, problems: Mapping[str, Message]) -> None:
        super().__init__(next(iter(problems.values())))
        self.problems = dict(problems)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {reason}" for name, reason in self.problems.items())


class NeedsConfirmation(Refusal):
    """Nothing is wrong, but what follows is serious: ``acts`` says what must be confirmed."""

    status = 422
    code = "needs_confirmation"

    def __init__(self, acts: Mapping[str, Message]) -> None:
        super().__init__(next(iter(acts.values())))
        self.acts = dict(acts)


@dataclass(frozen=True)
class Difference:
    """One field that somebody changed since the form was opened (secrets say *changed*)."""

    field: str
    was: object
    became: object
    person: str
    at: datetime


class Conflict(Refusal):
    """Somebody saved first: ``differences`` says who changed what; ``version`` is to save on."""

    status = 409
    code = "changed_meanwhile"

    def __init__(self, differences: Sequence[Difference], version: int) -> None:
        super().__init__(say("Somebody changed this while you were typing."))
        self.differences = list(differences)
        self.version = version


class Locked(Refusal):
    """The act needs the authorisation code, and the lock is closed."""

    status = 403
    code = "locked"


class NotPermitted(Refusal):
    """The person may not do this, whatever the lock says."""

    status = 403
    code = "not_permitted"


class NotFound(Refusal):
    """What was named is not (or no longer) here."""

    status = 404
    code = "not_found"


class Throttled(Refusal):
    """Too many wrong tries; ``until`` says when the next one is heard."""

    status = 429
    code = "too_many_tries"

    def __init__(self, message: Message, until: datetime) -> None:
        super().__init__(message)
        self.until = until
