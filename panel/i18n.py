"""Sentences for people, kept apart from the language they are read in.

Code below ``panel/web`` says *what* it has to say with :func:`say`; whoever shows it translates
the sentence first (``panel/web/base/language.py``) or prints the English (the command line).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """An English sentence with ``%(name)s`` places, and the values that go there."""

    text: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text % self.values if self.values else self.text


def say(text: str, **values: object) -> Message:
    """Return a sentence to be shown later; Babel collects every literal given to this function."""
    return Message(text, values)
