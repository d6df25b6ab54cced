"""What answers look like on terminals."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from ground import present

JOB: dict[str, Any] = {
    "job_id": "digits-1",
    "state": "FAILED",
    "satellite": "sat-1",
    "submitter": "somebody",
    "signed_by": "ground for somebody",
    "is_verified": False,
    "command": ["python3", "main.py", "[/red]", ":rocket:"],
    "power_watts": 400.0,
    "cores": 1,
    "priority": 50,
    "energy_joules": 67_000.0,
    "run_seconds": 600.0,
    "preemptions": 1,
    "progress_ratio": 0.5,
    "attempt": 1,
    "placed_seconds": 0.0,
    "finished_seconds": 60.0,
    "deadline_seconds": 0.0,
    "is_final": True,
    "cancel_requested": False,
    "reason": "[node-1] broke [/x]",
    "waiting_reason": "",
    "result_sha256": "",
    "result_problem": "",
    "result_received_seconds": None,
    "exit_code": 1,
    "stderr_tail": "IndexError: [/bold]",
    "history": [],
}
SATELLITE: dict[str, Any] = {
    "name": "sat-1",
    "age_seconds": 7.0,
    "is_reachable": True,
    "mode": "nominal",
    "link": "optical",
    "sunlit_ratio": 1.0,
    "state_of_charge_ratio": 0.85,
    "compute_power_watts": 1400.0,
    "compute_heat_watts": 1400.0,
    "draw_watts": 120.0,
    "chip_maximum_celsius": -40.6,
    "free_nodes": 2,
    "jobs_open": 0,
    "outbox_items": 1,
}


def test_what_others_wrote_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = present.console()
    present.job(JOB, out)
    out.print(present.jobs([JOB]))
    event = {"mission_time_seconds": 0.0, "severity": "WARNING", "satellite": "", "source": "x", "name": "limit"}
    out.print(present.events([{**event, "text": "loads.draw_watts[node-1] is high", "fields": {"why": "[/]"}}]))
    printed = capsys.readouterr().out
    for text in ("[/red] :rocket:", "[node-1] broke [/x]", "IndexError: [/bold]", "draw_watts[node-1]", "why=[/]"):
        assert text in printed


@pytest.mark.parametrize("width", [80, 120])
def test_tables_of_satellites_and_jobs_need_one_line_each(width: int) -> None:
    out = Console(width=width, highlight=False, markup=False, color_system=None)
    for table in (present.satellites([SATELLITE]), present.jobs([{**JOB, "reason": ""}])):
        with out.capture() as captured:
            out.print(table)
        heading, row = captured.get().splitlines()
        assert "…" not in heading + row
        assert ("waits" in heading or "orbit" in heading) == (width > 100)
