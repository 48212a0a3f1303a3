"""The history of the sequence, and what each side knows of the other's."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_GENERATION = sa.String(length=12)
_NUMBERS = {
    "link": ("central_common", "addressed_common", "purged_remote_seq"),
    "peers": ("central_offered", "addressed_offered"),
}


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("generation", _GENERATION, nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=True),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(length=10), nullable=False),
        sa.Column("cluster", sa.String(length=40), nullable=True),
        sa.Column("timeline", sa.String(length=8), nullable=True),
        sa.PrimaryKeyConstraint("generation", name=op.f("pk_history")),
        sa.UniqueConstraint("first_seq", name=op.f("uq_history_first_seq")),
    )
    # Its cursors stay good: the name of the count is that of its first generation.
    op.execute(
        "INSERT INTO history (generation, first_seq, began_at, reason)"
        " SELECT mark, 1, CURRENT_TIMESTAMP, 'made' FROM clock"
    )
    op.add_column("records", sa.Column("remote_seq", sa.BigInteger(), nullable=True))
    for table, names in _NUMBERS.items():
        for name in names:
            _add(table, name, sa.BigInteger(), "0")
    for table in ("link", "peers"):
        for name in ("generation", "own_generation"):
            _add(table, name, _GENERATION, "''")
    op.add_column("link", sa.Column("written_since", sa.BigInteger(), nullable=True))
    op.add_column("link", sa.Column("doubt_key", sa.JSON(), nullable=True))
    _add("link", "removal_consent", sa.Integer(), "0")
    op.add_column("peers", sa.Column("superseded", sa.JSON(), nullable=True))
    op.add_column(
        "peers", sa.Column("is_shared", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("peers", sa.Column("initialising_at", sa.DateTime(timezone=True), nullable=True))
    _fill()


def _add(table: str, name: str, kind: sa.types.TypeEngine[Any], value: str) -> None:
    # SQLite adds no column without a default to rows that are there, and cannot take it away again.
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=sa.text(value)))


def _fill() -> None:
    """Say of what is there what is certain of it."""
    op.execute("UPDATE link SET written_since = 0 WHERE initialise <> 'done'")
    op.execute(
        "UPDATE link SET own_generation = (SELECT mark FROM clock) WHERE initialise = 'done'"
    )
    op.execute(
        "UPDATE peers SET generation = (SELECT mark FROM clock),"
        " central_offered = (SELECT seq FROM clock), addressed_offered = (SELECT seq FROM clock)"
    )
    # Received over the own protocol by the time its cursor was where it is.
    received = (
        "UPDATE records SET remote_seq = (SELECT {cursor} FROM link) WHERE {stream}"
        " AND EXISTS (SELECT 1 FROM settings WHERE sync_id > 1)"
        " AND EXISTS (SELECT 1 FROM link WHERE point <> '')"
    )
    central, addressed = 'owner = 1 AND "to" IS NULL', '"to" = (SELECT sync_id FROM settings)'
    op.execute(received.format(cursor="central_cursor", stream=central))
    op.execute(received.format(cursor="addressed_cursor", stream=addressed))
