"""How far a satellite's clock is from its primary's, as both sides know it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("peers", sa.Column("clock_seconds", sa.Integer(), nullable=True))
    op.add_column("link", sa.Column("clock_seconds", sa.Integer(), nullable=True))
    op.add_column("link", sa.Column("clock_told_at", sa.DateTime(timezone=True), nullable=True))
