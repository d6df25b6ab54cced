"""Events of satellites and of the ground itself."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import delete, func, insert, select

from ground.connection import Connection
from ground.records import EventRecord
from ground.store.schema import events
from skyrack.v1.common_pb2 import Severity

__all__ = ["add", "list_events", "severity_name", "trim"]

_ADD: Final = insert(events)
_COLUMNS: Final = select(
    events.c.id,
    events.c.satellite,
    events.c.source,
    events.c.name,
    events.c.severity,
    events.c.text,
    events.c.mission_time_seconds,
    events.c.received_seconds,
    events.c.fields,
)


def severity_name(severity: int) -> str:
    """``WARNING`` for ``SEVERITY_WARNING``."""
    return Severity.Name(severity).removeprefix("SEVERITY_") if severity in Severity.values() else str(severity)


def add(  # noqa: PLR0913 - an event's fields
    connection: Connection,
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
    row = {
        "satellite": satellite,
        "source": source,
        "name": name,
        "severity": severity,
        "text": text,
        "fields": json.dumps(fields),
        "mission_time_seconds": mission_time_seconds,
        "received_seconds": received_seconds,
    }
    connection.execute(_ADD, row)


def list_events(
    connection: Connection,
    *,
    after_id: int = -1,
    limit: int = 100,
    satellite: str = "",
    severity: int = 0,
    leave_out: str = "",
) -> list[EventRecord]:
    """Events after an id, oldest first; without one the newest.

    ``severity`` is the least that is wanted, ``leave_out`` the name of events that are not.
    """
    is_onward = after_id >= 0
    statement = _COLUMNS.order_by(events.c.id if is_onward else events.c.id.desc()).limit(limit)
    if is_onward:
        statement = statement.where(events.c.id > after_id)
    if satellite:
        statement = statement.where(events.c.satellite == satellite)
    if severity:
        statement = statement.where(events.c.severity >= severity)
    if leave_out:
        statement = statement.where(events.c.name != leave_out)
    rows = connection.execute(statement).fetchall()
    return [_record(row) for row in (rows if is_onward else reversed(rows))]


def trim(connection: Connection, keep: int) -> None:
    """Forget all but the newest events."""
    newest = select(func.max(events.c.id)).scalar_subquery()
    connection.execute(delete(events).where(events.c.id <= newest - keep))


def _record(row: Any) -> EventRecord:
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
