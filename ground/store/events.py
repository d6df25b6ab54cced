"""Events of satellites and of the ground itself."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from ground.records import EventRecord
from skyrack.v1.common_pb2 import Severity

__all__ = ["add", "list_events", "severity_name", "trim"]


def severity_name(severity: int) -> str:
    """``WARNING`` for ``SEVERITY_WARNING``."""
    return Severity.Name(severity).removeprefix("SEVERITY_") if severity in Severity.values() else str(severity)


def add(  # noqa: PLR0913 - an event's fields
    connection: sqlite3.Connection,
    *,
    satellite: str,
    source: str,
    name: str,
    severity: int,
    text: str,
    fields: dict[str, str],
    mission_time_seconds: float,
    received_seconds: float,
) -> None:
    """Keep an event."""
    connection.execute(
        "INSERT INTO events (satellite, source, name, severity, text, fields, mission_time_seconds, received_seconds) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (satellite, source, name, severity, text, json.dumps(fields), mission_time_seconds, received_seconds),
    )


def list_events(
    connection: sqlite3.Connection, *, after_id: int = -1, limit: int = 100, satellite: str = "", severity: int = 0
) -> list[EventRecord]:
    """Events after an id, oldest first; without one the newest. ``severity`` is the least that is wanted."""
    columns = "id, satellite, source, name, severity, text, mission_time_seconds, received_seconds, fields"
    where = "WHERE id > ?1 AND (?2 = '' OR satellite = ?2) AND severity >= ?3"
    order = "ASC" if after_id >= 0 else "DESC"
    rows = connection.execute(
        f"SELECT {columns} FROM events {where} ORDER BY id {order} LIMIT ?4",  # noqa: S608
        (after_id, satellite, severity, limit),
    ).fetchall()
    return [_record(row) for row in (rows if after_id >= 0 else reversed(rows))]


def trim(connection: sqlite3.Connection, keep: int) -> None:
    """Forget all but the newest events."""
    connection.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (keep,))


def _record(row: tuple[Any, ...]) -> EventRecord:
    return EventRecord(
        id=row[0],
        satellite=row[1],
        source=row[2],
        name=row[3],
        severity=severity_name(row[4]),
        text=row[5],
        mission_time_seconds=row[6],
        received_seconds=row[7],
        fields=json.loads(row[8]),
    )
