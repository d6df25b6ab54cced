"""Tables of telemetry and alarms; in the schema as those of ``ground.store.schema`` are."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, LargeBinary, Table, UniqueConstraint

from ground.store.schema import METADATA, Name, Serial, number, seconds, text

__all__ = [
    "alarm_history",
    "alarms",
    "telemetry_batches",
    "telemetry_chunks",
    "telemetry_cursors",
    "telemetry_layouts",
    "telemetry_outgoing",
    "telemetry_sequences",
    "telemetry_topics",
]

# Batches as they came, until they are sealed.
telemetry_batches: Final = Table(
    "telemetry_batches",
    METADATA,
    Column("id", Serial, primary_key=True),
    Column("satellite", Name, nullable=False),
    seconds("received_seconds"),
    number("samples"),
    Column("batch", LargeBinary, nullable=False),
    # An id is never used twice: cursors go by it, and most rows do not stay long.
    sqlite_autoincrement=True,
)
# Sealed batches that a remote write has still to send.
telemetry_outgoing: Final = Table(
    "telemetry_outgoing",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("satellite", Name, nullable=False),
    seconds("received_seconds"),
    Column("batch", LargeBinary, nullable=False),
)
telemetry_cursors: Final = Table(
    "telemetry_cursors",
    METADATA,
    Column("name", Name, primary_key=True),
    number("position"),
    number("dropped"),
)
telemetry_topics: Final = Table(
    "telemetry_topics",
    METADATA,
    Column("id", Serial, primary_key=True),
    Column("satellite", Name, nullable=False),
    Column("message_type", Name, nullable=False),
    text("source"),
    text("instance"),
    UniqueConstraint("satellite", "message_type", "source", "instance", name="telemetry_topics_topic"),
)
# What the columns of a chunk mean.
telemetry_layouts: Final = Table(
    "telemetry_layouts",
    METADATA,
    Column("id", Serial, primary_key=True),
    number("topic_id"),
    Column("sha256", Name, nullable=False),
    text("layout"),
    UniqueConstraint("topic_id", "sha256", name="telemetry_layouts_layout"),
)
telemetry_chunks: Final = Table(
    "telemetry_chunks",
    METADATA,
    Column("id", Serial, primary_key=True),
    number("topic_id"),
    number("layout_id"),
    seconds("first_seconds"),
    seconds("last_seconds"),
    number("samples"),
    Column("data", LargeBinary, nullable=False),
)
Index("telemetry_chunks_last", telemetry_chunks.c.topic_id, telemetry_chunks.c.last_seconds)
# Which messages of each life of a topic have come.
telemetry_sequences: Final = Table(
    "telemetry_sequences",
    METADATA,
    Column("topic_id", BigInteger, primary_key=True, autoincrement=False),
    Column("incarnation", BigInteger, primary_key=True, autoincrement=False),
    Column("received", LargeBinary, nullable=False),
)

alarms: Final = Table(
    "alarms",
    METADATA,
    Column("id", Serial, primary_key=True),
    text("satellite"),
    Column("name", Name, nullable=False),
    text("instance"),
    number("severity"),
    text("level"),
    text("text"),
    Column("value", Double),
    number("is_active"),
    number("is_acknowledged"),
    text("acknowledged_by"),
    text("comment"),
    seconds("shelved_until_seconds"),
    text("shelved_by"),
    text("shelve_reason"),
    seconds("raised_seconds"),
    seconds("changed_seconds"),
    number("occurrences"),
    UniqueConstraint("satellite", "name", "instance", name="alarms_point"),
)
alarm_history: Final = Table(
    "alarm_history",
    METADATA,
    Column("id", Serial, primary_key=True),
    number("alarm_id"),
    Column("action", Name, nullable=False),
    text("who"),
    text("text"),
    number("severity"),
    seconds("mission_time_seconds"),
    seconds("noted_seconds"),
)
Index("alarm_history_alarm", alarm_history.c.alarm_id)
