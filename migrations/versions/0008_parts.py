"""What the way to the primary carries at once, and the parts of records that it does not."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the columns and the table."""
    op.add_column("link", sa.Column("seconds_per_byte_up", sa.Double(), nullable=True))
    op.add_column("link", sa.Column("largest_up", sa.Integer(), nullable=True))
    op.add_column("link", sa.Column("largest_down", sa.Integer(), nullable=True))
    op.create_table(
        "parts",
        sa.Column("source", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_parts")),
    )
