"""The tests of the flight software on the processor of a Raspberry Pi or a Jetson, under qemu-user."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.boards import boards, cache, roots


@pytest.mark.timeout(3600)
def test_flight_tests_pass_on_aarch64(
    tmp_path: Path, record_property: Callable[[str, object], None], unavailable: Callable[[str], None]
) -> None:
    try:
        roots.ready_for("arm64")
        roots.made(boards.RASPBERRY_PI)
    except roots.NotHereError as problem:
        unavailable(str(problem))
    report = tmp_path / "found.json"
    command = [str(cache.REPOSITORY / "scripts/boards/flight-tests"), "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    found = json.loads(report.read_text())
    record_property("found", {name: found[name] for name in ("passed", "failed", "skipped", "seconds", "not run")})
    assert found["failures"] == []
    assert found["passed"] > 300
