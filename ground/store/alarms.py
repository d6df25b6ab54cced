"""Alarms as they are kept: each where it stands, and all that became of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ground.connection import Connection
from ground.store import events
from ground.store.events import severity_name
from ground.telemetry.alarms import Alarm, Change, Point, event_severity

__all__ = ["AlarmRecord", "AlarmStep", "history", "load", "record", "save", "trim"]

_COLUMNS = (
    "satellite, name, instance, severity, level, text, value, is_active, is_acknowledged, acknowledged_by, comment, "
    "shelved_until_seconds, shelved_by, shelve_reason, raised_seconds, changed_seconds, occurrences"
)


@dataclass(frozen=True, slots=True)
class AlarmStep:
    """Something that became of an alarm; ``who`` is empty when it was the condition itself."""

    action: str
    who: str
    text: str
    severity: str
    mission_time_seconds: float
    noted_seconds: float


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """An alarm as people see it; times in mission seconds, 0 is never."""

    id: int
    # Empty for alarms of the ground itself.
    satellite: str
    # A field of the dictionary, or what the ground found: "silence", "link", "storage".
    name: str
    instance: str
    # WARNING, CRITICAL...
    severity: str
    # "yellow_high", "red_low"...; empty where no limit is behind it.
    level: str
    text: str
    value: float | None
    # active, acknowledged, returned (over, and nobody has acknowledged it), shelved, cleared.
    state: str
    # Whether the condition holds, whatever people did.
    is_active: bool
    acknowledged_by: str
    comment: str
    shelved_until_seconds: float
    shelved_by: str
    shelve_reason: str
    raised_seconds: float
    changed_seconds: float
    # How often it was raised.
    occurrences: int
    history: tuple[AlarmStep, ...] = ()


def record(number: int, alarm: Alarm, steps: Sequence[AlarmStep] = ()) -> AlarmRecord:
    """An alarm in the words of its record."""
    return AlarmRecord(
        id=number,
        satellite=alarm.point.satellite,
        name=alarm.point.name,
        instance=alarm.point.instance,
        severity=severity_name(alarm.severity),
        level=alarm.level,
        text=alarm.text,
        value=alarm.value if alarm.value is not None and math.isfinite(alarm.value) else None,
        state=alarm.state,
        is_active=alarm.is_active,
        acknowledged_by=alarm.acknowledged_by,
        comment=alarm.comment,
        shelved_until_seconds=alarm.shelved_until_seconds,
        shelved_by=alarm.shelved_by,
        shelve_reason=alarm.shelve_reason,
        raised_seconds=alarm.raised_seconds,
        changed_seconds=alarm.changed_seconds,
        occurrences=alarm.occurrences,
        history=tuple(steps),
    )


def load(connection: Connection) -> list[tuple[int, Alarm]]:
    """All alarms, with their ids."""
    rows = connection.execute(f"SELECT id, {_COLUMNS} FROM alarms ORDER BY id").fetchall()  # noqa: S608 - our columns
    return [(int(row[0]), _alarm(row[1:])) for row in rows]


def _alarm(row: Sequence[Any]) -> Alarm:
    satellite, name, instance, severity, level, text, value, is_active, is_acknowledged, *rest = row
    by, comment, until, shelved_by, shelve_reason, raised, changed, occurrences = rest
    return Alarm(
        Point(satellite, name, instance),
        int(severity),
        level,
        text,
        value,
        bool(is_active),
        bool(is_acknowledged),
        by,
        comment,
        until,
        shelved_by,
        shelve_reason,
        raised,
        changed,
        int(occurrences),
    )


def save(connection: Connection, changes: Sequence[Change], now: float) -> dict[Point, int]:
    """Keep what became of alarms, and tell it as events; returns the alarms' ids."""
    names = [name.strip() for name in _COLUMNS.split(",")]
    marks = ", ".join(f":{name}" for name in names)
    updates = ", ".join(f"{name} = excluded.{name}" for name in names[3:])
    ids: dict[Point, int] = {}
    for change in changes:
        alarm = change.alarm
        row = connection.execute(
            f"INSERT INTO alarms ({_COLUMNS}) VALUES ({marks}) "  # noqa: S608 - our own columns
            f"ON CONFLICT (satellite, name, instance) DO UPDATE SET {updates} RETURNING id",
            {
                "satellite": alarm.point.satellite,
                "name": alarm.point.name,
                "instance": alarm.point.instance,
                "severity": alarm.severity,
                "level": alarm.level,
                "text": alarm.text,
                "value": alarm.value,
                "is_active": int(alarm.is_active),
                "is_acknowledged": int(alarm.is_acknowledged),
                "acknowledged_by": alarm.acknowledged_by,
                "comment": alarm.comment,
                "shelved_until_seconds": alarm.shelved_until_seconds,
                "shelved_by": alarm.shelved_by,
                "shelve_reason": alarm.shelve_reason,
                "raised_seconds": alarm.raised_seconds,
                "changed_seconds": alarm.changed_seconds,
                "occurrences": alarm.occurrences,
            },
        ).fetchall()
        ids[alarm.point] = int(row[0][0])
        connection.execute(
            "INSERT INTO alarm_history (alarm_id, action, who, text, severity, mission_time_seconds, noted_seconds) "
            "VALUES (:alarm, :action, :who, :text, :severity, :at, :now)",
            {
                "alarm": ids[alarm.point],
                "action": change.action,
                "who": change.who,
                "text": change.text,
                "severity": alarm.severity,
                "at": change.mission_time_seconds,
                "now": now,
            },
        )
        _tell(connection, change, now)
    return ids


def _tell(connection: Connection, change: Change, now: float) -> None:
    point = change.alarm.point
    where = f"{point.name}[{point.instance}]" if point.instance else point.name
    who = f" by {change.who}" if change.who else ""
    fields = {"alarm": point.name, "instance": point.instance, "action": change.action, "level": change.alarm.level}
    events.add(
        connection,
        satellite=point.satellite,
        source="ground",
        name=f"alarm_{change.action}",
        severity=event_severity(change),
        text=f"{where} {change.action}{who}" + (f": {change.text}" if change.text else ""),
        fields={name: value for name, value in fields.items() if value},
        mission_time_seconds=change.mission_time_seconds,
        received_seconds=now,
    )


def history(connection: Connection, alarm_id: int, limit: int = 200) -> list[AlarmStep]:
    """What became of an alarm, oldest first; the newest when there is more."""
    rows = connection.execute(
        "SELECT action, who, text, severity, mission_time_seconds, noted_seconds FROM alarm_history "
        "WHERE alarm_id = :alarm ORDER BY id DESC LIMIT :limit",
        {"alarm": alarm_id, "limit": limit},
    ).fetchall()
    return [AlarmStep(row[0], row[1], row[2], severity_name(row[3]), row[4], row[5]) for row in reversed(rows)]


def trim(connection: Connection, before_seconds: float) -> None:
    """Forget steps that were noted earlier."""
    connection.execute("DELETE FROM alarm_history WHERE noted_seconds < :before", {"before": before_seconds})
