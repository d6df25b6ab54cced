"""Guards: a bench protects its boards, whatever the software under test does. Fake devices, virtual time."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flight.hal import DeviceError, Quality, Reading
from hil.boards.file import Guard
from hil.boards.guard_acts import stop_work_below
from hil.boards.guarding import Guarding
from hil.boards.guards import GuardState, step
from hil.boards.kept import CLEAR
from hil.boards.kept import GUARDS as STATE
from skyrack import files, virtual
from skyrack.cli import main

HOT = Guard(device="sensor.soc", high=80.0, hysteresis=5.0, for_seconds=3.0, action="throttle")


class Thermometer:
    unit = "°C"

    def __init__(self) -> None:
        self.celsius = 50.0
        self.quality = Quality.GOOD

    async def read(self) -> Reading[float]:
        return Reading(self.celsius, 0.0, self.quality, "" if self.quality is Quality.GOOD else "no answer")


class SlowDown:
    def __init__(self) -> None:
        self.ratio = 0.8
        self.turned = 0

    async def read_ratio(self) -> Reading[float]:
        return Reading(self.ratio, 0.0)

    async def set_ratio(self, ratio: float) -> None:
        self.ratio = ratio
        self.turned += 1


class CutOff:
    closed = True

    async def is_closed(self) -> Reading[bool]:
        return Reading(self.closed, 0.0)

    async def set_closed(self, closed: bool) -> None:
        self.closed = closed


class Bench:
    """A board with a thermometer, a throttle, a switch and three jobs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.thermometer, self.throttle, self.switch = Thermometer(), SlowDown(), CutOff()
        self.jobs = 3
        self.power = True

    def get(self, name: str, protocol: Any = None) -> Any:
        devices = {"sensor.soc": self.thermometer, "throttle.cpu": self.throttle, "switch.cut": self.switch}
        if name not in devices:
            raise DeviceError(f"{name}: is not connected")
        return devices[name]

    def guarding(self, *guards: Guard) -> Guarding:
        return Guarding(guards, self, ["throttle.cpu"], self.directory, self.stop_work, self.power_off)

    def stop_work(self) -> int:
        ended, self.jobs = self.jobs, 0
        return ended

    def power_off(self) -> None:
        self.power = False

    @property
    def told(self) -> Any:
        return json.loads((self.directory / STATE).read_bytes())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def fly(guarding: Guarding, seconds: float) -> None:
    async def some_time() -> None:
        task = asyncio.create_task(guarding.run())
        await asyncio.sleep(seconds)
        assert not task.done()
        task.cancel()

    virtual.run(some_time)


def values(guard: Guard, *readings: float | None, period: float = 1.0) -> GuardState:
    state = GuardState()
    for index, value in enumerate(readings):
        state = step(guard, state, value, "" if value is not None else "no answer", index * period)
    return state


def test_a_guard_acts_after_its_time_and_not_before() -> None:
    assert not values(HOT, 81, 81, 81).acted
    acted = values(HOT, 81, 81, 81, 82)
    assert acted.action == "throttle"
    assert acted.why == "sensor.soc was over its limit of 80 for 3 s, now 82: the board is throttled to its slowest"


def test_a_short_way_back_does_not_end_the_count_and_a_long_one_does() -> None:
    assert values(HOT, 81, 81, 79, 81).acted
    assert not values(HOT, 81, 81, 74, 81).acted


def test_what_is_exactly_at_its_limit_is_inside() -> None:
    assert not values(HOT, *[80.0] * 9).acted


def test_a_guard_that_acted_holds() -> None:
    assert values(HOT, 90, 90, 90, 90, 20, 20, 20, 20, 20, 20).acted


def test_a_low_limit() -> None:
    volts = Guard(device="sensor.rail", low=4.7, for_seconds=2.0, action="stop-work")
    assert values(volts, 4.6, 4.6, 4.6).why.startswith("sensor.rail was under its limit of 4.7 for 2 s")


