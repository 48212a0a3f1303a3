"""The contact of a site, the words that a row of the list is found by, and the order of states."""

import re
import unicodedata
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_LIVE = sa.text("removed_at IS NULL")
_REMOVED = sa.text("removed_at IS NOT NULL")
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe"})
_BATCH = 1_000


def upgrade() -> None:
    """Create the column, the table and its rows, and the indexes."""
    op.add_column(
        "settings",
        sa.Column("contact", sa.String(length=80), server_default=sa.text("''"), nullable=False),
    )
    words = op.create_table(
        "server_words",
        sa.Column(
            "word",
            sa.String(80).with_variant(sa.String(80, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("server_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["server_id"],
            ["servers.id"],
            name=op.f("fk_server_words_server_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("word", "server_id", name=op.f("pk_server_words")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_server_words_server_id", "server_words", ["server_id"])
    rows = op.get_bind().execute(sa.text("SELECT id, name, store, user_name FROM servers"))
    while some := rows.fetchmany(_BATCH):
        op.bulk_insert(words, [word for row in some for word in _words(*row)])
    op.drop_index("ix_servers_last_success_at", "servers")
    op.create_index(
        "ix_servers_last_success_at",
        "servers",
        ["last_success_at", "sync_id"],
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_index(
        "ix_servers_removed",
        "servers",
        ["id"],
        sqlite_where=_REMOVED,
        postgresql_where=_REMOVED,
    )


def _words(server_id: int, *texts: str) -> Iterator[dict[str, object]]:
    words = {word for text in texts for word in _word_starts(text)}
    return ({"word": word, "server_id": server_id} for word in words)


def _word_starts(value: str) -> set[str]:
    letters = unicodedata.normalize("NFD", value.strip().casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    text = plain.casefold().translate(_PLAIN)
    starts = {0, *(found.start() for found in re.finditer(r"(?<![^\W_])[^\W_]", text))}
    return {text[start:][:80] for start in starts if text}
