"""Jobs: the list, and one job with its life and its result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from nicegui import ui

from ground.access import Role
from ground.console import rows
from ground.console.columns import NOTHING
from ground.console.elements import Grid, Life
from ground.console.feed import Frame
from ground.console.overview import no_jobs
from ground.console.submit import SubmitDialog
from ground.console.visit import Visit
from ground.console.widgets import button, element, facts, heading, panel, search, tabs, text
from ground.errors import UnknownError
from ground.records import JobRecord
from ground.store.job_records import JobFilter

__all__ = ["detail", "page", "prefetch"]

_PAGE: Final = 100
_TABS: Final = {"all": "All", "open": "Open", "COMPLETED": "Completed", "FAILED": "Failed", "ended": "Ended otherwise"}
_ENDED: Final = ("EXPIRED", "CANCELLED", "REJECTED")


@dataclass(frozen=True, slots=True)
class _Wanted:
    tab: str = "all"
    words: str = ""
    shown: int = _PAGE

    @property
    def is_plain(self) -> bool:
        return self == _Wanted()

    def filter(self) -> JobFilter:
        states = {"ended": _ENDED, "COMPLETED": ("COMPLETED",), "FAILED": ("FAILED",)}.get(self.tab, ())
        return JobFilter(states=states, words=tuple(self.words.split()))


def page(visit: Visit, dialog: SubmitDialog) -> None:
    """The list, newest first."""
    wanted = _Wanted()

    async def find() -> None:
        nonlocal wanted
        asked = wanted
        if asked.is_plain:
            records = visit.frame.jobs
        else:
            found = await visit.segment.jobs(asked.shown + 1, only_open=asked.tab == "open", wanted=asked.filter())
            records = found[::-1]
        if asked == wanted:
            grid.replace(_rows(visit, records[: asked.shown]))
            more.visible = len(records) > asked.shown or (asked.is_plain and len(records) >= _PAGE)

    def ask(asked: _Wanted) -> None:
        nonlocal wanted
        wanted = asked
        visit.later(find(), grid)

    head = heading("Jobs")
    with element("section", "sr-panel", aria_label="Jobs"):
        with element("div", "head"):
            label = tabs(_labels(visit.frame), "all", lambda tab: ask(replace(wanted, tab=tab, shown=_PAGE)))
            element("span", "grow")
            search("Search jobs", lambda words: ask(replace(wanted, words=words.lower(), shown=_PAGE)))
        grid = Grid("Jobs", rows.JOB_COLUMNS, _rows(visit, visit.frame.jobs), no_jobs(), is_cards=True)
    with head:
        element("span", "grow")
        button("Submit a job", dialog.open, "primary", visit.refusal(Role.RESEARCHER))
    more = button("Show more", lambda: ask(replace(wanted, shown=wanted.shown + 4 * _PAGE)))
    more.visible = len(visit.frame.jobs) >= _PAGE

    def show(frame: Frame) -> None:
        if frame.is_news:
            label(_labels(frame))
            visit.later(find(), grid)

    visit.on_frame(grid, show)


def _labels(frame: Frame) -> dict[str, str]:
    totals = frame.job_totals
    counts = {
        "all": sum(totals.values()),
        "open": frame.status.get("jobs_open", 0),
        "COMPLETED": totals.get("COMPLETED", 0),
        "FAILED": totals.get("FAILED", 0),
        "ended": sum(totals.get(state, 0) for state in _ENDED),
    }
    return {name: f"{label} {counts[name]:,}" for name, label in _TABS.items()}


def _rows(visit: Visit, records: list[JobRecord]) -> list[rows.Row]:
    return [rows.job_row(record, f"{visit.prefix}/jobs/{record.job_id}") for record in records]


async def prefetch(visit: Visit, job_id: str) -> None:
    """Read a job before its page is built, so that the first paint has it."""
    try:
        _SEEN[job_id] = await visit.segment.job(job_id)
    except UnknownError:
        _SEEN.pop(job_id, None)


# Jobs read for pages that are being built.
_SEEN: Final[dict[str, JobRecord]] = {}


def detail(visit: Visit, job_id: str) -> None:
    """One job."""
    place = element("div", "sr-stack")
    found = _SEEN.pop(job_id, None)
    if found is not None:
        with place:
            _JobPage(visit, found)
        return

    async def build() -> None:
        try:
            record = await visit.segment.job(job_id)
        except UnknownError as error:
            heading("There is no such job", ("Jobs", f"{visit.prefix}/jobs"))
            text("p", f"{error}. Jobs that ended long ago are forgotten.", "sr-problem")
            return
        _JobPage(visit, record)

    visit.later(build(), place)


class _JobPage:
    def __init__(self, visit: Visit, record: JobRecord) -> None:
        self._visit = visit
        self._record = record
        head = heading(record.name or record.job_id, ("Jobs", f"{visit.prefix}/jobs"))
        with head:
            self._state = text("span", "", "state")
            text("span", record.job_id, "id soft")
            element("span", "grow")
            self._download = element("a", "sr-button primary", "Download result", download=f"{record.job_id}.tar")
            self._download.props["href"] = f"/v1/jobs/{record.job_id}/result"
            why_not = visit.refusal(Role.RESEARCHER)
            self._cancel = button("Cancel job", self._ask_to_cancel, "danger", why_not)
        self._note = text("p", "", "sr-note")
        with element("div", "sr-cols"):
            with element("div", "sr-stack"), panel("Life"):
                self._life = Life(rows.job_life(record))
            with element("div", "sr-stack"):
                with panel("Job"):
                    self._facts = facts(_facts(record))
                    with element("div", "body"):
                        text("pre", " ".join(record.command), "sr-pre")
                with panel("Outputs") as self._outputs_head:
                    self._outputs = Grid("Outputs", _OUTPUTS, _outputs(record), "The job has told of no outputs yet.")
                self._stderr_place = element("div")
        self._stderr = ""
        self._show()
        visit.on_frame(self._life, self._hear)

    def _hear(self, frame: Frame) -> None:
        if frame.is_news:
            self._visit.later(self._read(), self._life)

    async def _read(self) -> None:
        try:
            record = await self._visit.segment.job(self._record.job_id)
        except UnknownError:
            return  # forgotten meanwhile: what was read last stays
        if record != self._record and not self._life.is_deleted:
            self._record = record
            self._life.push(rows.job_life(record))
            self._outputs.replace(_outputs(record))
            self._show()

    def _show(self) -> None:
        record = self._record
        state = rows.job_state(record)
        self._state._text = state["text"]  # noqa: SLF001
        self._state.classes(replace=f"state {state['level']}")
        self._state.update()
        self._download.visible = record.result_received_seconds is not None
        self._cancel.visible = not record.is_final
        if record.cancel_requested:
            self._cancel.visible = False
        self._note._text = record.waiting_reason or record.reason or rows.job_outcome(record)  # noqa: SLF001
        self._note.update()
        self._facts.show(_facts(record))
        if record.stderr_tail and record.stderr_tail != self._stderr:
            self._stderr = record.stderr_tail
            self._stderr_place.clear()
            with self._stderr_place, panel("Last lines of its errors", body="body"):
                text("pre", record.stderr_tail, "sr-pre")

    def _ask_to_cancel(self) -> None:
        record = self._record
        with ui.dialog() as dialog, element("div", "sr-dialog", role="document"):
            text("h1", f"Cancel {record.name or record.job_id}?")
            where = f"{record.satellite} is told to stop it" if record.satellite else "It has not left the ground"
            text("p", f"{where}; a cancelled job leaves no result.")
            with element("div", "buttons"):
                button("Keep it", dialog.close)
                button("Cancel job", lambda: self._visit.later(self._do_cancel(dialog), dialog), "danger")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _do_cancel(self, dialog: ui.dialog) -> None:
        visit, job_id = self._visit, self._record.job_id

        async def work() -> None:
            async with visit.doing(Role.RESEARCHER, "cancel_job", job_id):
                await visit.segment.cancel(job_id, f"cancelled by {visit.person.name}")

        await visit.attempt(work(), "The job is being cancelled.")
        dialog.close()


_OUTPUTS: Final = (
    rows.Column("File", sortable=False),
    rows.Column("Size", "number", "bytes", sortable=False),
    rows.Column("SHA-256", "id", sortable=False),
)


def _outputs(record: JobRecord) -> list[rows.Row]:
    return [
        {"key": output.path, "cells": [output.path, output.size_bytes, output.sha256[:12]]} for output in record.outputs
    ]


def _facts(record: JobRecord) -> dict[str, str | tuple[str, str]]:
    return {
        "Progress": f"{record.progress_ratio:.0%}" if record.started_seconds or record.progress_ratio else NOTHING,
        "Satellite": f"{record.satellite} {record.node}".strip() or NOTHING,
        "Attempt": str(record.attempt or NOTHING),
        "Ran": f"{record.run_seconds:,.0f} s" if record.run_seconds else NOTHING,
        "Energy": f"{record.energy_joules / 1e3:,.1f} kJ" if record.energy_joules else NOTHING,
        "Power asked": f"{record.power_watts:,.0f} W",
        "Preemptions": str(record.preemptions),
        "Priority": str(record.priority),
        "Submitted by": record.submitter or NOTHING,
    }
