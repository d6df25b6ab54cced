"""The way a job takes from a browser: an example or an upload, checked in words, then submitted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from nicegui import ui
from starlette.datastructures import UploadFile

from ground.access import Person, Role, person_of, require
from ground.console.elements import Drop
from ground.console.uploads import FILES_MAXIMUM, LIMIT_BYTES, Prepared, Uploaded, prepare, prepare_shipped
from ground.console.visit import Visit
from ground.console.widgets import button, element, facts, field, text
from ground.errors import UnknownError
from skyrack import files
from skyrack.errors import UserError

__all__ = ["SubmitDialog", "receive_upload"]

_EXAMPLES: Final = {
    "digits-training": ("Train on digits", "A classifier of handwritten digits; checkpoints, survives an eclipse."),
    "file-identification": ("Identify files", "A trained model names the type of a dozen files. A minute or two."),
}
_PRIORITY_MAXIMUM: Final = 100
# Dialogs that wait for an upload, by the id of their page.
_WAITING: Final[WeakValueDictionary[str, SubmitDialog]] = WeakValueDictionary()


class SubmitDialog:
    """Made anew each time it opens."""

    role = Role.RESEARCHER

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._prepared: Prepared | None = None
        self._uploaded: Prepared | None = None
        self._priority = ""
        self._layout = ui.context.client.layout
        _WAITING[visit.client.id] = self

    def open(self) -> None:
        """Show it, unless this person may not submit."""
        why_not = self._visit.refusal(self.role)
        if why_not:
            self._visit.say(why_not, is_problem=True)
            return
        self._prepared = None
        with self._layout, ui.dialog() as self._dialog, element("div", "sr-dialog", role="document"):
            text("h1", "Submit a job")
            self._choices: dict[str, Any] = {}
            with element("div", "sr-choices", role="group", aria_label="Examples"):
                for name, (title, words) in _EXAMPLES.items():
                    made = element("button", "sr-choice", type="button", aria_pressed="false", data_example=name)
                    with made:
                        text("b", title)
                        text("span", words)
                    made.on("click", partial(self._choose, name))
                    self._choices[name] = made
            Drop(f"{self._visit.prefix}/upload?page={self._visit.client.id}").on("sent", self._sent)
            self._found = element("div", "sr-stack", aria_live="polite")
            with element("div", "buttons"):
                button("Close", self._dialog.close)
                self._go = button("Submit", self._submit, "primary")
            self._go.props["disabled"] = True
        self._dialog.on("hide", self._dialog.delete)
        self._dialog.open()

    @property
    def person(self) -> Person:
        """Who sees it."""
        return self._visit.person

    async def take(self, found: Sequence[Uploaded]) -> None:
        """Check what was uploaded. Raises ``UserError``."""
        self._uploaded = None
        self._uploaded = await self._visit.segment.in_thread(partial(prepare, found))

    def _choose(self, name: str) -> None:
        self._visit.later(self._load(name), self._found)

    async def _load(self, name: str) -> None:
        self._press(name)
        try:
            path = files.shipped_directory("jobs") / name / "job.toml"
            self._show(await self._visit.segment.in_thread(partial(prepare_shipped, path)))
        except (UserError, OSError) as error:
            self._refuse(str(error))

    def _sent(self, event: Any) -> None:
        self._press("")
        problem = event.args.get("problem") if isinstance(event.args, dict) else "nothing came"
        if problem or self._uploaded is None:
            self._refuse(str(problem or "the upload came to nothing; try again"))
        else:
            self._show(self._uploaded)
        self._uploaded = None

    def _press(self, name: str) -> None:
        for key, made in self._choices.items():
            made.props["aria-pressed"] = "true" if key == name else "false"
            made.update()

    def _refuse(self, problem: str) -> None:
        self._prepared = None
        self._found.clear()
        with self._found:
            element("div", "sr-problem", problem, role="alert")
        self._enable(is_ready=False)

    def _show(self, prepared: Prepared) -> None:
        self._prepared = prepared
        spec = prepared.spec
        self._priority = str(spec.priority)
        self._found.clear()
        with self._found:
            element("div", "sr-good", f"{spec.name} is ready to go: {' '.join(spec.command)}")
            facts(
                {
                    "Power": f"{spec.resources.power_watts:,.0f} W",
                    "Cores": str(spec.resources.cores),
                    "Expected": _duration(spec.resources.expected_seconds),
                    "Deadline": _duration(spec.lifetime_seconds) if spec.lifetime_seconds else "none",
                    "Package": f"{len(prepared.package) / 1024:,.0f} KiB",
                }
            )
            field(
                "priority",
                self._set_priority,
                label="Priority",
                hint="0 to 100, higher goes first",
                value=self._priority,
                type="number",
                min="0",
                max="100",
            )
        self._enable(is_ready=True)

    def _set_priority(self, value: str) -> None:
        self._priority = value

    def _enable(self, *, is_ready: bool) -> None:
        self._go.props["disabled"] = not is_ready
        self._go.update()
        if is_ready:
            self._go.client.run_javascript(
                f"setTimeout(() => document.getElementById('{self._go.html_id}')?.focus(), 50)"
            )

    def _submit(self) -> None:
        self._visit.later(self._do_submit(), self._found)

    async def _do_submit(self) -> None:
        prepared, visit = self._prepared, self._visit
        if prepared is None:
            return
        if not self._priority.isascii() or not self._priority.isdigit() or int(self._priority) > _PRIORITY_MAXIMUM:
            self._refuse(f'priority is "{self._priority}", must be a whole number from 0 to 100')
            return
        self._prepared = None  # once
        spec = type(prepared.spec)()
        spec.CopyFrom(prepared.spec)
        spec.priority = int(self._priority)
        try:
            async with visit.doing(self.role, "submit_job", spec.name):
                record = await visit.segment.submit(spec, prepared.package, submitter=visit.person.name)
        except (UserError, OSError) as error:
            self._refuse(str(error))
            return
        self._dialog.close()
        visit.say(f"{record.name} was submitted.")
        ui.navigate.to(f"/jobs/{record.job_id}")


async def receive_upload(request: Request) -> Response:
    """Files of a job, from the page whose id is in the address."""
    try:
        dialog = _dialog_of(request)
        async with request.form(max_files=FILES_MAXIMUM) as form:
            parts = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
            found = [Uploaded(part.filename or "file", await part.read()) for part in parts]
        await dialog.take(found)
    except UserError as error:
        return JSONResponse({"problem": str(error)})
    return JSONResponse({"ok": True})


def _dialog_of(request: Request) -> SubmitDialog:
    dialog = _WAITING.get(request.query_params.get("page", ""))
    person = person_of(request)
    require(person, Role.RESEARCHER)
    if dialog is None or dialog.person != person:
        raise UnknownError("the page that sent this is not open any more; load it again")
    if int(request.headers.get("content-length", LIMIT_BYTES + 1)) > LIMIT_BYTES:
        raise UserError(f"this is more than {LIMIT_BYTES >> 20} MiB; a package holds less")
    return dialog


def _duration(seconds: float) -> str:
    if not seconds:
        return "not said"
    return f"{seconds / 60:,.0f} min" if seconds >= 120 else f"{seconds:,.0f} s"
