"""Translatable sentences for people.

Code outside ``panel/web`` makes a sentence with :func:`say`. The web translates it when it is shown
(``panel/web/base/language.py``); the command line prints the English.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """An English sentence with ``%(name)s`` placeholders, and their values."""

    text: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text % self.values if self.values else self.text


def say(text: str, **values: object) -> Message:
    """Return a sentence to show later; Babel extracts every literal passed to this function."""
    return Message(text, values)
