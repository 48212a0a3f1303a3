"""A primary that answers nothing, and a person who stops the run."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the columns."""
    for name in ("silent_since", "stop_asked_at"):
        op.add_column("loop", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
