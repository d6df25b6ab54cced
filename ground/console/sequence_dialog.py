"""The way a sequence of commands takes from a browser: shipped, a file or pasted; checked as a whole, then run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from nicegui import ui

from ground.access import Role
from ground.console.columns import Column
from ground.console.elements import Grid
from ground.console.rows import Row
from ground.console.visit import Visit
from ground.console.widgets import button, element, field, text
from ground.sequencefile import LoadedSequence, load
from skyrack import files, orders
from skyrack.errors import UserError
from skyrack.sequences import utc
from skyrack.v1 import options_pb2
from skyrack.v1.backhaul_pb2 import Order

__all__ = ["SequenceDialog", "begins", "prepare"]

_LIMIT_CHARACTERS: Final = 200_000
_FILE: Final = "sequence.toml"
_COLUMNS: Final = (
    Column("Step", sortable=False),
    Column("Begins", sortable=False),
    Column("Command", sortable=False),
    Column("Arguments", sortable=False, style="fill soft"),
    Column("If it fails", sortable=False),
)
_HINT: Final = 'name = "my-sequence"\n\n[[steps]]\ncommand = "SetDrain"\narguments = { draining = true }\n'
_CRITICAL: Final = (
    "Critical: a step of it is obeyed only with the signatures of two people. It waits on the ground until a second "
    "operator has signed all of it."
)
# A file is read in the browser and put where one would paste it.
_READ: Final = """(event) => event.target.files[0]?.text().then((text) => {
    const place = event.target.closest(".sr-dialog").querySelector("textarea");
    place.value = text;
    place.dispatchEvent(new Event("input"));
})"""


def prepare(content: str, now: float | None = None) -> LoadedSequence:
    """Check the text of a sequence file as a whole; ``now`` is the mission time at which it would begin.

    Raises:
        UserError: something about it is not right; the sentence says what would be.
    """
    if len(content) > _LIMIT_CHARACTERS:
        raise UserError(f"this is more than {_LIMIT_CHARACTERS:,} characters; a sequence file holds less")
    with TemporaryDirectory(prefix="skyrack-sequence-") as name:
        path = Path(name) / _FILE
        path.write_text(content)
        try:
            return load(path, now)
        except UserError as error:
            raise UserError(str(error).replace(str(path), "the sequence")) from None


class SequenceDialog:
    """Made anew each time it opens."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._layout = ui.context.client.layout
        self._satellite = ""
        self._content = ""
        self._loaded: LoadedSequence | None = None

    def open(self, satellite: str = "") -> None:
        """Show it."""
        names = self._visit.segment.picture.names
        self._satellite = satellite if satellite in names else (names[0] if names else "")
        self._content, self._loaded = "", None
        with self._layout, ui.dialog() as self._dialog, element("div", "sr-dialog wide", role="document"):
            text("h1", "Run a sequence")
            field(
                "satellite",
                self._set_satellite,
                label="Satellite",
                value=self._satellite,
                choices=[(name, name) for name in names],
                is_required=True,
            )
            with element("div", "sr-choices", role="group", aria_label="Examples"):
                for name, (title, words) in _shipped().items():
                    made = element("button", "sr-choice", type="button", data_example=name)
                    with made:
                        text("b", title)
                        text("span", words)
                    made.on("click", partial(self._choose, name))
            with element("label", "sr-drop"):
                chooser = element("input", type="file", accept=".toml", aria_label="Upload a sequence file")
                chooser.on("change", lambda _: None, js_handler=_READ)
                text("span", "Choose a sequence file, or write or paste it below")
            self._place = element(
                "textarea", "sr-input sr-code", name="sequence", aria_label="Sequence", rows="9", spellcheck="false"
            )
            self._place.props["placeholder"] = _HINT
            self._place.on(
                "input",
                lambda event: self._changed(str(event.args)),
                js_handler="(event) => emit(event.target.value)",
                throttle=0.4,
                leading_events=False,
            )
            self._found = element("div", "sr-stack", aria_live="polite")
            with element("div", "buttons"):
                button("Close", self._dialog.close)
                self._go = button("Run", self._run, "primary")
            self._go.props["disabled"] = True
        self._dialog.on("hide", self._dialog.delete)
        self._dialog.open()

    def _set_satellite(self, name: str) -> None:
        self._satellite = name

    def _choose(self, name: str) -> None:
        content = files.shipped("sequences", name).read_text()
        self._place.client.run_javascript(
            f"document.getElementById('{self._place.html_id}').value = {json.dumps(content)}"
        )
        self._changed(content)

    def _changed(self, content: str) -> None:
        self._content = content
        self._visit.later(self._check(content), self._found)

    async def _check(self, content: str) -> None:
        loaded, problem = None, ""
        if content.strip():
            try:
                now = self._visit.segment.clock.now()
                loaded = await self._visit.segment.in_thread(partial(prepare, content, now))
            except (UserError, OSError) as error:
                problem = str(error)
        if content != self._content or self._found.is_deleted:
            return  # something newer was typed
        self._loaded = loaded
        self._found.clear()
        with self._found:
            if problem:
                element("div", "sr-problem", problem, role="alert")
            if loaded is not None:
                self._show(loaded)
        self._go.props["disabled"] = loaded is None
        self._go.update()

    @staticmethod
    def _show(loaded: LoadedSequence) -> None:
        count = len(loaded.steps)
        element("div", "sr-good", f"{loaded.sequence.name} is ready to run, {count} step{'' if count == 1 else 's'}.")
        if orders.significance_of(Order(sequence=loaded.sequence)) == options_pb2.SIGNIFICANCE_CRITICAL:
            element("div", "sr-problem", _CRITICAL)
        Grid("Steps of it", _COLUMNS, [_row(number, step) for number, step in enumerate(loaded.steps, 1)], "")

    def _run(self) -> None:
        self._visit.later(self._do_run(), self._found)

    async def _do_run(self) -> None:
        visit, satellite = self._visit, self._satellite
        loaded, self._loaded = self._loaded, None  # once
        if loaded is None:
            return
        name = loaded.sequence.name
        sequence_id = f"{name[:50]}-{visit.segment.new_id()[:8]}"

        async def work() -> None:
            told = f"{sequence_id}: {satellite} {name}, {len(loaded.steps)} steps"
            async with visit.doing(Role.OPERATOR, "run_sequence", told):
                await visit.segment.sequence_desk.submit(
                    sequence_id, satellite, loaded.sequence, submitter=visit.person.name
                )

        if await visit.attempt(work(), f"{name} is on its way to {satellite}."):
            self._loaded = loaded
            return
        self._dialog.close()
        ui.navigate.to(f"/sequences/{sequence_id}")


def _shipped() -> dict[str, tuple[str, str]]:
    """Title and description of every sequence that comes with Skyrack, by name."""
    found = {}
    for name in files.shipped_names("sequences"):
        loaded = load(files.shipped("sequences", name))
        found[name] = (name.replace("-", " ").capitalize(), f"{loaded.description}.")
    return found


def _row(number: int, step: Mapping[str, Any]) -> Row:
    arguments = " ".join(f"{name}={value}" for name, value in step["arguments"].items())
    return {
        "key": str(number),
        "cells": [
            str(number),
            begins(step["at_seconds"], step["after_seconds"]),
            step["command"],
            arguments,
            "goes on" if step["on_failure"] == "continue" else "stops",
        ],
    }


def begins(at_seconds: float | None, after_seconds: float) -> str:
    """When a step begins, in words."""
    if at_seconds is not None:
        return utc(at_seconds)
    if not after_seconds:
        return "at once"
    return f"after {after_seconds / 60:,.3g} min" if after_seconds >= 120 else f"after {after_seconds:g} s"
