"""Queues of commands, and sequences."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring the tables here from the revision before."""
    op.create_table(
        "command_holds",
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("held_by", NAME, server_default="", nullable=False),
        sa.Column("reason", NAME, server_default="", nullable=False),
        sa.Column("held_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("satellite"),
    )
    op.create_table(
        "command_queue",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("command_id", NAME, nullable=False),
        sa.Column("name", NAME, server_default="", nullable=False),
        sa.Column("submitter", NAME, server_default="", nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("created_seconds", sa.Double(), nullable=False),
        sa.Column("not_after_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("command_queue_command", "command_queue", ["command_id"])
    op.create_index("command_queue_satellite", "command_queue", ["satellite", "id"])
    op.create_table(
        "sequence_stages",
        sa.Column("sequence_id", NAME, nullable=False),
        sa.Column("stage", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", NAME, server_default="", nullable=False),
        sa.Column("mission_time_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sequence_id", "stage"),
    )
    op.create_table(
        "sequence_steps",
        sa.Column("sequence_id", NAME, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stage", sa.BigInteger(), nullable=False),
        sa.Column("reason", NAME, server_default="", nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=True),
        sa.Column("started_seconds", sa.Double(), nullable=True),
        sa.Column("finished_seconds", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("sequence_id", "number"),
    )
    op.create_table(
        "sequences",
        sa.Column("sequence_id", NAME, nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("name", NAME, server_default="", nullable=False),
        sa.Column("sequence", sa.LargeBinary(), nullable=False),
        sa.Column("submitter", NAME, server_default="", nullable=False),
        sa.Column("created_seconds", sa.Double(), nullable=False),
        sa.Column("not_after_seconds", sa.Double(), nullable=False),
        sa.Column("stage", sa.BigInteger(), nullable=False),
        sa.Column("is_open", sa.BigInteger(), nullable=False),
        sa.Column("reason", NAME, server_default="", nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("signed_order", sa.LargeBinary(), nullable=False),
        sa.Column("signed_by", NAME, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("sequence_id"),
    )
    op.create_index("sequences_created", "sequences", ["created_seconds", "sequence_id"])
