"""Checks: each device is read and tried, what vanishes is shown and comes back, and a mistake has its remedy."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flight.hal import BatteryState, BoardState, DeviceError, LaserReading, NodeState, Quality, Reading
from hil.boards import check as checking
from hil.boards import watched
from hil.boards.check import Bench, BoardView, There, examine
from hil.boards.file import BenchBoard, load_bench_and_designs
from hil.boards.watched import Row, Watched
from hil.devices.host import Host
from hil.instruments.protocol import InstrumentError, Measured
from skyrack import files
from skyrack.cli import main

PlantTree = Callable[[str], Host]

BENCH = """
name = "mine"
constellation = "bench"

[[boards]]
name = "pi-1"
satellite = "sat-1"
kind = "raspberry-pi"
watts_scale = 100
guards = [{ device = "sensor.soc", high = 80, action = "throttle" }]

[boards.devices."sensor.soc"]
driver = "linux.thermal_zone"
settings = { zone = "cpu-thermal" }

[boards.devices."throttle.cpu"]
driver = "linux.cpufreq"

[boards.devices."pump"]
driver = "linux.hwmon_fan"
settings = { chip = "pwmfan" }

[boards.devices."gnss"]
driver = "simulated.gnss"
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SETTLE_SECONDS", "FAN_SECONDS", "SERVO_SECONDS"):
        monkeypatch.setattr(watched, name, 0.0)


def bench(tmp_path: Path, text: str = BENCH) -> Bench:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return Bench(path, *load_bench_and_designs(path))


def check(
    read: Bench,
    host: Host,
    seconds: float = 0.0,
    exercise: str = "",
    tell: Callable[[Sequence[BoardView]], None] = lambda _: None,
) -> dict[str, Row]:
    views = asyncio.run(examine(read, (), seconds, exercise, tell, host))
    return {row.device: row for view in views for row in view.rows}


def test_a_check_reads_what_is_real_and_leaves_out_what_is_simulated(tmp_path: Path, plant_tree: PlantTree) -> None:
    rows = check(bench(tmp_path), plant_tree("raspberry-pi-5"))
    assert set(rows) == {"sensor.soc", "throttle.cpu", "pump"}
    assert rows["sensor.soc"].value == pytest.approx(52.85)
    assert rows["sensor.soc"].unit == "°C"
    assert all(row.verdict == "ok" for row in rows.values())
    assert all(row.read_seconds is not None for row in rows.values())


def test_throttle_and_fan_are_tried_and_left_as_they_were(tmp_path: Path, plant_tree: PlantTree) -> None:
    host = plant_tree("raspberry-pi-5")
    cap = host.path("/sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq")
    before = cap.read_text().strip()
    rows = check(bench(tmp_path), host, exercise="safe")
    assert rows["throttle.cpu"].exercise == "stepped to 0.00 and back"
    assert "back" in rows["pump"].exercise
    assert not any(row.failed for row in rows.values())
    assert cap.read_text().strip() == before


def test_a_device_that_vanishes_shows_at_once_and_recovers(tmp_path: Path, plant_tree: PlantTree) -> None:
    host = plant_tree("raspberry-pi-5")
    zone = host.path("/sys/class/thermal/thermal_zone0")
    away = zone.with_name("away")
    seen: list[str] = []

    def tell(views: Sequence[BoardView]) -> None:
        row = next(row for row in views[0].rows if row.device == "sensor.soc")
        seen.append(row.verdict)
        if len(seen) == 1:
            # A file that is open goes on to be read when it is renamed; the kernel's says that its device is gone.
            (zone / "temp").rename(zone / "kept")
            (zone / "kept").write_text("")
            zone.rename(away)
        elif len(seen) == 2:
            assert "absent" in row.problem
            (away / "temp").write_text("53000\n")
            away.rename(zone)

    rows = check(bench(tmp_path), host, 1.2, tell=tell)
    assert seen[:3] == ["ok", "absent", "ok, was away 1x"]
    assert rows["sensor.soc"].value == 53.0


