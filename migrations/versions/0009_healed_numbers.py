"""An index of the versions that no message carries: a start sees at once that there are none."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the index, which is empty where nothing has to be healed."""
    where = sa.text("version > 2251799813685248")
    op.create_index(
        "ix_records_beyond", "records", ["id"], sqlite_where=where, postgresql_where=where
    )