def test_a_blind_guard_acts_late_and_never_powers_off() -> None:
    guard = Guard(device="sensor.soc", high=80.0, for_seconds=1.0, action="power-off")
    assert not values(guard, *[None] * 10).acted
    assert not values(guard, *[None] * 9, 50.0, *[None] * 9).acted
    blind = values(guard, *[None] * 11)
    assert blind.action == "stop-work"
    assert "no answer" in blind.why


def test_a_hot_board_is_slowed_down_held_there_and_put_back_when_a_person_clears_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    guarding = bench.guarding(HOT)
    fly(guarding, 10.0)
    assert bench.throttle.turned == 0
    assert bench.told["acted"] == []
    bench.thermometer.celsius = 85.0
    fly(guarding, 10.0)
    assert bench.throttle.ratio == 0.0
    (acted,) = bench.told["acted"]
    assert (acted["device"], acted["action"], acted["limits"]) == ("sensor.soc", "throttle", {"high": 80.0})
    # Somebody turns it up again; it cools down: neither frees the board.
    bench.throttle.ratio, bench.thermometer.celsius = 0.6, 40.0
    fly(guarding, 10.0)
    assert bench.throttle.ratio == 0.0
    (bench.directory / CLEAR).touch()
    fly(guarding, 1.0)
    assert bench.throttle.ratio == 0.8
    assert bench.told["acted"] == []
    assert not (bench.directory / CLEAR).exists()
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert events == ["guard-acted", "guard-cleared"]


def test_it_holds_over_a_restart_and_still_knows_what_to_put_back(bench: Bench) -> None:
    bench.thermometer.celsius = 85.0
    fly(bench.guarding(HOT), 10.0)
    bench.thermometer.celsius = 40.0
    again = bench.guarding(HOT)
    fly(again, 1.0)
    assert len(bench.told["acted"]) == 1
    (bench.directory / CLEAR).touch()
    fly(again, 1.0)
    assert bench.throttle.ratio == 0.8


def test_work_is_stopped_and_what_is_started_later_too(bench: Bench) -> None:
    guarding = bench.guarding(Guard(device="sensor.soc", high=80.0, action="stop-work"))
    bench.thermometer.celsius = 85.0
    fly(guarding, 10.0)
    assert bench.jobs == 0
    bench.jobs = 1
    fly(guarding, 1.0)
    assert bench.jobs == 0


def test_a_switch_is_opened_held_open_and_closed_again(bench: Bench) -> None:
    guarding = bench.guarding(Guard(device="sensor.soc", high=80.0, action="open-load", load="switch.cut"))
    bench.thermometer.celsius = 85.0
    fly(guarding, 10.0)
    bench.switch.closed = True
    fly(guarding, 1.0)
    assert not bench.switch.closed
    bench.thermometer.celsius = 40.0
    (bench.directory / CLEAR).touch()
    fly(guarding, 1.0)
    assert bench.switch.closed


def test_a_board_that_was_powered_off_is_not_powered_off_again_when_it_comes_back(bench: Bench) -> None:
    guard = Guard(device="sensor.soc", high=80.0, action="power-off")
    bench.thermometer.celsius = 85.0
    fly(bench.guarding(guard), 10.0)
    assert not bench.power
    # It may stay on all the same.
    assert (bench.jobs, bench.throttle.ratio) == (0, 0.0)
    bench.power = True
    fly(bench.guarding(guard), 10.0)
    assert bench.power
    assert bench.jobs == 0


def test_a_sensor_that_is_gone_and_a_throttle_that_refuses_are_told(bench: Bench) -> None:
    lost = Guard(device="sensor.lost", high=80.0, action="throttle")
    guarding = bench.guarding(lost, HOT)
    fly(guarding, 5.0)
    assert bench.told["blind"] == {"sensor.lost": "sensor.lost: is not connected"}
    bench.throttle = None  # type: ignore[assignment]
    bench.thermometer.celsius = math.nan
    fly(guarding, 60.0)
    assert {each["device"] for each in bench.told["acted"]} == {"sensor.lost", "sensor.soc"}
    assert "throttle.cpu" in bench.told["problems"]


