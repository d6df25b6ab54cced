"""What one sees of ``skyrack run``: satellites and jobs while they live, and a summary at the end."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ground import present
from hil.sil import live

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from hil.sil.demo import Outcome, View


def watching(*, quiet: bool) -> AbstractContextManager[Callable[[View], None]]:
    """Show views while the run lives."""
    return live.watching(live.picture, quiet=quiet)


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
