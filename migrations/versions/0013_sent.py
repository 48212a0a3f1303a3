"""The highest own number that a satellite sent over v5."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the column, as the primary knows it."""
    op.add_column(
        "link", sa.Column("sent_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
    # Until now the primary was told the whole count.
    op.execute("UPDATE link SET sent_seq = (SELECT seq FROM clock)")
