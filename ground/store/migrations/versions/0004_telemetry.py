"""Telemetry in columns, cursors of who follows it, and alarms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, NAME, server_default="", nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _seconds(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _name(name: str) -> sa.Column[str]:
    return sa.Column(name, NAME, nullable=False)


def upgrade() -> None:
    """Bring the tables here from the revision before."""
    op.drop_table("telemetry")
    op.create_table(
        "telemetry_batches",
        sa.Column("id", SERIAL, nullable=False),
        _name("satellite"),
        _seconds("received_seconds"),
        _number("samples"),
        _bytes("batch"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "telemetry_outgoing",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        _name("satellite"),
        _seconds("received_seconds"),
        _bytes("batch"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "telemetry_cursors",
        _name("name"),
        _number("position"),
        _number("dropped"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "telemetry_topics",
        sa.Column("id", SERIAL, nullable=False),
        _name("satellite"),
        _name("message_type"),
        _text("source"),
        _text("instance"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("satellite", "message_type", "source", "instance", name="telemetry_topics_topic"),
    )
    op.create_table(
        "telemetry_layouts",
        sa.Column("id", SERIAL, nullable=False),
        _number("topic_id"),
        _name("sha256"),
        _text("layout"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("topic_id", "sha256", name="telemetry_layouts_layout"),
    )
    op.create_table(
        "telemetry_chunks",
        sa.Column("id", SERIAL, nullable=False),
        _number("topic_id"),
        _number("layout_id"),
        _seconds("first_seconds"),
        _seconds("last_seconds"),
        _number("samples"),
        _bytes("data"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("telemetry_chunks_last", "telemetry_chunks", ["topic_id", "last_seconds"])
    op.create_table(
        "telemetry_sequences",
        sa.Column("topic_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("incarnation", sa.BigInteger(), autoincrement=False, nullable=False),
        _bytes("received"),
        sa.PrimaryKeyConstraint("topic_id", "incarnation"),
    )
    _alarms()


def _alarms() -> None:
    op.create_table(
        "alarms",
        sa.Column("id", SERIAL, nullable=False),
        _text("satellite"),
        _name("name"),
        _text("instance"),
        _number("severity"),
        _text("level"),
        _text("text"),
        sa.Column("value", sa.Double(), nullable=True),
        _number("is_active"),
        _number("is_acknowledged"),
        _text("acknowledged_by"),
        _text("comment"),
        _seconds("shelved_until_seconds"),
        _text("shelved_by"),
        _text("shelve_reason"),
        _seconds("raised_seconds"),
        _seconds("changed_seconds"),
        _number("occurrences"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("satellite", "name", "instance", name="alarms_point"),
    )
    op.create_table(
        "alarm_history",
        sa.Column("id", SERIAL, nullable=False),
        _number("alarm_id"),
        _name("action"),
        _text("who"),
        _text("text"),
        _number("severity"),
        _seconds("mission_time_seconds"),
        _seconds("noted_seconds"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("alarm_history_alarm", "alarm_history", ["alarm_id"])
