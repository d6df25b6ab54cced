"""A campaign from the front door: flown, judged, shown, minimised; and workers that die."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hil.campaign import commands
from hil.campaign.commands import campaign as command
from hil.campaign.file import Campaign, load_campaign
from hil.campaign.fly import fly_run
from hil.campaign.invariants import Breach
from hil.campaign.page import BEGIN, END
from hil.campaign.pool import Task, run_all
from hil.campaign.result import RunResult
from hil.faults import Fault, LoadShort, load_faults
from skyrack.errors import UserError

SMALL = """
name = "small"
constellation = "demo"
run_seconds = 180
drain_seconds = 60
companions = [0, 1]
[workload]
jobs_per_hour = 60
expected_seconds = {from = 30, to = 90}
commands_per_hour = 60
[[kinds]]
kind = "pump-stop"
at_seconds = {from = 30, to = 60}
duration_seconds = {from = 60, to = 90}
[[kinds]]
kind = "sensor-silent"
at_seconds = {from = 30, to = 60}
duration_seconds = {from = 60, to = 90}
variants = [{device = ["battery", "gnss"]}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_equal_seeds_fly_alike_and_every_invariant_is_judged(small: Path) -> None:
    loaded = load_campaign(small)
    one, same = fly_run(loaded, 3), fly_run(loaded, 3)
    assert one.digest == same.digest
    assert one.breaches == same.breaches == ()
    assert one.commands >= 1
    assert sum(one.jobs.values()) >= 1
    assert one.mission_seconds >= 240
    assert one.looks["sat-1"][-1].mode == "NOMINAL"


def test_a_campaign_ends_with_a_table_a_report_and_a_page(small: Path, tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(f"# Faults\n{BEGIN}\nold\n{END}\nmore\n", encoding="utf-8")
    html = tmp_path / "report.html"
    arguments = [str(small), "--seeds", "2", "--workers", "1", "--html", str(html), "--table", str(page), "--json"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["runs"], found["broken"], found["interrupted"]) == (2, [], False)
    assert {row["kind"]: row["runs"] for row in found["kinds"]} == {"pump-stop": 1, "sensor-silent": 1}
    report = html.read_text(encoding="utf-8")
    assert "Every invariant held in every run" in report
    assert report.count("<svg") == 3
    assert "http" not in report.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Faults\n{BEGIN}\n`skyrack hil campaign small --seeds 2`")
    assert text.endswith(f"{END}\nmore\n")
    assert "old" not in text


def broken_by_a_short(loaded: Campaign, seed: int, faults: Sequence[Fault] | None = None) -> RunResult:
    """Stands for a defect: any short of more than 100 W for more than a minute."""
    result = fly_stub(loaded, seed, faults)
    guilty = any(isinstance(fault, LoadShort) and fault.watts > 100 for fault in result.faults)
    breaches = (Breach("charge", "sat-1", "it broke", 5.0),) if guilty else ()
    return RunResult(seed, result.kind, result.faults, breaches=breaches)


def fly_stub(_loaded: Campaign, seed: int, faults: Sequence[Fault] | None = None) -> RunResult:
    given = tuple(faults or ())
    return RunResult(seed, given[0].kind if given else "", given)


def test_what_breaks_is_reduced_to_a_fault_file_and_a_command_to_type(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flying(loaded: Campaign, tasks: Sequence[Task], _workers: int) -> Any:
        yield from (broken_by_a_short(loaded, task.seed, task.faults) for task in tasks)

    monkeypatch.setattr("hil.campaign.pool.run_all", flying)
    faults = tmp_path / "drawn.toml"
    faults.write_text(
        '[[faults]]\nkind = "pump-stop"\nsatellite = "sat-1"\nat_seconds = 7\n'
        '[[faults]]\nkind = "load-short"\nsatellite = "sat-1"\nload = "node-1"\nwatts = 1234.5\nat_seconds = 33\n'
        "duration_seconds = 234\n",
        encoding="utf-8",
    )
    keep = tmp_path / "kept"
    arguments = [str(small), "--seeds", "1", "--first", "9", "--faults", str(faults), "--keep", str(keep)]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False, terminal_width=300)
    assert done.exit_code == 1
    (path,) = keep.iterdir()
    assert load_faults(path) == (
        LoadShort(satellite="sat-1", load="node-1", watts=1000.0, at_seconds=30.0, duration_seconds=30.0),
    )
    assert f"--seeds 1 --first 9 --faults {path}" in done.stdout
    assert "skyrack twin --constellation" in done.stdout
    assert "charge: sat-1: it broke at 5 s" in path.read_text(encoding="utf-8")


def crashing(loaded: Campaign, seed: int, faults: Sequence[Fault] | None = None) -> RunResult:
    if seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 2:
        time.sleep(600)
    if seed == 3:
        raise UserError("there is no such thing")
    return fly_stub(loaded, seed, faults)


def test_a_run_that_crashes_or_hangs_is_broken_and_the_others_go_on(small: Path) -> None:
    loaded = load_campaign(small)
    found = {
        result.seed: [str(breach) for breach in result.breaches]
        for result in run_all(loaded, [Task(seed) for seed in (0, 1, 2, 4)], 1, limit_seconds=1.0, fly=crashing)
    }
    assert found == {
        0: [],
        1: ["run: its process died (signal 9)"],
        2: ["run: its process hung and was killed"],
        4: [],
    }


def test_faults_that_strike_what_is_not_there_are_refused(small: Path) -> None:
    loaded = load_campaign(small)
    with pytest.raises(UserError, match="no such thing"):
        list(run_all(loaded, [Task(3)], 1, fly=crashing))
    nothing = (LoadShort(satellite="sat-1", load="toaster", watts=5.0, at_seconds=1.0),)
    with pytest.raises(UserError, match="toaster"):
        fly_run(loaded, 0, nothing)


def test_what_there_is_is_shown_when_it_is_interrupted(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_loaded: Campaign, tasks: Sequence[Task], _workers: int) -> Any:
        yield fly_stub(_loaded, tasks[0].seed, ())
        raise KeyboardInterrupt

    monkeypatch.setattr("hil.campaign.pool.run_all", interrupted)
    done = CliRunner().invoke(command, [str(small), "--seeds", "5", "--json"], catch_exceptions=False)
    assert done.exit_code == 130
    assert json.loads(done.stdout)["runs"] == 1
    assert commands.MOST_MINIMISED > 0
