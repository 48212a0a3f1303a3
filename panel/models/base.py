"""The base of every table, the bounds of what is kept in them, and shared column types."""

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
SMALLEST_REQUEST, LARGEST_REQUEST = 10, 5_000

NAME_LENGTH, STORE_LENGTH, USER_NAME_LENGTH, URL_LENGTH = 80, 40, 80, 500


class Base(DeclarativeBase):
    """What all tables share: constraint names that migrations can rely on, and moments in UTC."""

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
    """Return ``value`` as the list compares it: case and surrounding space do not count."""
    return value.strip().casefold()


def key_text(length: int) -> TypeEngine[str]:
    # Compared by code points on every database: only so is "begins with" one range of an index.
    return String(length).with_variant(String(length, collation="C"), "postgresql")


# SQLite counts rows by itself only in a column declared INTEGER.
BigId = BigInteger().with_variant(Integer(), "sqlite")


def state_column(kind: type[StrEnum], length: int) -> Enum:
    """Return the column type of a state: its text in the database, a member of ``kind`` here."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        values_callable=lambda members: [member.value for member in members],
        length=length,
    )


def partial_index(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))
