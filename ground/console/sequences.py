"""Sequences of commands: the newest, and one followed step by step and ended early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nicegui import ui

from ground.access import Role
from ground.command_records import SequenceRecord, SequenceStepRecord
from ground.console import rows
from ground.console.columns import NOTHING, Column
from ground.console.elements import Grid
from ground.console.feed import Frame
from ground.console.sequence_dialog import SequenceDialog, begins
from ground.console.visit import Visit
from ground.console.widgets import button, element, facts, field, heading, panel, text
from ground.errors import UnknownError

__all__ = ["SequenceTable", "detail", "signature_hint"]

_COLUMNS: Final = (
    Column("Sequence", sortable=False),
    Column("Satellite", sortable=False),
    Column("Given", "time", sortable=False),
    Column("Stages", "stages", sortable=False),
    Column("By", sortable=False, style="sr-hide"),
    Column("", sortable=False, style="wide soft"),
)
_STEPS: Final = (
    Column("Step", sortable=False),
    Column("Command", sortable=False),
    Column("Arguments", sortable=False, style="soft cut"),
    Column("Begins", sortable=False),
    Column("Stage", "state", sortable=False),
    Column("Began", "time", sortable=False),
    Column("Ended", "time", sortable=False),
    Column("", sortable=False, style="wide soft"),
)
_STAGES: Final = (
    Column("Time", "time", sortable=False),
    Column("Stage", "state", sortable=False),
    Column("", sortable=False, style="fill"),
)
_NONE: Final = (
    "No sequence was run yet. Press Run a sequence, or type <code>skyrack sequence run sat-1 eclipse-preparation</code>"
)


def signature_hint(command_id: str) -> str:
    """What to do about something critical that waits."""
    return (
        "It is critical and waits on the ground for the signature of a second operator, made with that person's own "
        f"key: skyrack approve {command_id} --key KEYFILE"
    )


class SequenceTable:
    """A panel with the newest sequences, and the way to a new one."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        dialog = SequenceDialog(visit)
        with panel("Sequences") as head:
            self._grid = Grid("Sequences", _COLUMNS, self._rows(visit.frame.sequences), _NONE, is_cards=True)
        with head:
            button("Run a sequence", dialog.open, "", visit.refusal(Role.OPERATOR))

    def show(self, frame: Frame) -> None:
        """The sequences are so now."""
        self._grid.replace(self._rows(frame.sequences))

    def _rows(self, records: Sequence[SequenceRecord]) -> list[rows.Row]:
        return [
            {
                "key": record.sequence_id,
                "href": f"{self._visit.prefix}/sequences/{record.sequence_id}",
                "cells": [
                    record.name or record.sequence_id,
                    record.satellite,
                    record.created_seconds,
                    rows.stage_cells(record.stages, record.stage),
                    record.submitter,
                    record.reason,
                ],
            }
            for record in records
        ]


def detail(visit: Visit, sequence_id: str) -> None:
    """One sequence with its steps."""
    place = element("div", "sr-stack")

    async def build() -> None:
        back = ("Commands", f"{visit.prefix}/commands")
        try:
            record = await visit.segment.sequence_desk.sequence(sequence_id)
        except UnknownError as error:
            heading("There is no such sequence", back)
            text("p", f"{error}. Sequences that ended long ago are forgotten.", "sr-problem")
            return
        _SequencePage(visit, record, back)

    visit.later(build(), place)


