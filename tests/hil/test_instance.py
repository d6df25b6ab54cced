"""Where a run keeps its things, who holds it, and how it is ended before it is up."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from hil.processes import process_table
from hil.sil import daemon
from hil.sil.instance import Instance, live_instances
from hil.sil.system import System, SystemSettings
from skyrack import files
from skyrack.errors import UserError

SETTINGS = SystemSettings(files.shipped("constellations", "demo").resolve())


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65])
def test_a_name_that_would_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="must be letters"):
        Instance.named(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_who_holds_a_run_is_known_before_it_is_up_and_not_after(tmp_path: Path) -> None:
    instance = Instance.named("one", tmp_path)
    assert live_instances(tmp_path) == []
    with instance.held():
        assert live_instances(tmp_path) == [instance]
        assert instance.keeper_pid == os.getpid()
        with pytest.raises(UserError, match="runs already"), instance.held():
            pass
        assert instance.keeper_pid == os.getpid()
    assert instance.keeper_pid is None
    daemon.stop(instance)  # nothing is left to end


def test_what_was_begun_is_ended_when_it_is_interrupted_before_it_is_up(tmp_path: Path) -> None:
    instance = Instance.named("one", tmp_path)

    def interrupted() -> None:
        if instance.live:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        daemon.start(instance, SETTINGS, interrupted)
    assert not instance.live
    mark = str(instance.directory).encode()
    assert [pid for pid in process_table() if mark in _command_line(pid)] == []


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_ground_that_is_started_again_is_found_where_it_was(tmp_path: Path) -> None:
    instance = Instance.named("one", tmp_path)
    system = System(instance, tmp_path, SETTINGS)
    system.prepare()
    config = tomllib.loads((instance.directory / "ground.toml").read_text())
    assert config["http_port"] == system.http_port > 0
    asked = System(instance, tmp_path, SystemSettings(SETTINGS.constellation, http_port=4711))
    assert asked.http_port == 4711
