"""The refusals of the panel: an exception with a stable code for programs and words for people.

The web answers with the HTTP ``status`` and the form, the command line with the words and exit
code 1, the sync service with its protocol's error. A function that raises one has changed nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from panel.i18n import Message, say


class Refusal(Exception):
    """The base class: a refused act, with its stable ``code`` and the reason in words."""

    status = 400
    code = "refused"

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return str(self.message)


class Invalid(Refusal):
    """One or more values are invalid; ``problems`` maps each field's name to the reason."""

    status = 422
    code = "invalid"

    def __init__(self, problems: Mapping[str, Message]) -> None:
        super().__init__(next(iter(problems.values())))
        self.problems = dict(problems)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {reason}" for name, reason in self.problems.items())


@dataclass(frozen=True)
class Choice:
    """A question with several answers, of which one is confirmed: each act and its words."""

    question: Message
    acts: Mapping[str, Message]


class NeedsConfirmation(Refusal):
    """The act is valid but serious; ``acts`` maps each act to confirm to its warning.

    Of the acts of ``choice`` exactly one is to be confirmed as well.
    """

    status = 422
    code = "needs_confirmation"

    def __init__(self, acts: Mapping[str, Message], choice: Choice | None = None) -> None:
        super().__init__(choice.question if choice else next(iter(acts.values())))
        self.acts = dict(acts)
        self.choice = choice


@dataclass(frozen=True)
class Difference:
    """One field that somebody changed since the form was opened (a secret reads *changed*)."""

    field: str
    was: object
    became: object
    person: str
    at: datetime


class Conflict(Refusal):
    """Somebody else saved first: ``differences`` lists the changes up to ``version``."""

    status = 409
    code = "changed_meanwhile"

    def __init__(self, differences: Sequence[Difference], version: int) -> None:
        super().__init__(say("Somebody changed this while you were typing."))
        self.differences = list(differences)
        self.version = version


class Locked(Refusal):
    """The act needs an unlock with the authorisation code, and there is none."""

    status = 403
    code = "locked"


class NotPermitted(Refusal):
    """The person lacks the permission, locked or not."""

    status = 403
    code = "not_permitted"


class NotFound(Refusal):
    """The named thing does not exist, or no longer."""

    status = 404
    code = "not_found"


class Throttled(Refusal):
    """Too many failed attempts; further ones are refused unheard until ``until``."""

    status = 429
    code = "too_many_tries"

    def __init__(self, message: Message, until: datetime) -> None:
        super().__init__(message)
        self.until = until
