"""JSON as it was written: reading, checking and writing it, and the JSON text of records.

A number that a float would not give back as it was written is a :class:`WrittenNumber`. Other
numbers stay Python's own, so that usual data is read and written by the C code of ``json``.
"""

import json
import math
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from panel.errors import Invalid
from panel.i18n import say

LARGEST_RECORD_BYTES = 1024 * 1024
# How deep a record's JSON may nest: Python's own limit depends on the caller's stack.
DEEPEST = 100
# Characters of a reason's values; the longest of our own name five fields of both sides.
_LONGEST_VALUES = 4_000
_SHOWN_CHARACTERS = 40
_COMPACT = (",", ":")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=_COMPACT)
_ASCII_ENCODER = json.JSONEncoder(allow_nan=False, separators=_COMPACT)
# What stands for a WrittenNumber until the rest is encoded. It is random, so that no message has it
# by chance; one that has it all the same is refused.
_PLACE = 10**15 + secrets.randbelow(10**15)


class BadMessage(Exception):
    """A message is not as PROTOCOL.md specifies it; the text names the problem, for the log."""


class WrittenNumber:
    """A number as its digits were written, such as ``10.50`` or 20 digits after the point."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WrittenNumber) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"WrittenNumber({self.text!r})"


class NumberOutOfRange(Invalid):
    """A number is beyond what readers of JSON can be expected to take (RFC 8259, 6)."""

    code = "number_out_of_range"

    def __init__(self, text: str) -> None:
        shown = text[:_SHOWN_CHARACTERS]
        super().__init__({"data": say("The number %(number)s is out of range.", number=shown)})


class DuplicateKey(Invalid):
    """An object names a member twice, so that readers may differ about its value."""

    code = "duplicate_key"

    def __init__(self, name: str) -> None:
        shown = name[:_SHOWN_CHARACTERS]
        reason = say("The name “%(name)s” stands twice in one object.", name=shown)
        super().__init__({"data": reason})


def load_json(text: str | bytes, *, unique: bool = False, constants: bool = True) -> Any:
    """Return the value of ``text``, whose numbers :func:`dump_json` writes as they stand in it.

    Raise ValueError or RecursionError if it is not JSON, :class:`NumberOutOfRange`, and with
    ``unique`` :class:`DuplicateKey`. ``NaN`` and ``Infinity`` are no JSON without ``constants``.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    try:
        return _decoder(unique, constants, has_minus_zero="-0" in text).decode(text)
    except ValueError as error:
        if type(error) is ValueError and "integer string conversion" in str(error):
            # Python reads no whole number of more digits (sys.get_int_max_str_digits).
            raise NumberOutOfRange("1…") from error
        raise


def dump_json(value: Any, *, ascii_only: bool = False) -> str:
    """Return ``value`` as JSON without spaces. Raise TypeError, ValueError or RecursionError."""
    try:
        return (_ASCII_ENCODER if ascii_only else _ENCODER).encode(value)
    except TypeError:
        # There is a WrittenNumber inside.
        return _written(value, ascii_only)


def _written(value: Any, ascii_only: bool) -> str:
    """Return ``value`` as JSON in one pass: a part encoded again for each level may be enormous."""
    numbers: list[str] = []

    def place(inner: Any) -> int:
        if not isinstance(inner, WrittenNumber):
            raise TypeError(f"{type(inner).__name__} is no JSON")
        numbers.append(inner.text)
        return _PLACE

    encoder = json.JSONEncoder(
        ensure_ascii=ascii_only, allow_nan=False, separators=_COMPACT, default=place
    )
    pieces = encoder.encode(value).split(str(_PLACE))
    if len(pieces) != len(numbers) + 1:
        raise ValueError("the number that stands for others is in a text")
    written = [""] * (len(pieces) + len(numbers))
    written[::2], written[1::2] = pieces, numbers
    return "".join(written)


@cache
def _decoder(unique: bool, constants: bool, *, has_minus_zero: bool) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_float=_float_or_written,
        # An int loses nothing but the sign of -0.
        parse_int=_int_or_written if has_minus_zero else int,
        parse_constant=None if constants else _refuse_constant,
        object_pairs_hook=_unique_object if unique else None,
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _float_or_written(text: str) -> float | WrittenNumber:
    number = float(text)
    if repr(number) == text:
        return number
    if math.isinf(number):
        raise NumberOutOfRange(text)
    return WrittenNumber(text)


def _int_or_written(text: str) -> int | WrittenNumber:
    return WrittenNumber(text) if text == "-0" else int(text)


def _unique_object(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in members:
        if name in values:
            raise DuplicateKey(name)
        values[name] = value
    return values


def is_plain(text: str) -> bool:
    """Say whether ``text`` has no control characters and no lone surrogates."""
    # Most texts are printable, which is quicker to check.
    return text.isprintable() or all(
        unicodedata.category(character) not in ("Cc", "Cs") for character in text
    )


def presentable(values: Any) -> dict[str, Any]:
    """Return the ``values`` that another server sent with a code; {} if they cannot be shown."""
    if not isinstance(values, dict) or is_too_deep(values):
        return {}
    text = dump_json(values)
    # Read again, since they are stored as JSON by code that knows no WrittenNumber.
    return json.loads(text) if len(text) <= _LONGEST_VALUES and is_plain(text) else {}


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
        if is_too_deep(data):
            raise ValueError(f"deeper than {DEEPEST} levels")
        text = dump_json(data)
        size = len(text.encode())
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
