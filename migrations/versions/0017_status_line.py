"""The hash of the key in the address of the status line."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Create the column: nobody has asked for such an address yet."""
    op.add_column("settings", sa.Column("status_key_hash", sa.String(length=64), nullable=True))
