"""The first tables of the ground."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring the tables here from the revision before."""
    op.create_table(
        "attempts",
        sa.Column("job_id", NAME, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("placed_seconds", sa.Double(), nullable=False),
        sa.Column("lease_end_seconds", sa.Double(), nullable=False),
        sa.Column("state", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("job_id", "attempt"),
    )
    op.create_table(
        "chunks",
        sa.Column("job_id", NAME, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("offset_bytes", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "attempt", "sha256", "offset_bytes"),
    )
    op.create_table(
        "events",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("severity", sa.BigInteger(), nullable=False),
        sa.Column("text", NAME, server_default="", nullable=False),
        sa.Column("fields", NAME, server_default="", nullable=False),
        sa.Column("mission_time_seconds", sa.Double(), nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "job_history",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("job_id", NAME, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.BigInteger(), nullable=False),
        sa.Column("satellite", NAME, server_default="", nullable=False),
        sa.Column("node", NAME, server_default="", nullable=False),
        sa.Column("reason", NAME, server_default="", nullable=False),
        sa.Column("progress_ratio", sa.Double(), nullable=False),
        sa.Column("mission_time_seconds", sa.Double(), nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=False),
        sa.Column("is_applied", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "attempt", "version", name="job_history_once"),
    )
    op.create_table(
        "jobs",
        sa.Column("job_id", NAME, nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("power_watts", sa.Double(), nullable=False),
        sa.Column("deadline_seconds", sa.Double(), nullable=False),
        sa.Column("state", sa.BigInteger(), nullable=False),
        sa.Column("is_open", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("satellite", NAME, server_default="", nullable=False),
        sa.Column("lease_end_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rejections", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("not_before_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("cancel_reason", NAME, nullable=True),
        sa.Column("reason", NAME, server_default="", nullable=False),
        sa.Column("status", sa.LargeBinary(), nullable=False),
        sa.Column("submitted_seconds", sa.Double(), nullable=False),
        sa.Column("placed_seconds", sa.Double(), nullable=True),
        sa.Column("started_seconds", sa.Double(), nullable=True),
        sa.Column("finished_seconds", sa.Double(), nullable=True),
        sa.Column("changed_seconds", sa.Double(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("signed_order", sa.LargeBinary(), nullable=True),
        sa.Column("signed_by", NAME, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index(
        "jobs_held",
        "jobs",
        ["lease_end_seconds"],
        unique=False,
        sqlite_where=sa.text("is_open = 1 AND state != 1"),
        postgresql_where=sa.text("is_open = 1 AND state != 1"),
    )
    op.create_index("jobs_revision", "jobs", ["revision"], unique=False)
    op.create_index("jobs_submitted", "jobs", ["submitted_seconds", "job_id"], unique=False)
    op.create_index(
        "jobs_waiting",
        "jobs",
        [sa.literal_column("priority DESC"), "submitted_seconds", "job_id"],
        unique=False,
        sqlite_where=sa.text("is_open = 1 AND state = 1"),
        postgresql_where=sa.text("is_open = 1 AND state = 1"),
    )
    op.create_table(
        "key_lists",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("order_id", NAME, nullable=False),
        sa.Column("signed_order", sa.LargeBinary(), nullable=False),
        sa.Column("signed_by", NAME, server_default="", nullable=False),
        sa.Column("created_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
        sa.UniqueConstraint("order_id"),
    )
    op.create_table(
        "key_reports",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("stage", sa.BigInteger(), nullable=False),
        sa.Column("reason", NAME, server_default="", nullable=False),
        sa.Column("mission_time_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("version", "satellite"),
    )
    op.create_table(
        "packages",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "results",
        sa.Column("job_id", NAME, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=True),
        sa.Column("problem", NAME, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index(
        "results_expected",
        "results",
        ["job_id"],
        unique=False,
        sqlite_where=sa.text("received_seconds IS NULL AND problem = ''"),
        postgresql_where=sa.text("received_seconds IS NULL AND problem = ''"),
    )
    op.create_table(
        "revisions",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one = 1", name="revisions_one"),
        sa.PrimaryKeyConstraint("one"),
    )
    op.create_table(
        "telecommand_stages",
        sa.Column("command_id", NAME, nullable=False),
        sa.Column("stage", sa.BigInteger(), nullable=False),
        sa.Column("reason", NAME, server_default="", nullable=False),
        sa.Column("mission_time_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("command_id", "stage"),
    )
    op.create_table(
        "telecommands",
        sa.Column("command_id", NAME, nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("service", NAME, nullable=False),
        sa.Column("method", NAME, nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("submitter", NAME, server_default="", nullable=False),
        sa.Column("created_seconds", sa.Double(), nullable=False),
        sa.Column("not_after_seconds", sa.Double(), nullable=False),
        sa.Column("stage", sa.BigInteger(), nullable=False),
        sa.Column("is_open", sa.BigInteger(), nullable=False),
        sa.Column("reason", NAME, server_default="", nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("signed_order", sa.LargeBinary(), nullable=True),
        sa.Column("signed_by", NAME, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("command_id"),
    )
    op.create_index("telecommands_created", "telecommands", ["created_seconds", "command_id"], unique=False)
    op.create_index(
        "telecommands_open",
        "telecommands",
        ["not_after_seconds"],
        unique=False,
        sqlite_where=sa.text("is_open = 1"),
        postgresql_where=sa.text("is_open = 1"),
    )
    op.create_table(
        "telemetry",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("first_seconds", sa.Double(), nullable=False),
        sa.Column("last_seconds", sa.Double(), nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("telemetry_last", "telemetry", ["satellite", "last_seconds"], unique=False)
    op.create_index("telemetry_received", "telemetry", ["received_seconds"], unique=False)
