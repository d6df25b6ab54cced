"""What one sees of ``skyrack run``: satellites and jobs while they live, and a summary at the end."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ground import present
from skyrack.logging import mission_time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.sil.demo import Outcome, View

SHOWN_NOTES = 4


@contextlib.contextmanager
def watching(*, quiet: bool) -> Iterator[Callable[[View], None]]:
    """Show views: a live picture on a terminal, a line for each change elsewhere; on standard error."""
    console = present.console(stderr=True)
    if quiet:
        yield lambda _view: None
    elif console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda view: live.update(_picture(view))
    else:
        yield _Lines(console).show


def _picture(view: View) -> Group:
    head = Text(f"mission time {mission_time_text(view.mission_time_seconds)}", style="bold")
    parts: list[Any] = [head, present.satellites(view.satellites), "", present.jobs(view.jobs)]
    parts += [Text(note, style="yellow") for note in view.notes[-SHOWN_NOTES:]]
    return Group(*parts)


class _Lines:
    """Says what changed, a line each."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, str] = {}
        self._notes = 0

    def show(self, view: View) -> None:
        """Say what is new."""
        for satellite in view.satellites:
            name = satellite["name"]
            self._say(view, name, f"{satellite['mode'].lower() or 'silent'}, {present.sun(satellite['sunlit_ratio'])}")
        for job in view.jobs:
            where = f" on {job['satellite']}" if job["satellite"] else ""
            self._say(view, job["job_id"], f"{job['state'].lower()}{where}")
        for note in view.notes[self._notes :]:
            self._console.print(f"{mission_time_text(view.mission_time_seconds)}  {note}", highlight=False)
        self._notes = len(view.notes)

    def _say(self, view: View, who: str, what: str) -> None:
        if self._said.get(who) != what:
            self._said[who] = what
            self._console.print(f"{mission_time_text(view.mission_time_seconds)}  {who}: {what}", highlight=False)


def show_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """Print how it ended."""
    if as_json:
        jobs = [{**job, "findings": outcome.findings.get(job["job_id"], {})} for job in outcome.view.jobs]
        files = {name: [str(path) for path in paths] for name, paths in outcome.results.items()}
        json.dump({"problem": outcome.problem, "jobs": jobs, "files": files}, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    console = present.console()
    table = Table(title="What came back", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("job", "state", "satellite", "energy", "ran", "preempted", "waited", "delivered", "found"):
        table.add_column(heading, justify="right" if heading in ("energy", "ran", "preempted") else "left")
    for job in outcome.view.jobs:
        table.add_row(
            job["job_id"],
            job["state"].lower(),
            job["satellite"],
            f"{job['energy_joules'] / 1e3:,.0f} kJ",
            present.duration(job["run_seconds"]),
            str(job["preemptions"]),
            _between(job["submitted_seconds"], job["started_seconds"]),
            _between(job["finished_seconds"], job["result_received_seconds"]),
            _found(outcome.findings.get(job["job_id"], {})),
        )
    console.print(table)
    for paths in outcome.results.values():
        for path in paths:
            console.print(f"  {path}", highlight=False, soft_wrap=True)
    if outcome.problem:
        console.print(Text(outcome.problem, style="red"), soft_wrap=True)


def _between(start: float | None, end: float | None) -> str:
    return "-" if start is None or end is None else present.duration(end - start)


def _found(findings: dict[str, Any]) -> str:
    accuracy = findings.get("accuracy")
    return "" if accuracy is None else f"accuracy {accuracy:.1%}"