def test_a_board_that_refuses_to_power_off_is_told(bench: Bench) -> None:
    def refuse() -> None:
        raise PermissionError("systemctl refused")

    bench.power_off = refuse  # type: ignore[method-assign]
    bench.thermometer.celsius = 85.0
    fly(bench.guarding(Guard(device="sensor.soc", high=80.0, action="power-off")), 10.0)
    assert bench.told["problems"] == {"power": "systemctl refused"}
    assert (bench.jobs, bench.throttle.ratio) == (0, 0.0)


def test_a_device_that_hangs_keeps_no_other_guard_from_acting(bench: Bench) -> None:
    class Hanging:
        async def read(self) -> Reading[float]:
            await asyncio.Event().wait()
            raise AssertionError

    get = bench.get
    bench.get = lambda name, protocol=None: Hanging() if name == "sensor.hangs" else get(name)  # type: ignore[method-assign]
    bench.thermometer.celsius = 85.0
    hangs = Guard(device="sensor.hangs", high=80.0, for_seconds=100.0, action="throttle")
    fly(bench.guarding(hangs, HOT), 20.0)
    assert bench.throttle.ratio == 0.0
    assert bench.told["blind"] == {"sensor.hangs": "it gave no answer within 3 s"}


def test_a_throttle_that_cannot_be_put_back_is_told_and_tried_again(bench: Bench) -> None:
    guarding = bench.guarding(HOT)
    bench.thermometer.celsius = 85.0
    fly(guarding, 10.0)
    bench.thermometer.celsius, throttle = 40.0, bench.throttle
    bench.throttle = None  # type: ignore[assignment]
    (bench.directory / CLEAR).touch()
    fly(guarding, 2.0)
    assert bench.told["problems"]["throttle.cpu"].startswith("it cannot be put back: ")
    bench.throttle = throttle
    fly(guarding, 1.0)
    assert (throttle.ratio, bench.told["problems"]) == (0.8, {})


def test_a_full_disk_does_not_keep_a_guard_from_acting(bench: Bench) -> None:
    guarding = bench.guarding(HOT)
    (bench.directory / f".{STATE}.new").mkdir()
    bench.thermometer.celsius = 85.0
    fly(guarding, 10.0)
    assert bench.throttle.ratio == 0.0


def test_a_directory_without_work_has_none_to_stop(tmp_path: Path) -> None:
    (tmp_path / "state/nodes/node-1/job-1").mkdir(parents=True)
    assert stop_work_below(tmp_path) == 0


BENCH = """
name = "mine"
constellation = "bench"
[[boards]]
name = "here"
satellite = "sat-1"
guards = [{ device = "meter.board", high = 0.001, for_seconds = 0.1, action = "stop-work" }]
[boards.devices."meter.board"]
driver = "board.cpu_meter"
[boards.devices."node.node-1"]
driver = "board.rack_node"
settings = { meter = "meter.board" }
"""


def wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30.0
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_guard_of_a_real_process_acts_and_is_cleared_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run, board = tmp_path / ".skyrack/mine", tmp_path / "board"
    run.mkdir(parents=True)
    board.mkdir()
    (tmp_path / "mine.toml").write_text(BENCH)
    place = {"name": "here", "satellite": "sat-1", "address": "local", "python": "", "directory": str(board)}
    (run / "bench.json").write_text(json.dumps({"bench": "mine.toml", "boards": [place]}))
    arguments = ["--bench", "mine.toml", "--board", "here", "--directory", str(board)]
    arguments += ["--satellite", str(files.shipped("satellites", "bench"))]
    command = [sys.executable, "-m", "hil.boards.guarding", *arguments]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        state = board / STATE
        wait_for(lambda: state.exists() and bool(json.loads(state.read_bytes())["acted"]))
        with pytest.raises(SystemExit) as ended:
            main(["hil", "guards", "--clear"])
        assert not ended.value.code
        assert capsys.readouterr().out.startswith("here: ")
        wait_for(lambda: '"guard-cleared"' in (tmp_path / "log").read_text())
    finally:
        process.terminate()
        assert process.wait(10.0) == 0
    assert '"device": "meter.board", "action": "stop-work"' in (tmp_path / "log").read_text()


def test_there_must_be_a_bench_whose_guards_are_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["hil", "guards"])
    assert ended.value.code == 2
    assert "skyrack hil run" in capsys.readouterr().err
