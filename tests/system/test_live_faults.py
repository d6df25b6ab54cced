"""Faults brought on in a run that is up: processes end and come back, disks are full for a while, mistakes are told."""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

SCHEDULE = """
[[faults]]
kind = "process-kill"
satellite = "sat-2"
service = "thermal"
at_seconds = 120
"""


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Any]) -> Any:
    bench = make_bench("faults")
    (bench.directory / "faults.toml").write_text(SCHEDULE)
    bench.up("--rate", "30", "--faults", "faults.toml")
    return bench


def fault(bench: Any, *arguments: str) -> Any:
    done = command(bench, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def command(bench: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = bench.skyrack("hil", "fault", *arguments, seconds=60.0)
    return done


def test_a_service_that_a_fault_kills_comes_back(bench: Any) -> None:
    before = bench.incarnation("sat-1", "power")
    (told,) = fault(bench, "faults", "process-kill", "--satellite", "sat-1", "--set", "service=power")
    assert told["target"] == "power"
    bench.until_reborn("sat-1", "power", before)


def test_the_schedule_of_the_file_reaches_processes(bench: Any, kit: Any) -> None:
    log = bench.home / "up.out"
    kit.eventually(lambda: "sat-2 fault process-kill thermal" in log.read_text(), "the schedule is carried out")


def test_a_reboot_ends_every_process_of_its_satellite_and_no_other(bench: Any) -> None:
    others = bench.processes["sat-1"]["pid"]
    before = bench.incarnation("sat-2", "navigation")
    fault(bench, "faults", "reboot", "--satellite", "sat-2", "--set", "down_seconds=30")
    bench.until_reborn("sat-2", "navigation", before)
    assert bench.processes["sat-1"]["pid"] == others


def test_a_full_disk_lets_nothing_be_written_until_it_ends(bench: Any, kit: Any) -> None:
    pid = bench.service_pid("sat-1", "gateway")
    fault(bench, "faults", "disk-full", "--satellite", "sat-1")
    assert resource.prlimit(pid, resource.RLIMIT_FSIZE)[0] == 0
    assert [one["kind"] for one in fault(bench, "faults", "--list")] == ["disk-full"]
    fault(bench, "faults", "disk-full", "--end")
    assert resource.prlimit(pid, resource.RLIMIT_FSIZE)[0] != 0
    assert fault(bench, "faults", "--list") == []
    bench.until_well(["sat-1"])
    assert bench.service_pid("sat-1", "gateway") == pid


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("faults", "pump-stp", "--satellite", "sat-1"), 'did you mean "pump-stop"?'),
        (("faults", "pump-stop", "--satellite", "sat-9"), "there is no satellite"),
        (("faults", "clock-jump", "--satellite", "sat-1", "--set", "seconds=9"), "the twin has it"),
        (("faults", "load-short", "--satellite", "sat-1", "--set", "load=nod-1", "--set", "watts=9"), '"node-1"?'),
        (("fault", "pump-stop", "--satellite", "sat-1"), 'did you mean "faults"?'),
    ],
)
def test_mistakes_are_one_sentence(bench: Any, arguments: tuple[str, ...], sentence: str) -> None:
    done = command(bench, *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
