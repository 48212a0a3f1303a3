"""The declarative base of every table, the bounds of stored values, and shared column types."""

import re
import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Enum,
    Index,
    Integer,
    MetaData,
    String,
    text,
)
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeEngine

from panel.db import UtcDateTime

PRIMARY_SYNC_ID = 1
HIGHEST_SYNC_ID = 2_147_483_647
LONGEST_INTERVAL_MINUTES = 10_080
# The request size: records in one batch.
SMALLEST_REQUEST, LARGEST_REQUEST = 10, 5_000
# The longest texts, in characters.
NAME_LENGTH, STORE_LENGTH, USER_NAME_LENGTH, URL_LENGTH = 80, 40, 80, 500
ADDRESS_LENGTH = 64
# A SHA-256 in hex digits, and the certificates of an authority.
FINGERPRINT_LENGTH, PEM_LENGTH = 64, 20_000


class Base(DeclarativeBase):
    """The declarative base: constraint names that migrations rely on, and moments in UTC."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON}  # noqa: RUF012


def searchable(value: str) -> str:
    """Return ``value`` in the form in which names are compared: stripped and case-folded."""
    return value.strip().casefold()


# Letters that no accent makes, as people without them on their keyboard type them.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe"})
_WORD_START = re.compile(r"(?<![^\W_])[^\W_]")


def folded(value: str) -> str:
    """Return ``value`` as it is searched by: :func:`searchable`, and without accents."""
    letters = unicodedata.normalize("NFD", searchable(value))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain.casefold().translate(_PLAIN)


def word_starts(value: str) -> set[str]:
    """Return the rest of ``value``, folded, from its beginning and from each of its words on."""
    text = folded(value)
    starts = {0, *(found.start() for found in _WORD_START.finditer(text))}
    return {text[start:][:NAME_LENGTH] for start in starts if text}


def key_text(length: int) -> TypeEngine[str]:
    """Return the column type of a sort key of at most ``length`` characters.

    Every database compares it by code points, so that a search for the names that begin with a text
    reads one range of the index.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


# SQLite generates ids only in a column that is declared INTEGER.
BigId = BigInteger().with_variant(Integer(), "sqlite")


def state_column(kind: type[StrEnum], length: int) -> Enum:
    """Return the column type of a state, stored as a text of at most ``length`` characters.

    It is read as a member of ``kind``.
    """
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        values_callable=lambda members: [member.value for member in members],
        length=length,
    )


def partial_index(name: str, *columns: str, where: str) -> Index:
    """Return an index over ``columns`` of the rows that fulfil ``where``.

    ``where`` is SQL that SQLite and PostgreSQL both understand.
    """
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))
