"""Tokens that may start a sync."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create the column; no token made before may."""
    op.add_column(
        "tokens", sa.Column("may_sync", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
