"""Queues of commands: what waits for each satellite, held back with a reason, and let go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nicegui import ui

from ground.access import Role
from ground.command_records import QueueRecord
from ground.console.columns import Column
from ground.console.elements import Grid
from ground.console.feed import Frame
from ground.console.rows import Row
from ground.console.visit import Visit
from ground.console.widgets import button, element, field, text

__all__ = ["QueueTable"]

_COLUMNS: Final = (
    Column("Satellite", sortable=False),
    Column("Queue", "state", sortable=False),
    Column("", sortable=False, style="fill soft"),
    Column("", "actions", sortable=False),
)
_NONE: Final = "No satellite is in this ground's constellation file."


class QueueTable:
    """A row for each satellite, and a button to hold or to release."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._why_not = visit.refusal(Role.OPERATOR)
        self._grid = Grid("Queues", _COLUMNS, self._rows(visit.frame.queues), _NONE)
        self._grid.style("--rows: 40vh")
        self._grid.on("act", self._act)

    def show(self, frame: Frame) -> None:
        """The queues are so now."""
        self._grid.replace(self._rows(frame.queues))

    def _rows(self, queues: Sequence[QueueRecord]) -> list[Row]:
        return [self._row(queue) for queue in queues]

    def _row(self, queue: QueueRecord) -> Row:
        action = {"name": "release", "text": "Release"} if queue.is_held else {"name": "hold", "text": "Hold…"}
        return {
            "key": queue.satellite,
            "level": "caution" if queue.is_held else "",
            "cells": [
                queue.satellite,
                {"text": "held", "level": "caution"} if queue.is_held else {"text": "open", "level": "nominal"},
                _told(queue),
                [action | {"why": self._why_not}],
            ],
        }

    def _act(self, event: Any) -> None:
        satellite = str(event.args["key"])
        if event.args["action"] == "hold":
            self._ask_to_hold(satellite)
        else:
            self._visit.later(self._release(satellite), self._grid)

    async def _release(self, satellite: str) -> None:
        visit = self._visit

        async def work() -> None:
            async with visit.doing(Role.OPERATOR, "release_queue", satellite):
                await visit.segment.command_desk.release(satellite, visit.person.name)

        await visit.attempt(work(), f"What waits for {satellite} may leave again.")

    def _ask_to_hold(self, satellite: str) -> None:
        asked = {"reason": ""}
        visit = self._visit

        async def hold() -> None:
            async def work() -> None:
                async with visit.doing(Role.OPERATOR, "hold_queue", f"{satellite}: {asked['reason']}"):
                    await visit.segment.command_desk.hold(satellite, visit.person.name, asked["reason"])

            if not await visit.attempt(work(), f"No command leaves for {satellite} any more."):
                dialog.close()

        with ui.dialog() as dialog, element("div", "sr-dialog", role="document"):
            text("h1", f"Hold the queue of {satellite}?")
            text("p", "No command leaves for it until somebody releases the queue; what has left is not called back.")
            field(
                "reason",
                lambda value: asked.update(reason=value),
                label="Reason",
                hint="For whoever comes next",
                autofocus="autofocus",
                maxlength="256",
            )
            with element("div", "buttons"):
                button("Leave it open", dialog.close)
                button("Hold", lambda: visit.later(hold(), dialog), "primary")
        dialog.on("hide", dialog.delete)
        dialog.open()


def _told(queue: QueueRecord) -> str:
    """Who holds it and why; what waits, and for what."""
    said = []
    if queue.is_held:
        said.append(f"by {queue.held_by or 'somebody'}{f': {queue.reason}' if queue.reason else ''}")
    count = len(queue.waiting)
    if count:
        said.append(f"{count} wait{'s' if count == 1 else ''}{'' if queue.is_reachable else ' for the next contact'}")
    elif not queue.is_held:
        said.append("nothing waits")
    return "; ".join(said)