class _SequencePage:
    def __init__(self, visit: Visit, record: SequenceRecord, back: tuple[str, str]) -> None:
        self._visit = visit
        self._record = record
        with heading(f"{record.name or record.sequence_id} on {record.satellite}", back):
            self._state = text("span", "", "state")
            text("span", record.sequence_id, "id soft")
            element("span", "grow")
            self._abort = button("Abort", self._ask, "danger", visit.refusal(Role.OPERATOR))
        self._hint = text("p", signature_hint(record.sequence_id), "sr-warn")
        with element("div", "sr-cols"):
            with element("div", "sr-stack"), panel("Steps"):
                self._steps = Grid("Steps", _STEPS, _steps(record), "It has no steps.", is_cards=True)
            with element("div", "sr-stack"):
                with panel("Sequence"):
                    self._facts = facts(_facts(record))
                with panel("Stages"):
                    self._stages = Grid("Stages", _STAGES, _stages(record), "It has reached no stage yet.")
        self._show()
        visit.on_frame(self._steps, self._hear)

    def _hear(self, frame: Frame) -> None:
        if frame.is_news:
            self._visit.later(self._read(), self._steps)

    async def _read(self) -> None:
        try:
            record = await self._visit.segment.sequence_desk.sequence(self._record.sequence_id)
        except UnknownError:
            return  # forgotten meanwhile: what was read last stays
        if record != self._record and not self._steps.is_deleted:
            self._record = record
            self._steps.replace(_steps(record))
            self._stages.replace(_stages(record))
            self._facts.show(_facts(record))
            self._show()

    def _show(self) -> None:
        record = self._record
        self._state._text = rows.stage_word(record.stage)  # noqa: SLF001
        self._state.classes(replace=f"state {rows.stage_level(record.stage, record.stage)}")
        self._state.update()
        self._abort.visible = not record.is_final
        self._hint.visible = record.stage == "NEEDS_SIGNATURE"

    def _ask(self) -> None:
        asked = {"reason": ""}
        visit, record = self._visit, self._record

        async def abort() -> None:
            async def work() -> None:
                async with visit.doing(Role.OPERATOR, "abort_sequence", f"{record.sequence_id}: {asked['reason']}"):
                    await visit.segment.abort_sequence(record.sequence_id, visit.person.name, asked["reason"])

            if not await visit.attempt(work(), "The sequence is being ended."):
                dialog.close()

        with ui.dialog() as dialog, element("div", "sr-dialog", role="document"):
            text("h1", f"Abort {record.name or record.sequence_id}?")
            text(
                "p",
                "If it has not left the ground, the satellite will never see it. Else the satellite is told to run no "
                "further step; what has begun is not recalled.",
            )
            field(
                "reason",
                lambda value: asked.update(reason=value),
                label="Reason",
                hint="For whoever asks later",
                autofocus="autofocus",
                maxlength="256",
            )
            with element("div", "buttons"):
                button("Let it run", dialog.close)
                button("Abort", lambda: visit.later(abort(), dialog), "danger")
        dialog.on("hide", dialog.delete)
        dialog.open()


def _steps(record: SequenceRecord) -> list[rows.Row]:
    return [_step(step) for step in record.steps]


def _step(step: SequenceStepRecord) -> rows.Row:
    level = rows.stage_level(step.stage, step.stage)
    return {
        "key": str(step.number),
        "level": level if level == "critical" else "",
        "cells": [
            str(step.number),
            step.command,
            step.arguments,
            begins(step.at_seconds, step.after_seconds),
            {"text": "waits", "level": "off"} if step.stage == "QUEUED" else _word(step.stage, level),
            step.started_seconds,
            step.finished_seconds,
            step.reason or step.response,
        ],
    }


def _word(stage: str, level: str) -> rows.Row:
    return {"text": rows.stage_word(stage), "level": level}


def _stages(record: SequenceRecord) -> list[rows.Row]:
    return [
        {
            "key": f"{index} {stage.stage}",
            "cells": [
                stage.mission_time_seconds,
                _word(stage.stage, rows.stage_level(stage.stage, record.stage)),
                stage.reason,
            ],
        }
        for index, stage in enumerate(record.stages)
    ]


def _facts(record: SequenceRecord) -> dict[str, str | tuple[str, str]]:
    done = sum(step.stage == "COMPLETED" for step in record.steps)
    return {
        "Steps done": f"{done} of {len(record.steps)}",
        "Satellite": record.satellite,
        "By": record.submitter or NOTHING,
        "Signed by": record.signed_by or NOTHING,
    }
