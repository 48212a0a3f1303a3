"""Reading what another server sent: every value is checked before it is used."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

from panel.errors import Invalid
from panel.i18n import say

# Of what fills in a sentence or two; the longest of our own names five fields on both sides.
_LONGEST_VALUES = 4_000


class BadMessage(Exception):
    """A message is not what PROTOCOL.md says; the text names what is wrong, for the log."""


def is_plain(text: str) -> bool:
    """Say whether ``text`` is free of control characters and of halves of characters."""
    # Most texts are printable, which is quicker to see.
    return text.isprintable() or all(
        unicodedata.category(character) not in ("Cc", "Cs") for character in text
    )


def presentable(values: Any) -> dict[str, Any]:
    """Return what another server gave beside a reason's code; nothing if no page could show it."""
    try:
        text = json.dumps(values, ensure_ascii=False)
    except RecursionError:
        return {}
    can_be_shown = len(text) <= _LONGEST_VALUES and is_plain(text)
    return values if isinstance(values, dict) and can_be_shown else {}


def whole(value: Any, lowest: int, highest: int) -> int:
    """Return ``value`` if it is a whole number within bounds. Raise :class:`BadMessage`."""
    # True is an int to Python, but not in JSON.
    if type(value) is not int or not lowest <= value <= highest:
        raise BadMessage(f"not a whole number from {lowest} to {highest}")
    return value


class JsonObject:
    """The members of one JSON object, read by name and by kind."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise BadMessage("not a JSON object")
        self._members = value

    def get(self, name: str) -> Any:
        """Return a member of any kind, None if it is missing."""
        return self._members.get(name)

    def whole(self, name: str, lowest: int, highest: int, default: int | None = None) -> int:
        """Return a whole number within bounds."""
        value = self._members.get(name, default)
        try:
            return whole(value, lowest, highest)
        except BadMessage as error:
            raise BadMessage(f"{name}: {error}") from error

    def text(self, name: str, longest: int, default: str | None = None) -> str:
        """Return a text of at most ``longest`` characters, without control characters."""
        value = self._members.get(name, default)
        if not isinstance(value, str) or len(value) > longest or not is_plain(value):
            raise BadMessage(f"{name}: not a text of at most {longest} characters")
        return value

    def flag(self, name: str) -> bool:
        """Return whether a member is there and true."""
        value = self._members.get(name, False)
        if not isinstance(value, bool):
            raise BadMessage(f"{name}: neither true nor false")
        return value

    def list(self, name: str) -> list[Any]:
        """Return a list, empty if it is missing."""
        value = self._members.get(name, [])
        if not isinstance(value, list):
            raise BadMessage(f"{name}: not a list")
        return value


LARGEST_RECORD_BYTES = 1024 * 1024


# Python reads JSON to a depth that depends on who calls: what one reader takes, all must.
DEEPEST = 100


def to_text(data: Mapping[str, Any]) -> str:
    """Return ``data`` as the JSON text that is kept and compared. Raise Invalid."""
    if not isinstance(data, dict):
        raise Invalid({"data": say("Must be a JSON object.")})
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
        if is_too_deep(data):
            raise ValueError(f"deeper than {DEEPEST} levels")
    except (TypeError, ValueError, RecursionError) as error:
        # Not JSON (NaN, a date), half a character, or nested too deep.
        raise Invalid({"data": say("Cannot be written as JSON.")}) from error
    if size > LARGEST_RECORD_BYTES:
        raise Invalid({"data": say("Is larger than a record may be, 1 MiB.")})
    return text


def is_too_deep(data: Mapping[str, Any]) -> bool:
    """Say whether objects and lists stand in each other deeper than :data:`DEEPEST`."""
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        if not level:
            return False
        insides = (one.values() if isinstance(one, dict) else one for one in level)
        level = [value for inside in insides for value in inside if isinstance(value, dict | list)]
    return bool(level)
