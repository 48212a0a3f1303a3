"""Translatable sentences for people, and texts of others as people may be shown them.

Code outside ``panel/web`` makes a sentence with :func:`say`. The web translates it when it is shown
(``panel/web/base/language.py``); the command line prints the English.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


class Count(int):
    """A number of things: written with its thousands apart, unlike a Sync ID."""

    def __str__(self) -> str:
        return f"{int(self):,}"


@dataclass(frozen=True)
class Moment:
    """A moment in a sentence, as the page shows it in the reader's zone.

    ``form`` is "weekday", "day", or "clock" for the time of day.
    """

    at: datetime
    form: str

    def __str__(self) -> str:
        if self.form == "clock":
            return f"{self.at:%H:%M} UTC"
        return f"{self.at:%A}" if self.form == "weekday" else f"{self.at.day} {self.at:%B %Y}"


# Printable, and yet nothing to see: joiners, fillers and the selectors of variants.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
# Lines and spaces are to be seen. Unassigned characters are of a newer Unicode than ours.
_SEEN = frozenset({"\n", "\t"})
_SEEN_CATEGORIES = frozenset({"Zs", "Cn"})


@dataclass(frozen=True)
class Message:
    """An English sentence with ``%(name)s`` placeholders, and their values.

    ``plural`` is the sentence for every number ``num`` among the values but 1, where they differ.
    """

    text: str
    values: Mapping[str, object] = field(default_factory=dict)
    plural: str = ""

    def __str__(self) -> str:
        text = self.plural if self.plural and self.values["num"] != 1 else self.text
        if not self.values:
            return text
        return text % {name: visible(value) for name, value in self.values.items()}


def say(text: str, **values: object) -> Message:
    """Return a sentence to show later; Babel extracts every literal passed to this function."""
    return Message(text, values)


def say_count(text: str, plural: str, num: int, **values: object) -> Message:
    """Return a sentence about ``num`` things to show later: ``text`` of one, ``plural`` of more."""
    return Message(text, {**values, "num": Count(num)}, plural)


def join(messages: Sequence[Message], between: str = " ") -> Message:
    """Return ``messages`` as one, in the language that it is shown in."""
    values = {f"m{number}": message for number, message in enumerate(messages)}
    return Message(between.join(f"%({name})s" for name in values), values)


def reveal(text: str) -> str:
    """Return ``text`` with every directional or invisible character as its number: ⟨U+202E⟩.

    Whoever sends a text could otherwise make it look like another one.
    """
    if text.isprintable() and (text.isascii() or not _BLANK.search(text)):
        return text
    return "".join(map(_revealed, text))


def visible(value: object) -> object:
    """Return ``value``, and a text as :func:`reveal` does; markup and all else as it is."""
    # Asked of everything that a template prints, and most of it is plain.
    if type(value) is not str or (value.isascii() and value.isprintable()):
        return value
    return reveal(value)


def _revealed(character: str) -> str:
    is_seen = character.isprintable() and not _BLANK.match(character)
    if is_seen or character in _SEEN or unicodedata.category(character) in _SEEN_CATEGORIES:
        return character
    return f"⟨U+{ord(character):04X}⟩"
