"""What a primary remembers of a v5 site: what it has beside its own, and how far it has read."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "site_copies",
        sa.Column("server_id", sa.Integer(), nullable=False),
        sa.Column(
            "record_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("known_seq", sa.BigInteger(), nullable=False, server_default="0"),
        sa.ForeignKeyConstraint(
            ["record_id"],
            ["records.id"],
            name=op.f("fk_site_copies_record_id_records"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["server_id"],
            ["servers.id"],
            name=op.f("fk_site_copies_server_id_servers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server_id", "record_id", name=op.f("pk_site_copies")),
    )
    op.create_index("ix_site_copies_record_id", "site_copies", ["record_id"])
    for name in ("asked_cursor", "told_seq"):
        op.add_column("peers", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column(
        "peers", sa.Column("meeting", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("peers", sa.Column("lacking_since", sa.DateTime(timezone=True), nullable=True))
    # A restore is open as long as its cursor is below its end, whatever the status was.
    op.execute("UPDATE peers SET initialisation = 'completed' WHERE initialisation = 'started'")
    op.execute("UPDATE peers SET restore_until = restore_cursor WHERE initialisation = 'new'")
