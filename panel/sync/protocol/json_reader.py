"""The reading and checking of JSON from other servers, and the JSON text of records."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

from panel.errors import Invalid
from panel.i18n import say

LARGEST_RECORD_BYTES = 1024 * 1024
# How deep a record's JSON may nest: Python's own limit depends on the caller's stack.
DEEPEST = 100
# Characters of a reason's values; the longest of our own name five fields of both sides.
_LONGEST_VALUES = 4_000


class BadMessage(Exception):
    """A message is not as PROTOCOL.md specifies it; the text names the problem, for the log."""


def is_plain(text: str) -> bool:
    """Say whether ``text`` has no control characters and no lone surrogates."""
    # Most texts are printable, which is quicker to check.
    return text.isprintable() or all(
        unicodedata.category(character) not in ("Cc", "Cs") for character in text
    )


def presentable(values: Any) -> dict[str, Any]:
    """Return the ``values`` that another server sent with a code; {} if they cannot be shown."""
    try:
        text = json.dumps(values, ensure_ascii=False)
    except RecursionError:
        return {}
    can_be_shown = len(text) <= _LONGEST_VALUES and is_plain(text)
    return values if isinstance(values, dict) and can_be_shown else {}


def whole(value: Any, lowest: int, highest: int) -> int:
    """Return ``value`` if it is a whole number within bounds. Raise :class:`BadMessage`."""
    # bool is a subclass of int.
    if type(value) is not int or not lowest <= value <= highest:
        raise BadMessage(f"not a whole number from {lowest} to {highest}")
    return value


class JsonObject:
    """The members of a JSON object, read by name and type; each raises :class:`BadMessage`."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise BadMessage("not a JSON object")
        self._members = value

    def get(self, name: str) -> Any:
        """Return a member of any type, None if it is missing."""
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
        """Return a boolean, False if it is missing."""
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


def to_text(data: Mapping[str, Any]) -> str:
    """Return ``data`` as the JSON text that is stored and compared.

    Raise Invalid if it is not a JSON object, too large, or nested deeper than :data:`DEEPEST`.
    """
    if not isinstance(data, dict):
        raise Invalid({"data": say("Must be a JSON object.")})
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
        if is_too_deep(data):
            raise ValueError(f"deeper than {DEEPEST} levels")
    except (TypeError, ValueError, RecursionError) as error:
        # Not JSON (NaN, a date), a lone surrogate, or nested too deep.
        raise Invalid({"data": say("Cannot be written as JSON.")}) from error
    if size > LARGEST_RECORD_BYTES:
        raise Invalid({"data": say("Is larger than a record may be, 1 MiB.")})
    return text


def is_too_deep(data: Mapping[str, Any]) -> bool:
    """Say whether objects and lists nest deeper than :data:`DEEPEST` levels."""
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        if not level:
            return False
        insides = (value.values() if isinstance(value, dict) else value for value in level)
        level = [value for inside in insides for value in inside if isinstance(value, dict | list)]
    return bool(level)
