"""The refusals of the panel: exceptions with a stable code for programs, and a sentence for people.

The web answers with the HTTP ``status`` and the form. The command line prints the sentence and
exits with 1. The sync service answers with an error of its protocol. A function that raises a
refusal has changed nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from panel.i18n import Message, say

Item = TypeVar("Item")
Result = TypeVar("Result")


class Refusal(Exception):
    """The base class: a refused act, with its stable ``code`` and the reason as a sentence.

    ``line`` is the number of the refused one among many, from 1; None where it is about one only.
    """

    status = 400
    code = "refused"
    line: int | None = None

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return str(self.message)


def for_each(act: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what ``act`` returns for each of ``items``; a refusal gets the number of its line."""
    results: list[Result] = []
    try:
        for item in items:
            results.append(act(item))
    except Refusal as refusal:
        refusal.line = len(results) + 1
        raise
    return results


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
    """A question of which a person confirms one answer; ``acts`` maps each answer to its label."""

    question: Message
    acts: Mapping[str, Message]


class NeedsConfirmation(Refusal):
    """What was asked for is valid but serious, so a person has to confirm it first.

    ``acts`` maps the name of each act to confirm to its warning. Exactly one of the answers of
    ``choice``, if there is one, has to be confirmed as well.
    """

    status = 422
    code = "needs_confirmation"

    def __init__(self, acts: Mapping[str, Message], choice: Choice | None = None) -> None:
        super().__init__(choice.question if choice else next(iter(acts.values())))
        self.acts = dict(acts)
        self.choice = choice


@dataclass(frozen=True)
class Difference:
    """One change of a field since the form was opened: by which person, and when (UTC).

    The values of a secret are :data:`panel.activity.log.SECRET`.
    """

    field: str
    was: object
    became: object
    person: str
    at: datetime


class Conflict(Refusal):
    """Somebody else saved first; ``differences`` lists what changed up to ``version``."""

    status = 409
    code = "changed_meanwhile"

    def __init__(self, differences: Sequence[Difference], version: int) -> None:
        super().__init__(say("Somebody changed this while you were typing."))
        self.differences = list(differences)
        self.version = version


class Locked(Refusal):
    """The act needs an unlock with the authorisation code, and this person has none now."""

    status = 403
    code = "locked"


class NotPermitted(Refusal):
    """The person lacks the permission, locked or not."""

    status = 403
    code = "not_permitted"


class NotFound(Refusal):
    """The thing that was named does not exist, or exists no longer."""

    status = 404
    code = "not_found"


class TooManyWaiting(Refusal):
    """As many as may wait for something to happen do so; one may ask again after ``seconds``."""

    status = 503
    code = "too_many_waiting"
    seconds = 30


class Throttled(Refusal):
    """Too many attempts failed; until ``until`` (UTC) others are refused without being checked."""

    status = 429
    code = "too_many_tries"

    def __init__(self, message: Message, until: datetime) -> None:
        super().__init__(message)
        self.until = until
