"""A row for every table, made from what the database says of its columns.

So a new revision is tested with data in the older tables without anybody writing rows for it.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Connection, Enum, MetaData, Table, func, insert, select, update

from panel.models.base import Base

# One number for all, ids too: so what refers to another row refers to the one that is there.
NUMBER = 25
THEN = datetime(2026, 1, 31, 23, 59, 59)  # noqa: DTZ001 - SQLite keeps no zone; see _value

Kept = dict[str, dict[str, Any]]


def reflect(connection: Connection) -> list[Table]:
    """Return the tables that are there, those that others refer to first."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


def write_row(connection: Connection, table: Table) -> dict[str, Any]:
    """Fill a row of ``table``, or the one that its revision made, and return its values."""
    made = connection.scalar(select(func.count()).select_from(table))
    values = {
        column.name: _value(connection, column)
        for column in table.columns
        if not (made and column.primary_key)
    }
    if values:
        connection.execute(update(table).values(values) if made else insert(table).values(values))
    return values


def read_row(connection: Connection, table: Table) -> dict[str, Any]:
    """Return the one row of ``table``."""
    return dict(connection.execute(select(table)).mappings().one())


def _value(connection: Connection, column: Column[Any]) -> Any:
    kind = column.type.python_type
    if kind is datetime:
        return THEN if connection.dialect.name == "sqlite" else THEN.replace(tzinfo=UTC)
    if states := _states(column):
        return states[-1]
    if kind is str:
        return "é25"[: getattr(column.type, "length", None)]
    others = {bool: True, int: NUMBER, float: float(NUMBER), bytes: b"\x00\xff"}
    return {**others, object: {"name": "Kadavu"}}[kind]


def _states(column: Column[Any]) -> list[str]:
    """Return the texts of the states that ``column`` may hold; none if it holds no state."""
    present = Base.metadata.tables[column.table.name].columns.get(column.name)
    kind = None if present is None else present.type
    return kind.enums if isinstance(kind, Enum) else []
