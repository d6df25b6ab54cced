"""The first tables of the ground."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# What keeps the audit log as it is.
PROTECTION = {
    "sqlite": (
        (
            "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END"
        ),
        (
            "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END"
        ),
        (
            "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit "
            "WHEN EXISTS (SELECT 1 FROM audit WHERE id >= NEW.id OR sha256 = NEW.sha256) "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION audit_is_never_changed() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION ''the audit log is never changed''; END'"
        ),
        (
            "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit "
            "FOR EACH ROW EXECUTE FUNCTION audit_is_never_changed()"
        ),
        (
            "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_never_changed()"
        ),
    ),
}


def upgrade() -> None:
    """Bring the tables here from the revision before."""
    op.create_table(
        "alarm_history",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("alarm_id", sa.BigInteger(), nullable=False),
        sa.Column("action", NAME, nullable=False),
        sa.Column("who", NAME, server_default="", nullable=False),
        sa.Column("text", NAME, server_default="", nullable=False),
        sa.Column("severity", sa.BigInteger(), nullable=False),
        sa.Column("mission_time_seconds", sa.Double(), nullable=False),
        sa.Column("noted_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("alarm_history_alarm", "alarm_history", ["alarm_id"], unique=False)
    op.create_table(
        "alarms",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("satellite", NAME, server_default="", nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("instance", NAME, server_default="", nullable=False),
        sa.Column("severity", sa.BigInteger(), nullable=False),
        sa.Column("level", NAME, server_default="", nullable=False),
        sa.Column("text", NAME, server_default="", nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("is_active", sa.BigInteger(), nullable=False),
        sa.Column("is_acknowledged", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_by", NAME, server_default="", nullable=False),
        sa.Column("comment", NAME, server_default="", nullable=False),
        sa.Column("shelved_until_seconds", sa.Double(), nullable=False),
        sa.Column("shelved_by", NAME, server_default="", nullable=False),
        sa.Column("shelve_reason", NAME, server_default="", nullable=False),
        sa.Column("raised_seconds", sa.Double(), nullable=False),
        sa.Column("changed_seconds", sa.Double(), nullable=False),
        sa.Column("occurrences", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("satellite", "name", "instance", name="alarms_point"),
    )
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
        "audit",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mission_time_seconds", sa.Double(), nullable=False),
        sa.Column("person", NAME, server_default="", nullable=False),
        sa.Column("role", NAME, server_default="", nullable=False),
        sa.Column("token_id", NAME, server_default="", nullable=False),
        sa.Column("address", NAME, server_default="", nullable=False),
        sa.Column("action", NAME, server_default="", nullable=False),
        sa.Column("subject", NAME, server_default="", nullable=False),
        sa.Column("outcome", NAME, server_default="", nullable=False),
        sa.Column("detail", NAME, server_default="", nullable=False),
        sa.Column("previous_sha256", NAME, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )
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
    op.create_index("command_queue_command", "command_queue", ["command_id"], unique=False)
    op.create_index("command_queue_satellite", "command_queue", ["satellite", "id"], unique=False)
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
        sa.Column("block_bytes", sa.BigInteger(), nullable=False),
        sa.Column("block_hashes", sa.LargeBinary(), nullable=False),
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
    op.create_index("sequences_created", "sequences", ["created_seconds", "sequence_id"], unique=False)
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
        "telemetry_batches",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "telemetry_chunks",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("topic_id", sa.BigInteger(), nullable=False),
        sa.Column("layout_id", sa.BigInteger(), nullable=False),
        sa.Column("first_seconds", sa.Double(), nullable=False),
        sa.Column("last_seconds", sa.Double(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("telemetry_chunks_last", "telemetry_chunks", ["topic_id", "last_seconds"], unique=False)
    op.create_table(
        "telemetry_cursors",
        sa.Column("name", NAME, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "telemetry_layouts",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("topic_id", sa.BigInteger(), nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("layout", NAME, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("topic_id", "sha256", name="telemetry_layouts_layout"),
    )
    op.create_table(
        "telemetry_outgoing",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("received_seconds", sa.Double(), nullable=False),
        sa.Column("batch", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "telemetry_sequences",
        sa.Column("topic_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("incarnation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("received", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("topic_id", "incarnation"),
    )
    op.create_table(
        "telemetry_topics",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("satellite", NAME, nullable=False),
        sa.Column("message_type", NAME, nullable=False),
        sa.Column("source", NAME, server_default="", nullable=False),
        sa.Column("instance", NAME, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("satellite", "message_type", "source", "instance", name="telemetry_topics_topic"),
    )
    op.create_table(
        "tokens",
        sa.Column("token_id", NAME, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("role", NAME, nullable=False),
        sa.Column("created_seconds", sa.Double(), nullable=False),
        sa.Column("end_seconds", sa.Double(), nullable=False),
        sa.Column("revoked_seconds", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("token_id"),
        sa.UniqueConstraint("sha256"),
    )
    for statement in PROTECTION[op.get_context().dialect.name]:
        op.execute(statement)
