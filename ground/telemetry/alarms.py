"""Alarms after ISA-18.2: one for each field and instance, latched until somebody acknowledges it. Pure.

A limit must be left for the persistence before its alarm is raised, and a value must come back by a deadband
(``watch``) before the condition ends, so that a value at its limit raises one alarm and not a flood. An alarm that is
acknowledged while its condition holds stays until the condition ends; one whose condition ends unacknowledged stays as
``returned``. Shelved alarms go on being followed and trouble nobody until their time is up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from ground.telemetry.watch import Crossing
from skyrack.limits import Level
from skyrack.v1.common_pb2 import SEVERITY_CRITICAL, SEVERITY_INFO, SEVERITY_WARNING

__all__ = ["Action", "Alarm", "AlarmBook", "Change", "Point", "State"]

State = Literal["active", "acknowledged", "returned", "shelved", "cleared"]
Action = Literal["raised", "escalated", "eased", "returned", "cleared", "acknowledged", "shelved", "unshelved"]

PERSISTENCE_SECONDS: Final = 10.0
_SILENT_SECONDS: Final = 60.0
"""A limit that was left by the last that was heard of a satellite is told after so long all the same."""


@dataclass(frozen=True, slots=True)
class Point:
    """What an alarm is about: a field of an instance, or a condition that the ground found."""

    satellite: str
    name: str
    instance: str = ""

    def __str__(self) -> str:
        where = f"{self.name}[{self.instance}]" if self.instance else self.name
        return f"{self.satellite} {where}" if self.satellite else where


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm as it stands; times in mission seconds, 0 is never."""

    point: Point
    severity: int
    level: str
    text: str
    value: float | None = None
    is_active: bool = True
    is_acknowledged: bool = False
    acknowledged_by: str = ""
    comment: str = ""
    shelved_until_seconds: float = 0.0
    shelved_by: str = ""
    shelve_reason: str = ""
    raised_seconds: float = 0.0
    changed_seconds: float = 0.0
    occurrences: int = 1

    @property
    def state(self) -> State:
        """Where it stands; a shelved alarm is shelved, whatever its condition."""
        if self.shelved_until_seconds:
            return "shelved"
        if self.is_active:
            return "acknowledged" if self.is_acknowledged else "active"
        return "cleared" if self.is_acknowledged else "returned"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of an alarm, and who did it; nobody when it was a condition."""

    alarm: Alarm
    action: Action
    text: str
    mission_time_seconds: float
    who: str = ""


@dataclass(slots=True)
class _Pending:
    severity: int
    level: str
    text: str
    value: float | None
    since: float
    noted: float


class AlarmBook:
    """All alarms. What people do raises ``KeyError`` where there is no such alarm."""

    def __init__(self, alarms: Iterable[Alarm] = (), persistence_seconds: float = PERSISTENCE_SECONDS) -> None:
        self.alarms: dict[Point, Alarm] = {alarm.point: alarm for alarm in alarms}
        self._persistence = persistence_seconds
        self._pending: dict[Point, _Pending] = {}

    def observe(self, satellite: str, crossings: Iterable[Crossing], now: float) -> list[Change]:
        """Fields that changed their level, in the order of their on-board time."""
        changes: list[Change] = []
        for crossing in crossings:
            point = Point(satellite, crossing.field, ",".join(crossing.labels))
            at, value = crossing.mission_time_seconds, crossing.value
            if crossing.level is Level.NOMINAL:
                changes += self.end(point, f"{value:g}, within its limits again", at)
                continue
            severity = SEVERITY_CRITICAL if crossing.level.red else SEVERITY_WARNING
            level = crossing.level.value
            changes += self._begin(
                point, _Pending(severity, level, f"{level.replace('_', ' ')} at {value:g}", value, at, now)
            )
        return changes

    def condition(self, point: Point, severity: int, text: str, now: float, *, is_on: bool) -> list[Change]:
        """A condition that the ground looks at again and again: raised at once, ended at once."""
        if not is_on:
            return self.end(point, text or "over", now)
        alarm = self.alarms.get(point)
        if alarm is not None and alarm.is_active:
            return []
        return [self._raise(point, _Pending(severity, "", text, None, now, now))]

    def _begin(self, point: Point, pending: _Pending) -> list[Change]:
        alarm = self.alarms.get(point)
        if alarm is not None and alarm.is_active and pending.severity <= alarm.severity:
            self._pending.pop(point, None)
            if pending.severity == alarm.severity:
                return []
            eased = replace(
                alarm,
                severity=pending.severity,
                level=pending.level,
                text=pending.text,
                value=pending.value,
                changed_seconds=pending.since,
            )
            return [self._keep(eased, "eased", pending.text, pending.since)]
        old = self._pending.get(point)
        if old is not None:
            pending.since, pending.noted = old.since, old.noted
        self._pending[point] = pending
        return []

    def end(self, point: Point, text: str, at: float) -> list[Change]:
        """The condition is over."""
        self._pending.pop(point, None)
        alarm = self.alarms.get(point)
        if alarm is None or not alarm.is_active:
            return []
        over = replace(alarm, is_active=False, changed_seconds=at)
        return [self._keep(over, "cleared" if alarm.is_acknowledged else "returned", text, at)]

    def tick(self, on_board: Mapping[str, float], now: float) -> list[Change]:
        """Raise what has lasted, by the newest on-board time of each satellite; unshelve what has lain long enough."""
        changes = []
        for point, pending in list(self._pending.items()):
            lasted = on_board.get(point.satellite, 0.0) - pending.since >= self._persistence
            if lasted or now - pending.noted >= self._persistence + _SILENT_SECONDS:
                del self._pending[point]
                changes.append(self._raise(point, pending))
        over = [alarm.point for alarm in self.alarms.values() if 0 < alarm.shelved_until_seconds <= now]
        return changes + [self.unshelve(point, "", now, "its time is up") for point in over]

    def _raise(self, point: Point, pending: _Pending) -> Change:
        old = self.alarms.get(point)
        escalates = old is not None and old.is_active
        alarm = Alarm(
            point,
            pending.severity,
            pending.level,
            pending.text,
            pending.value,
            raised_seconds=old.raised_seconds if old and escalates else pending.since,
            changed_seconds=pending.since,
            occurrences=(old.occurrences if old else 0) + (not escalates),
            shelved_until_seconds=old.shelved_until_seconds if old else 0.0,
            shelved_by=old.shelved_by if old else "",
            shelve_reason=old.shelve_reason if old else "",
        )
        return self._keep(alarm, "escalated" if escalates else "raised", pending.text, pending.since)

    def acknowledge(self, point: Point, who: str, comment: str, now: float) -> Change | None:
        """Somebody has seen it; None when that was so already."""
        alarm = self.alarms[point]
        if alarm.is_acknowledged:
            return None
        seen = replace(alarm, is_acknowledged=True, acknowledged_by=who, comment=comment, changed_seconds=now)
        return self._keep(seen, "acknowledged", comment, now, who)

    def shelve(self, point: Point, until_seconds: float, who: str, reason: str, now: float) -> Change:
        """It is not to trouble anybody until then."""
        alarm = self.alarms[point]
        shelved = replace(
            alarm, shelved_until_seconds=until_seconds, shelved_by=who, shelve_reason=reason, changed_seconds=now
        )
        return self._keep(shelved, "shelved", reason, now, who)

    def unshelve(self, point: Point, who: str, now: float, reason: str = "") -> Change:
        """It troubles again."""
        alarm = replace(
            self.alarms[point], shelved_until_seconds=0.0, shelved_by="", shelve_reason="", changed_seconds=now
        )
        return self._keep(alarm, "unshelved", reason, now, who)

    def _keep(self, alarm: Alarm, action: Action, text: str, at: float, who: str = "") -> Change:
        self.alarms[alarm.point] = alarm
        return Change(alarm, action, text, at, who)


def event_severity(change: Change) -> int:
    """How loud a change is told: a shelved alarm, and what people did, quietly."""
    if change.action in ("raised", "escalated") and change.alarm.state != "shelved":
        return change.alarm.severity
    return int(SEVERITY_INFO)
