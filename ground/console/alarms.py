"""The alarms that stand: acknowledged, or shelved with a reason, by who may command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nicegui import ui

from ground.access import Role
from ground.console.columns import Column
from ground.console.elements import Grid
from ground.console.feed import Frame
from ground.console.rows import Row
from ground.console.visit import Visit
from ground.console.widgets import button, element, field, text
from ground.store.alarms import AlarmRecord

__all__ = ["AlarmTable"]

_COLUMNS: Final = (
    Column("Raised", "time", sortable=False),
    Column("Severity", "state", sortable=False),
    Column("Satellite", sortable=False),
    Column("Alarm", sortable=False, style="fill"),
    Column("State", "state", sortable=False),
    Column("", "actions", sortable=False),
)
_STATES: Final = {
    "active": "caution",
    "acknowledged": "off",
    "returned": "active",
    "shelved": "off",
    "cleared": "nominal",
}
_NONE: Final = "No alarm stands. All limits hold, and every satellite that should be heard is heard."
_MINUTES: Final = (("30", "30 minutes"), ("120", "2 hours"), ("1440", "1 day"), ("10080", "7 days"))


class AlarmTable:
    """A table of alarms with what may be done about each."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._why_not = visit.refusal(Role.OPERATOR)
        self._grid = Grid("Alarms", _COLUMNS, self._rows(visit.frame.alarms), _NONE, is_cards=True)
        self._grid.on("act", self._act)

    def show(self, frame: Frame) -> None:
        """These alarms stand now."""
        self._grid.replace(self._rows(frame.alarms))

    def _rows(self, alarms: Sequence[AlarmRecord]) -> list[Row]:
        return [self._row(alarm) for alarm in alarms]

    def _row(self, alarm: AlarmRecord) -> Row:
        level = "critical" if alarm.severity in ("ERROR", "CRITICAL") else "caution"
        is_over = not alarm.is_active
        actions = []
        if alarm.state in ("active", "returned"):
            actions.append({"name": "acknowledge", "text": "Acknowledge", "why": self._why_not})
        if alarm.state == "shelved":
            actions.append({"name": "unshelve", "text": "Unshelve", "why": self._why_not})
        elif alarm.is_active:
            actions.append({"name": "shelve", "text": "Shelve…", "why": self._why_not})
        what = f"{alarm.name} {alarm.instance}".strip()
        said = [f"{what}: {alarm.text}"]
        if alarm.acknowledged_by:
            said.append(f"seen by {alarm.acknowledged_by}")
        if alarm.state == "shelved":
            said.append(f"shelved by {alarm.shelved_by}: {alarm.shelve_reason}")
        elif alarm.comment:
            said.append(alarm.comment)
        return {
            "key": str(alarm.id),
            "level": level if alarm.state == "active" else "",
            "cells": [
                alarm.raised_seconds,
                {"text": alarm.severity.lower(), "level": level if not is_over else "off"},
                alarm.satellite or "ground",
                "; ".join(said),
                {"text": alarm.state, "level": _STATES.get(alarm.state, "off")},
                actions,
            ],
        }

    def _act(self, event: Any) -> None:
        alarm_id = int(event.args["key"])
        if event.args["action"] == "shelve":
            self._ask_to_shelve(alarm_id)
        else:
            self._visit.later(self._do(event.args["action"], alarm_id), self._grid)

    async def _do(self, action: str, alarm_id: int, reason: str = "", seconds: float = 0.0) -> str:
        visit = self._visit
        desk, who = visit.segment.telemetry_service.alarms, visit.person.name
        now = visit.segment.clock.now()

        async def work() -> None:
            async with visit.doing(Role.OPERATOR, f"{action}_alarm", f"alarm {alarm_id}"):
                if action == "acknowledge":
                    await desk.acknowledge(alarm_id, who, "", now)
                elif action == "unshelve":
                    await desk.unshelve(alarm_id, who, now)
                else:
                    await desk.shelve(alarm_id, now + seconds, who, reason, now)

        done = {"acknowledge": "acknowledged", "unshelve": "no longer shelved"}.get(action, "shelved")
        return await visit.attempt(work(), f"The alarm is {done}.")

    def _ask_to_shelve(self, alarm_id: int) -> None:
        asked = {"reason": "", "minutes": _MINUTES[0][0]}

        async def shelve() -> None:
            if not await self._do("shelve", alarm_id, asked["reason"], float(asked["minutes"]) * 60.0):
                dialog.close()

        with ui.dialog() as dialog, element("div", "sr-dialog", role="document"):
            text("h1", "Shelve the alarm")
            text("p", "It troubles nobody until its time is over; whoever comes next must know why.", "soft")
            field(
                "reason",
                lambda value: asked.update(reason=value),
                label="Reason",
                is_required=True,
                autofocus="autofocus",
                maxlength="500",
            )
            field(
                "minutes",
                lambda value: asked.update(minutes=value),
                label="For",
                value=asked["minutes"],
                choices=_MINUTES,
                is_required=True,
            )
            with element("div", "buttons"):
                button("Leave it", dialog.close)
                button("Shelve", lambda: self._visit.later(shelve(), dialog), "primary")
        dialog.on("hide", dialog.delete)
        dialog.open()
