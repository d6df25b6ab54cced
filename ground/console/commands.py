"""Commands: what was sent and how far it came, and a form for every command of the dictionary."""

from __future__ import annotations

from typing import Final

from nicegui.page_arguments import PageArguments

from ground.console import rows
from ground.console.elements import Grid
from ground.console.feed import Frame
from ground.console.send import SendForm
from ground.console.visit import Visit
from ground.console.widgets import element, heading, panel, search
from ground.records import TelecommandRecord

__all__ = ["page"]

_NONE: Final = (
    "No command has been sent yet. Choose one on this page, or type <code>skyrack send sat-1 SetPump duty_ratio=0.5 "
    "hold_seconds=600</code>"
)


def page(visit: Visit, arguments: PageArguments) -> None:
    """The form and the list."""
    words = ""

    def filtered(records: list[TelecommandRecord]) -> list[rows.Row]:
        found = [rows.command_row(record) for record in records]
        return [row for row in found if all(word in str(row["cells"]).lower() for word in words.split())]

    def look(asked: str) -> None:
        nonlocal words
        words = asked.lower()
        grid.replace(filtered(visit.frame.commands))

    satellite = arguments.query_parameters.get("satellite", "")
    heading("Commands")
    with element("div", "sr-cols"):
        with element("div", "sr-stack"):
            with panel("Sent") as head:
                grid = Grid("Commands", rows.COMMAND_COLUMNS, filtered(visit.frame.commands), _NONE)
            with head:
                search("Search commands", look)
        with element("div", "sr-stack"), panel("Send a command", body="body"):
            SendForm(visit, satellite)

    def show(frame: Frame) -> None:
        if frame.is_news:
            grid.replace(filtered(frame.commands))

    visit.on_frame(grid, show)