def test_a_device_that_was_never_there_is_absent_until_it_comes(tmp_path: Path, plant_tree: PlantTree) -> None:
    host = plant_tree("raspberry-pi-5")
    zone = host.path("/sys/class/thermal/thermal_zone0")
    zone.rename(zone.with_name("away"))
    seen: list[str] = []

    def tell(views: Sequence[BoardView]) -> None:
        seen.append(next(row for row in views[0].rows if row.device == "sensor.soc").verdict)
        if len(seen) == 1:
            zone.with_name("away").rename(zone)

    check(bench(tmp_path), host, 0.6, tell=tell)
    assert seen == ["absent", "ok", "ok"][: len(seen)]
    assert len(seen) >= 2


class Switch:
    def __init__(self, *, stuck: bool = False, burnt: bool = False) -> None:
        self.closed = True
        self.stuck, self.burnt = stuck, burnt

    async def is_closed(self) -> Reading[bool]:
        return Reading(self.closed, 0.0)

    async def read_watts(self) -> Reading[float]:
        return Reading(4.0 * self.closed, 0.0)

    async def set_closed(self, closed: bool) -> None:
        if self.burnt:
            raise DeviceError("load.x: line 17 is held by another program")
        if not self.stuck:
            self.closed = closed


class Servo:
    def __init__(self, ratio: float) -> None:
        self.azimuth, self.ratio = 0.2, ratio

    async def read(self) -> Reading[LaserReading]:
        return Reading(LaserReading(self.azimuth, 0.0, 1e-6, (0.0, 0.0), slewing=False), 0.0)

    async def point(self, azimuth: float, elevation: float) -> None:
        self.azimuth += (azimuth - self.azimuth) * self.ratio


def tried(device: object, *, dangerous: bool, name: str = "load.x") -> Row:
    async def run() -> Row:
        one = Watched(name, "some.driver", lambda _name: device)
        await one.look()
        return await one.exercise(dangerous=dangerous)

    return asyncio.run(run())


def test_what_switches_something_is_tried_only_when_it_may() -> None:
    switch = Switch()
    assert tried(switch, dangerous=False).exercise == "not moved: --exercise does"
    row = tried(switch, dangerous=True)
    assert (row.exercise, row.failed, row.text, switch.closed) == ("opened and back", False, "closed, 4 W", True)


def test_a_switch_that_does_not_obey_fails_and_says_so() -> None:
    row = tried(Switch(stuck=True), dangerous=True)
    assert row.failed
    assert row.verdict == "does not obey"
    assert "reads back as before" in row.exercise
    assert "held by another program" in tried(Switch(burnt=True), dangerous=True).exercise


def test_a_servo_is_turned_and_turned_back() -> None:
    servo = Servo(1.0)
    row = tried(servo, dangerous=True, name="laser.laser-1")
    assert (row.exercise, row.failed) == ("turned 100 µrad and back", False)
    assert servo.azimuth == pytest.approx(0.2)
    assert tried(Servo(0.3), dangerous=True, name="laser.laser-1").failed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (BatteryState(12.1, -0.5, 21.0), "12.10 V, -0.50 A, 21.0 °C"),
        (BoardState(under_voltage=True), "under voltage"),
        (BoardState(), "nothing to report"),
        (NodeState(powered=False, draw_watts=0.0, cap_watts=700.0, running=()), "0 W, off"),
        (True, "on"),
        (math.nan, "nan"),
    ],
)
def test_every_kind_of_reading_can_be_shown(value: object, text: str) -> None:
    class Device:
        async def read(self) -> Reading[Any]:
            return Reading(value, 0.0)

    row = asyncio.run(Watched("x", "some.driver", lambda _name: Device()).look())
    assert row.text == text
    assert msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(row))), Row) == row


