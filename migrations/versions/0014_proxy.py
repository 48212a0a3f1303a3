"""The proxy on the way to the primary."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the columns."""
    for name, length in (("proxy", 500), ("proxy_user", 80)):
        empty = sa.text("''")
        column = sa.Column(name, sa.String(length), server_default=empty, nullable=False)
        op.add_column("settings", column)
    op.add_column("settings", sa.Column("proxy_password_sealed", sa.String(), nullable=True))
