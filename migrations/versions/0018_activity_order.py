"""Indexes of Activity for each filter of its page, in the order of its rows."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Replace the indexes that leave the order of the rows to be sorted."""
    for name in ("ix_activity_at", "ix_activity_person", "ix_activity_what_at"):
        op.drop_index(name, "activity")
    for columns in (
        ["at", "id"],
        ["what", "at", "id"],
        ["person", "at", "id"],
        ["person", "what", "at", "id"],
    ):
        op.create_index("_".join(["ix_activity", *columns]), "activity", columns)