def test_noise_is_what_readings_scatter_and_a_broken_driver_ends_nothing() -> None:
    readings: list[Any] = [1.0, 3.0, 2.0, ZeroDivisionError("by zero"), 2.0]

    class Device:
        async def read(self) -> Reading[float]:
            value = readings.pop(0)
            if isinstance(value, Exception):
                raise value
            return Reading(value, 0.0, Quality.GOOD)

    async def run() -> list[Row]:
        one = Watched("meter.x", "some.driver", lambda _name: Device())
        return [await one.look() for _ in range(5)]

    rows = asyncio.run(run())
    assert rows[2].noise == pytest.approx(1.0)
    assert "by zero" in rows[3].problem
    assert rows[4].verdict == "ok, was away 1x"


def test_a_board_elsewhere_is_examined_by_its_agent(tmp_path: Path) -> None:
    laptop = files.shipped("benches", "laptop")
    satellite = files.shipped("satellites", "bench")
    content = {"check/bench.toml": laptop.read_bytes(), "check/satellite.toml": satellite.read_bytes()}
    board = BenchBoard(name="here", satellite="sat-1", directory=str(tmp_path / "board"))

    async def run() -> list[Row]:
        there = There(board, content)
        try:
            await there.look("")
            return await there.look("safe")
        finally:
            await there.close()

    rows = {row.device: row for row in asyncio.run(run())}
    assert set(rows) == {"meter.board", "node.node-1"}
    assert rows["meter.board"].unit == "W"


def skyrack(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_exit_code_says_whether_a_bench_can_be_flown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = skyrack(capsys, "hil", "check", "laptop", "--seconds", "0.6", "--json")
    told = json.loads(out)
    assert (code, told["good"]) == (0, True)
    assert [each["device"] for each in told["boards"][0]["devices"]] == ["meter.board", "node.node-1"]
    path = bench(tmp_path, BENCH.replace("cpu-thermal", "no-such-thermal")).path
    code, out, _ = skyrack(capsys, "hil", "check", str(path), "--seconds", "0")
    assert code == 1
    assert "sensor.soc" in out
    assert "absent" in out


def test_a_board_that_cannot_be_reached_is_one_sentence_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = BENCH.replace('satellite = "sat-1"', 'satellite = "sat-1"\naddress = "ssh://nobody@no-such-board.invalid"')
    code, out, _ = skyrack(capsys, "hil", "check", str(bench(tmp_path, text).path), "--seconds", "0", "--json")
    told = json.loads(out)["boards"][0]
    assert (code, told["good"]) == (1, False)
    assert "pi-1" in told["problem"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("laptop", "--board", "hree"), '"here"?'), (("laptpo",), '"laptop"?')],
    ids=["board", "bench"],
)
def test_what_is_mistyped_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], word: str
) -> None:
    code, _, err = skyrack(capsys, "hil", "check", *arguments)
    assert code == 2
    assert word in err
    assert err.count("\n") == 1


class Supply:
    """An instrument that is plugged in when it is ``there``."""

    there, tripped, closed = True, "", False

    async def open(self) -> str:
        if not self.there:
            raise InstrumentError("sun: nobody answers at 192.168.1.20")
        return "SKYRACK,PSU305"

    async def measure(self) -> Measured:
        return Measured(12.0, 0.5)

    async def trip(self) -> str:
        return self.tripped

    async def close(self) -> None:
        self.closed = True


INSTRUMENT = """
[[instruments]]
name = "sun"
driver = "scpi.solar_array_simulator"
settings = { resource = "TCPIP0::192.168.1.20::5025::SOCKET", volts = 12, maximum_amperes = 3 }
"""


@pytest.mark.parametrize(
    ("there", "tripped", "verdict", "word"),
    [(True, "", "ok", ""), (False, "", "absent", "nobody answers"), (True, "over-voltage", "stale", "over-voltage")],
)
def test_instruments_are_asked_who_they_are_and_what_they_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, tripped: str, verdict: str, word: str
) -> None:
    supply = Supply()
    supply.there, supply.tripped = there, tripped
    monkeypatch.setattr(checking, "load_instrument", lambda _described: supply)
    row = check(bench(tmp_path, BENCH + INSTRUMENT), Host(root=tmp_path))["sun"]
    assert (row.verdict, row.how, row.value) == (verdict, "SKYRACK,PSU305" if there else "", 6.0 if there else None)
    assert word in row.problem
    assert supply.closed
