"""Tables of telemetry and alarms, beside the ground's others. A step is never changed once released."""

from __future__ import annotations

from typing import Final

__all__ = ["COMPONENT", "STEPS"]

COMPONENT: Final = "telemetry"

STEPS: Final = (
    """
    CREATE TABLE telemetry_topics (
        id INTEGER PRIMARY KEY,
        satellite TEXT NOT NULL,
        message_type TEXT NOT NULL,
        source TEXT NOT NULL,
        instance TEXT NOT NULL,
        UNIQUE (satellite, message_type, source, instance)
    );
    CREATE TABLE telemetry_layouts (
        id INTEGER PRIMARY KEY,
        topic_id INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        layout TEXT NOT NULL,
        UNIQUE (topic_id, sha256)
    );
    CREATE TABLE telemetry_chunks (
        id INTEGER PRIMARY KEY,
        topic_id INTEGER NOT NULL,
        layout_id INTEGER NOT NULL,
        first_seconds REAL NOT NULL,
        last_seconds REAL NOT NULL,
        samples INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE INDEX telemetry_chunks_last ON telemetry_chunks (topic_id, last_seconds);
    CREATE TABLE telemetry_sequences (
        topic_id INTEGER NOT NULL,
        incarnation INTEGER NOT NULL,
        received BLOB NOT NULL,
        PRIMARY KEY (topic_id, incarnation)
    ) WITHOUT ROWID;
    CREATE TABLE telemetry_outgoing (
        id INTEGER PRIMARY KEY,
        satellite TEXT NOT NULL,
        received_seconds REAL NOT NULL,
        batch BLOB NOT NULL
    );
    CREATE TABLE telemetry_cursors (
        name TEXT PRIMARY KEY,
        position INTEGER NOT NULL,
        dropped INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE alarms (
        id INTEGER PRIMARY KEY,
        satellite TEXT NOT NULL,
        name TEXT NOT NULL,
        instance TEXT NOT NULL,
        severity INTEGER NOT NULL,
        level TEXT NOT NULL,
        text TEXT NOT NULL,
        value REAL,
        is_active INTEGER NOT NULL,
        is_acknowledged INTEGER NOT NULL,
        acknowledged_by TEXT NOT NULL,
        comment TEXT NOT NULL,
        shelved_until_seconds REAL NOT NULL,
        shelved_by TEXT NOT NULL,
        shelve_reason TEXT NOT NULL,
        raised_seconds REAL NOT NULL,
        changed_seconds REAL NOT NULL,
        occurrences INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        UNIQUE (satellite, name, instance)
    );
    CREATE TABLE alarm_history (
        id INTEGER PRIMARY KEY,
        alarm_id INTEGER NOT NULL,
        action TEXT NOT NULL,
        who TEXT NOT NULL,
        text TEXT NOT NULL,
        severity INTEGER NOT NULL,
        mission_time_seconds REAL NOT NULL,
        noted_seconds REAL NOT NULL
    );
    CREATE INDEX alarm_history_alarm ON alarm_history (alarm_id);
    """,
)
