"""The tables of the preferences: settings, servers, people, authorisation code, Activity."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables, with their single rows."""
    op.create_table(
        "activity",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("person", sa.String(length=80), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("via", sa.String(length=8), nullable=False),
        sa.Column("what", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=20), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=True),
        sa.Column("label", sa.String(length=120), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("was", sa.JSON(), nullable=True),
        sa.Column("became", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity")),
    )
    op.create_index(op.f("ix_activity_at"), "activity", ["at"], unique=False)
    op.create_index(op.f("ix_activity_person"), "activity", ["person"], unique=False)
    op.create_index(
        "ix_activity_subject_subject_id_version",
        "activity",
        ["subject", "subject_id", "version"],
        unique=False,
    )
    op.create_index("ix_activity_what_at", "activity", ["what", "at"], unique=False)
    op.create_table(
        "authorisation_code",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code_hash", sa.String(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_authorisation_code_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authorisation_code")),
    )
    op.create_table(
        "people",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("name_key", sa.String(length=80), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("may_view", sa.Boolean(), nullable=False),
        sa.Column("may_edit", sa.Boolean(), nullable=False),
        sa.Column("may_manage", sa.Boolean(), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("unlock_generation", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("name_key", name=op.f("uq_people_name_key")),
    )
    op.create_table(
        "servers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("store", sa.String(length=40), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("user_name", sa.String(length=80), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("password_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hardware_id", sa.String(length=64), nullable=True),
        sa.Column("device_token_hash", sa.String(length=64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("added_key", sa.String(length=32), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_contact_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("name_key", _key_text(80), nullable=False),
        sa.Column("store_key", _key_text(40), nullable=False),
        sa.Column("user_name_key", _key_text(80), nullable=False),
        sa.CheckConstraint("sync_id >= 1", name=op.f("ck_servers_sync_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servers")),
        sa.UniqueConstraint("added_key", name=op.f("uq_servers_added_key")),
    )
    op.create_index(op.f("ix_servers_hardware_id"), "servers", ["hardware_id"], unique=False)
    op.create_index(
        op.f("ix_servers_last_success_at"), "servers", ["last_success_at"], unique=False
    )
    op.create_index(op.f("ix_servers_name_key"), "servers", ["name_key"], unique=False)
    op.create_index(op.f("ix_servers_store_key"), "servers", ["store_key"], unique=False)
    op.create_index(op.f("ix_servers_url"), "servers", ["url"], unique=False)
    op.create_index(op.f("ix_servers_user_name_key"), "servers", ["user_name_key"], unique=False)
    op.create_index(
        "uq_servers_sync_id_here",
        "servers",
        ["sync_id"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "settings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("interval_minutes", sa.Integer(), nullable=False),
        sa.Column("interval_version", sa.Integer(), nullable=False),
        sa.Column("sync_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("store", sa.String(length=40), nullable=False),
        sa.Column("user_name", sa.String(length=80), nullable=False),
        sa.Column("password_sealed", sa.String(), nullable=True),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("password_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("request_size", sa.Integer(), nullable=True),
        sa.Column("protocol", sa.String(length=8), nullable=False),
        sa.Column("private_ca", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("parameters_version", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_settings_one_row")),
        sa.CheckConstraint(
            "interval_minutes BETWEEN 0 AND 10080", name=op.f("ck_settings_interval")
        ),
        sa.CheckConstraint(
            "request_size BETWEEN 10 AND 5000", name=op.f("ck_settings_request_size")
        ),
        sa.CheckConstraint("sync_id >= 1", name=op.f("ck_settings_sync_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settings")),
    )
    op.execute(
        "INSERT INTO settings (id, interval_minutes, interval_version, name, store, user_name, url,"
        " protocol, private_ca, fingerprint, parameters_version)"
        " VALUES (1, 10, 1, '', '', '', '', 'ask', '', '', 1)"
    )
    op.execute("INSERT INTO authorisation_code (id, generation) VALUES (1, 0)")
    _keep_activity()


def _key_text(length: int) -> sa.types.TypeEngine[str]:
    # Compared by code points on every database, so that a prefix is one range of an index.
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _keep_activity() -> None:
    """Make the database refuse to change or delete rows of activity."""
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER activity_no_{act.lower()} BEFORE {act} ON activity"
                " BEGIN SELECT RAISE(ABORT, 'activity is kept as it was written'); END"
            )
        # REPLACE deletes without firing the trigger above.
        op.execute(
            "CREATE TRIGGER activity_no_replace BEFORE INSERT ON activity"
            " WHEN EXISTS (SELECT 1 FROM activity WHERE id = NEW.id)"
            " BEGIN SELECT RAISE(ABORT, 'activity is kept as it was written'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION keep_activity() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'activity is kept as it was written'; END $$"
    )
    op.execute(
        "CREATE TRIGGER keep_activity BEFORE UPDATE OR DELETE OR TRUNCATE ON activity"
        " FOR EACH STATEMENT EXECUTE FUNCTION keep_activity()"
    )
