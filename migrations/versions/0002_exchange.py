"""The tables of the exchange: records, inbox, runs, and the state each side keeps of the other."""

from secrets import token_hex

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables, with their single rows."""
    op.create_table(
        "applicants",
        sa.Column("sync_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("store", sa.String(length=40), nullable=False),
        sa.Column("hardware_id", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sync_id", name=op.f("pk_applicants")),
    )
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("purged_seq", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.String(length=12), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_clock_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock")),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("stream", sa.String(length=10), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("table_name", sa.String(length=100), nullable=False),
        sa.Column("record_id", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.Integer(), nullable=False),
        sa.Column("to", sa.Integer(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("data", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("stream", "position", name=op.f("uq_inbox_stream_position")),
    )
    op.create_index(
        "ix_inbox_stream_table_name_record_id",
        "inbox",
        ["stream", "table_name", "record_id"],
        unique=False,
    )
    op.create_table(
        "link",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_token_sealed", sa.String(), nullable=True),
        sa.Column("point", sa.String(length=12), nullable=False),
        sa.Column("next_point", sa.String(length=12), nullable=False),
        sa.Column("central_cursor", sa.BigInteger(), nullable=False),
        sa.Column("addressed_cursor", sa.BigInteger(), nullable=False),
        sa.Column("restore_cursor", sa.BigInteger(), nullable=False),
        sa.Column("initialise", sa.String(length=8), nullable=False),
        sa.Column("protocol", sa.String(length=4), nullable=False),
        sa.Column("site_uuid", sa.String(length=64), nullable=False),
        sa.Column("seconds_per_record_up", sa.Double(), nullable=True),
        sa.Column("seconds_per_record_down", sa.Double(), nullable=True),
        sa.Column("last_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_link_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link")),
    )
    op.create_table(
        "loop",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=True),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("orders", sa.String(length=16), nullable=False),
        sa.Column("refusal", sa.String(length=40), nullable=False),
        sa.Column("refusal_values", sa.JSON(), nullable=True),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_loop_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loop")),
    )
    op.create_table(
        "records",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("table_name", sa.String(length=100), nullable=False),
        sa.Column("record_id", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.Integer(), nullable=False),
        sa.Column("to", sa.Integer(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("data", sa.String(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_records")),
        sa.UniqueConstraint("seq", name=op.f("uq_records_seq")),
        sa.UniqueConstraint(
            "table_name", "record_id", name=op.f("uq_records_table_name_record_id")
        ),
    )
    op.create_index("ix_records_owner_seq", "records", ["owner", "seq"], unique=False)
    _create_partial_index("ix_records_central", "records", ["seq"], 'owner = 1 AND "to" IS NULL')
    _create_partial_index("ix_records_addressed", "records", ["to", "seq"], '"to" IS NOT NULL')
    _create_partial_index("ix_records_waiting", "records", ["seq"], "waiting")
    _create_partial_index("ix_records_tombstones", "records", ["changed_at"], "deleted")
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("other", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("protocol", sa.String(length=4), nullable=False),
        sa.Column("pushed", sa.Integer(), nullable=False),
        sa.Column("to_push", sa.Integer(), nullable=False),
        sa.Column("pulled", sa.Integer(), nullable=False),
        sa.Column("to_pull", sa.Integer(), nullable=False),
        sa.Column("set_aside", sa.Integer(), nullable=False),
        sa.Column("bytes_up", sa.BigInteger(), nullable=False),
        sa.Column("bytes_down", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("reason_values", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_other"), "runs", ["other"], unique=False)
    op.create_index(op.f("ix_runs_started_at"), "runs", ["started_at"], unique=False)
    _create_partial_index("ix_runs_open", "runs", ["other"], "ended_at IS NULL")
    op.create_table(
        "set_aside",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("table_name", sa.String(length=100), nullable=False),
        sa.Column("record_id", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.Integer(), nullable=False),
        sa.Column("to", sa.Integer(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("data", sa.String(), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("reason_values", sa.JSON(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("left_out_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_set_aside")),
        sa.UniqueConstraint(
            "source",
            "table_name",
            "record_id",
            name=op.f("uq_set_aside_source_table_name_record_id"),
        ),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("name", name=op.f("uq_tokens_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_tokens_token_hash")),
    )
    op.create_table(
        "acknowledged",
        sa.Column("server_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["server_id"],
            ["servers.id"],
            name=op.f("fk_acknowledged_server_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server_id", "position", name=op.f("pk_acknowledged")),
    )
    op.create_table(
        "peers",
        sa.Column("server_id", sa.Integer(), nullable=False),
        sa.Column("site_uuid", sa.String(length=36), nullable=False),
        sa.Column("point", sa.String(length=12), nullable=False),
        sa.Column("point_before", sa.String(length=12), nullable=False),
        sa.Column("point_begun", sa.String(length=12), nullable=False),
        sa.Column("central_cursor", sa.BigInteger(), nullable=False),
        sa.Column("addressed_cursor", sa.BigInteger(), nullable=False),
        sa.Column("restore_cursor", sa.BigInteger(), nullable=False),
        sa.Column("restore_until", sa.BigInteger(), nullable=False),
        sa.Column("initialisation", sa.String(length=10), nullable=False),
        sa.Column("waiting_there", sa.Integer(), nullable=False),
        sa.Column("app_name", sa.String(length=60), nullable=False),
        sa.Column("app_version", sa.String(length=40), nullable=False),
        sa.Column("protocol", sa.String(length=4), nullable=False),
        sa.Column("refusal", sa.String(length=40), nullable=False),
        sa.Column("refusal_values", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["server_id"], ["servers.id"], name=op.f("fk_peers_server_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_peers")),
        sa.UniqueConstraint("site_uuid", name=op.f("uq_peers_site_uuid")),
    )
    op.execute(
        sa.text("INSERT INTO clock (id, seq, purged_seq, mark) VALUES (1, 0, 0, :mark)").bindparams(
            mark=token_hex(4)
        )
    )
    op.execute("INSERT INTO loop (id, failures, orders, refusal) VALUES (1, 0, '', '')")
    op.execute(
        "INSERT INTO link (id, point, next_point, central_cursor, addressed_cursor, restore_cursor,"
        " initialise, protocol, site_uuid) VALUES (1, '', '', 0, 0, 0, 'needed', '', '')"
    )


def _create_partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
