"""Indexes of the records set aside and of the refused, so that counting reads no large record."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the indexes."""
    op.create_index("ix_set_aside_mark", "set_aside", ["last_at", "left_out_at"])
    where = sa.text("refusal <> ''")
    op.create_index(
        "ix_peers_refused",
        "peers",
        ["server_id", "refusal"],
        sqlite_where=where,
        postgresql_where=where,
    )
