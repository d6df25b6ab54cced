"""Tables of the ground. A step is never changed once released; new needs become new steps."""

from __future__ import annotations

from typing import Final

COMPONENT: Final = "ground"

STEPS: Final = (
    """
    CREATE TABLE jobs (
        job_id TEXT PRIMARY KEY,
        spec BLOB NOT NULL,
        state INTEGER NOT NULL,
        is_open INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        satellite TEXT NOT NULL DEFAULT '',
        lease_end_seconds REAL NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        rejections INTEGER NOT NULL DEFAULT 0,
        not_before_seconds REAL NOT NULL DEFAULT 0,
        cancel_reason TEXT,
        reason TEXT NOT NULL DEFAULT '',
        status BLOB NOT NULL DEFAULT x'',
        submitted_seconds REAL NOT NULL,
        placed_seconds REAL,
        started_seconds REAL,
        finished_seconds REAL,
        changed_seconds REAL NOT NULL,
        revision INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX jobs_open ON jobs (is_open) WHERE is_open = 1;
    CREATE INDEX jobs_revision ON jobs (revision);
    CREATE INDEX jobs_submitted ON jobs (submitted_seconds);

    CREATE TABLE attempts (
        job_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        satellite TEXT NOT NULL,
        placed_seconds REAL NOT NULL,
        lease_end_seconds REAL NOT NULL,
        state INTEGER NOT NULL,
        version INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (job_id, attempt)
    ) WITHOUT ROWID;

    CREATE TABLE job_history (
        id INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        version INTEGER,
        state INTEGER NOT NULL,
        satellite TEXT NOT NULL,
        node TEXT NOT NULL,
        reason TEXT NOT NULL,
        progress_ratio REAL NOT NULL,
        mission_time_seconds REAL NOT NULL,
        received_seconds REAL NOT NULL,
        is_applied INTEGER NOT NULL,
        UNIQUE (job_id, attempt, version)
    );

    CREATE TABLE packages (
        sha256 BLOB PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        received_seconds REAL NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE results (
        job_id TEXT PRIMARY KEY,
        attempt INTEGER NOT NULL,
        sha256 BLOB NOT NULL,
        size_bytes INTEGER NOT NULL,
        received_seconds REAL,
        problem TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID;

    CREATE TABLE chunks (
        job_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        sha256 BLOB NOT NULL,
        offset_bytes INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (job_id, attempt, sha256, offset_bytes)
    );

    CREATE TABLE telecommands (
        command_id TEXT PRIMARY KEY,
        satellite TEXT NOT NULL,
        service TEXT NOT NULL,
        method TEXT NOT NULL,
        request BLOB NOT NULL,
        submitter TEXT NOT NULL,
        created_seconds REAL NOT NULL,
        not_after_seconds REAL NOT NULL,
        stage INTEGER NOT NULL,
        is_open INTEGER NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        response BLOB NOT NULL DEFAULT x'',
        revision INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX telecommands_open ON telecommands (is_open) WHERE is_open = 1;
    CREATE INDEX telecommands_created ON telecommands (created_seconds);

    CREATE TABLE telecommand_stages (
        command_id TEXT NOT NULL,
        stage INTEGER NOT NULL,
        reason TEXT NOT NULL,
        mission_time_seconds REAL NOT NULL,
        PRIMARY KEY (command_id, stage)
    ) WITHOUT ROWID;

    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        satellite TEXT NOT NULL,
        source TEXT NOT NULL,
        name TEXT NOT NULL,
        severity INTEGER NOT NULL,
        text TEXT NOT NULL,
        fields TEXT NOT NULL,
        mission_time_seconds REAL NOT NULL,
        received_seconds REAL NOT NULL
    );

    CREATE TABLE telemetry (
        id INTEGER PRIMARY KEY,
        satellite TEXT NOT NULL,
        first_seconds REAL NOT NULL,
        last_seconds REAL NOT NULL,
        received_seconds REAL NOT NULL,
        samples INTEGER NOT NULL,
        batch BLOB NOT NULL
    );
    CREATE INDEX telemetry_last ON telemetry (satellite, last_seconds);

    CREATE TABLE revisions (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        revision INTEGER NOT NULL
    );
    INSERT INTO revisions VALUES (1, 0);
    """,
)
