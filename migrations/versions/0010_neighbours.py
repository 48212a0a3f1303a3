"""Repeats and retention of Activity; applicants by machine; device tokens that were used."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_KEPT = "id, at, person, address, via, what, subject, subject_id, label, version, was, became"
# A later row says that this one was removed: nothing goes without a word.
_NOT_SAID = (
    "NOT EXISTS (SELECT 1 FROM activity WHERE what = 'activity_removed'"
    " AND subject_id >= OLD.id AND id > OLD.id)"
)


def upgrade() -> None:
    """Create the columns, the key of applicants, and the triggers."""
    op.add_column(
        "servers",
        sa.Column("has_used_token", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.execute("UPDATE servers SET has_used_token = true WHERE device_token_hash IS NOT NULL")
    op.add_column(
        "link",
        sa.Column("token_withheld", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("activity", sa.Column("count", sa.Integer(), server_default="1", nullable=False))
    op.add_column("activity", sa.Column("last_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("applicants") as applicants:
        applicants.drop_constraint("pk_applicants", type_="primary")
        applicants.create_primary_key("pk_applicants", ["sync_id", "hardware_id"])
    _keep_activity()


def _keep_activity() -> None:
    """Let the database refuse changes but of the count, and unsaid deletions, of activity."""
    if op.get_bind().dialect.name == "sqlite":
        refuse = "BEGIN SELECT RAISE(ABORT, 'activity is kept as it was written'); END"
        op.execute("DROP TRIGGER activity_no_update")
        op.execute("DROP TRIGGER activity_no_delete")
        op.execute(
            f"CREATE TRIGGER activity_no_update BEFORE UPDATE OF {_KEPT} ON activity {refuse}"
        )
        op.execute(
            f"CREATE TRIGGER activity_no_delete BEFORE DELETE ON activity WHEN {_NOT_SAID} {refuse}"
        )
        return
    op.execute("DROP TRIGGER keep_activity ON activity")
    op.execute(
        f"CREATE TRIGGER keep_activity BEFORE UPDATE OF {_KEPT} OR TRUNCATE ON activity"
        " FOR EACH STATEMENT EXECUTE FUNCTION keep_activity()"
    )
    op.execute(
        "CREATE FUNCTION keep_unsaid_activity() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF {_NOT_SAID} THEN RAISE EXCEPTION 'activity is kept as it was written';"
        " END IF; RETURN OLD; END $$"
    )
    op.execute(
        "CREATE TRIGGER keep_unsaid_activity BEFORE DELETE ON activity"
        " FOR EACH ROW EXECUTE FUNCTION keep_unsaid_activity()"
    )
