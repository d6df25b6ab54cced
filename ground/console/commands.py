"""Commands: what was sent and how far it came, and a form for every command of the dictionary."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from ground.access import Role
from ground.console import rows
from ground.console.columns import NOTHING, Column
from ground.console.elements import Grid
from ground.console.feed import Frame
from ground.console.queues import QueueTable
from ground.console.send import SendForm
from ground.console.sequences import SequenceTable, signature_hint
from ground.console.visit import Visit
from ground.console.widgets import button, element, facts, heading, panel, search, tabs, text
from ground.errors import UnknownError
from ground.records import TelecommandRecord

__all__ = ["detail", "page"]

_NONE: Final = (
    "No command like this has been sent. Choose one in the form on this page, or type "
    "<code>skyrack send sat-1 SetPump duty_ratio=0.5 hold_seconds=600</code>"
)
_PAGE: Final = 200
_WAITS: Final = ("NEEDS_SIGNATURE", "QUEUED", "HELD")
_STAGES: Final = (
    Column("Time", "time", sortable=False),
    Column("Stage", "state", sortable=False),
    Column("", sortable=False, style="fill"),
)


def page(visit: Visit, satellite: str = "") -> None:
    """The form and the list."""
    words, tab = "", "people"

    def made(records: list[TelecommandRecord]) -> list[rows.Row]:
        found = [rows.command_row(record, f"{visit.prefix}/commands/{record.command_id}") for record in records]
        return [row for row in found if all(word in str(row["cells"]).lower() for word in words.split())]

    async def find() -> None:
        asked = tab
        records = visit.frame.commands
        if asked == "all":
            records = list(reversed(await visit.segment.telecommands(_PAGE)))
        if asked == tab:
            grid.replace(made(records))

    def look(new_words: str | None = None, new_tab: str | None = None) -> None:
        nonlocal words, tab
        words = words if new_words is None else new_words.lower()
        tab = new_tab or tab
        visit.later(find(), grid)

    heading("Commands")
    with element("div", "sr-cols"):
        with element("div", "sr-stack"):
            with element("section", "sr-panel", aria_label="Commands"):
                with element("div", "head"):
                    choices = {"people": "Of people", "all": "All, the ground's own too"}
                    tabs(choices, tab, lambda name: look(new_tab=name))
                    element("span", "grow")
                    search("Search commands", look)
                grid = Grid("Commands", rows.COMMAND_COLUMNS, made(visit.frame.commands), _NONE, is_cards=True)
                grid.style("--rows: 60vh")
            sequences = SequenceTable(visit)
        with element("div", "sr-stack"):
            with panel("Send a command", body="body"):
                SendForm(visit, satellite)
            with panel("Queues"):
                queues = QueueTable(visit)

    def show(frame: Frame) -> None:
        if frame.is_news:
            sequences.show(frame)
            queues.show(frame)
            visit.later(find(), grid)

    visit.on_frame(grid, show)


def detail(visit: Visit, command_id: str) -> None:
    """One command with its stages."""
    place = element("div", "sr-stack")

    async def build() -> None:
        back = ("Commands", f"{visit.prefix}/commands")
        try:
            record = await visit.segment.telecommand(command_id)
        except UnknownError as error:
            heading("There is no such command", back)
            text("p", f"{error}. Commands that ended long ago are forgotten.", "sr-problem")
            return
        _CommandPage(visit, record, back)

    visit.later(build(), place)


class _CommandPage:
    def __init__(self, visit: Visit, record: TelecommandRecord, back: tuple[str, str]) -> None:
        self._visit = visit
        self._record = record
        with heading(f"{record.method} for {record.satellite}", back):
            text("span", record.command_id, "id soft")
            element("span", "grow")
            self._withdraw = button("Withdraw", self._ask, "danger", visit.refusal(Role.OPERATOR))
        self._hint = text("p", signature_hint(record.command_id), "sr-warn")
        with element("div", "sr-cols"):
            with element("div", "sr-stack"):
                with panel("Stages"):
                    self._stages = Grid("Stages", _STAGES, _stages(record), "It has reached no stage yet.")
                self._answer = element("div")
            with element("div", "sr-stack"), panel("Command"):
                facts(
                    {
                        "Satellite": record.satellite,
                        "Service": record.service,
                        "By": record.submitter or NOTHING,
                        "Signed by": record.signed_by or NOTHING,
                    }
                )
                with element("div", "body"):
                    text("pre", record.arguments or "no arguments", "sr-pre")
        self._said = ""
        self._show()
        visit.on_frame(self._stages, self._hear)

    def _hear(self, frame: Frame) -> None:
        if frame.is_news:
            self._visit.later(self._read(), self._stages)

    async def _read(self) -> None:
        try:
            record = await self._visit.segment.telecommand(self._record.command_id)
        except UnknownError:
            return  # forgotten meanwhile: what was read last stays
        if record != self._record and not self._stages.is_deleted:
            self._record = record
            self._stages.replace(_stages(record))
            self._show()

    def _show(self) -> None:
        record = self._record
        self._withdraw.visible = record.stage in _WAITS
        self._hint.visible = record.stage == "NEEDS_SIGNATURE"
        if record.response and record.response != self._said:
            self._said = record.response
            self._answer.clear()
            with self._answer, panel("Answer", body="body"):
                text("pre", record.response, "sr-pre")

    def _ask(self) -> None:
        with ui.dialog() as dialog, element("div", "sr-dialog", role="document"):
            text("h1", f"Withdraw {self._record.method}?")
            text("p", "It has not left the ground; the satellite will never see it.")
            with element("div", "buttons"):
                button("Leave it", dialog.close)
                button("Withdraw", lambda: self._visit.later(self._do_withdraw(dialog), dialog), "danger")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _do_withdraw(self, dialog: ui.dialog) -> None:
        visit, command_id = self._visit, self._record.command_id

        async def work() -> None:
            async with visit.doing(Role.OPERATOR, "withdraw_command", command_id):
                await visit.segment.command_desk.withdraw(command_id, visit.person.name)

        await visit.attempt(work(), "The command was withdrawn.")
        dialog.close()


def _stages(record: TelecommandRecord) -> list[rows.Row]:
    return [
        {
            "key": f"{index} {stage.stage}",
            "cells": [
                stage.mission_time_seconds,
                {"text": rows.stage_word(stage.stage), "level": rows.stage_level(stage.stage, record.stage)},
                stage.reason,
            ],
        }
        for index, stage in enumerate(record.stages)
    ]
