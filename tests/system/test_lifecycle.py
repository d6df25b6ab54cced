"""Beginning and ending: Ctrl-C at any moment, runs side by side, and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

END_SECONDS = 5.0


@pytest.fixture
def bench(make_bench: Callable[..., Any]) -> Any:
    return make_bench("run")


def _begun(bench: Any) -> bool:
    return bool(bench.home.is_dir())


def _keys_made(bench: Any) -> bool:
    return bool((bench.home / "clock.json").exists())


def _processes_start(bench: Any) -> bool:
    return bool(_states(bench).get("plant"))


def _satellites_start(bench: Any) -> bool:
    return bool(_states(bench).get("sat-1"))


def _jobs_run(bench: Any) -> bool:
    jobs = bench.ask(lambda client: client.jobs(), [])
    return any(job["state"] == "RUNNING" for job in jobs)


def _states(bench: Any) -> dict[str, Any]:
    try:
        return {name: each["pid"] for name, each in bench.processes.items()}
    except (OSError, ValueError):
        return {}


@pytest.mark.parametrize("moment", [_begun, _keys_made, _processes_start, _satellites_start, _jobs_run])
def test_ctrl_c_ends_everything_within_five_seconds(bench: Any, kit: Any, moment: Callable[[Any], bool]) -> None:
    arguments = ["run", "--name", "run", "--constellation", str(bench.one_satellite())]
    run = subprocess.Popen(
        [*kit.SKYRACK, *arguments],
        cwd=bench.directory,
        env=kit.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        kit.eventually(lambda: moment(bench) or run.poll() is not None, f"the moment of {moment.__name__}")
        assert run.poll() is None, run.communicate()
        run_id = bench.run_id if (bench.home / "processes.json").exists() else ""
        run.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, err = run.communicate(timeout=60)
        took = time.monotonic() - begun
    finally:
        run.kill()
        run.wait()
    assert took < END_SECONDS
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert bench.left_running() == []
    assert not run_id or kit.marked(run_id) == []
    if list(bench.home.rglob("*.db")):
        kit.assert_databases_sound(bench.home)


def test_runs_side_by_side_do_not_disturb_each_other(make_bench: Callable[..., Any], kit: Any, tmp_path: Path) -> None:
    """Two of different names in one directory, and one of the same name in another."""
    first = make_bench("up")
    second = make_bench("other", first.directory)
    third = make_bench("up")
    benches = (first, second, third)
    for bench in benches:
        done = bench.skyrack("up", "--name", bench.name, "--constellation", str(bench.one_satellite()), "--rate", "20")
        assert done.returncode == 0, done.stderr
    for bench in benches:
        bench.until_well(["sat-1"])
        path = bench.write_job("quick", kit.PATIENT, "--at-once")
        done = bench.skyrack("submit", str(path), "--id", "mine", "--ground", bench.record["ground_url"])
        assert done.returncode == 0, done.stderr
    for bench in benches:
        bench.assert_ran_once(bench.until_settled("mine"))
        assert len(bench.ask(lambda client: client.jobs())) == 1
    again = second.skyrack("up", "--name", "other")
    assert again.returncode == 2
    assert len(again.stderr.strip().splitlines()) == 1
    assert "other runs already" in again.stderr
    assert "skyrack down" in again.stderr
    first.down()
    assert first.left_running() == []
    second.until_well(["sat-1"])
    third.until_well(["sat-1"])
    listed = third.skyrack("down", "--json")
    assert json.loads(listed.stdout) == {"ended": ["up"]}
    assert third.left_running() == []
    second.until_well(["sat-1"])
    second.down()
    assert second.left_running() == []
    assert second.skyrack("down").stdout.strip() == "nothing is up here"
