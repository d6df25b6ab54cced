"""What every gauge on a file of the kernel must do on a bad day, told once for all of them."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from flight.devices import load_driver
from flight.hal import DeviceEnvironment, DeviceError, Quality, Reading
from hil.devices import sysfs
from hil.devices.gauge import Gauge
from hil.devices.host import Host, attach

PlantTree = Callable[[str], Host]


class Clock(Protocol):
    time: float


# Driver, board, settings, the file that it reads, what is in it, what is absurd there.
GAUGES = [
    ("linux.hwmon_power", "laptop", {"chip": "ina226"}, "/sys/class/hwmon/hwmon6/power1_input", 6.175, "9e12"),
    ("linux.hwmon_temperature", "laptop", {"chip": "tmp102", "device": "7-0049"},
     "/sys/class/hwmon/hwmon8/temp1_input", 31.25, "200000"),
    ("linux.hwmon_temperature", "laptop", {"chip": "coretemp", "label": "Package id 0"},
     "/sys/class/hwmon/hwmon4/temp1_input", 51.0, "-100000"),
    ("linux.thermal_zone", "raspberry-pi-4", {}, "/sys/class/thermal/thermal_zone0/temp", 48.199, "999999"),
    ("linux.thermal_zone", "jetson-orin-nano", {"zone": "tj-thermal"},
     "/sys/class/thermal/thermal_zone8/temp", 47.031, "-256000"),
    ("linux.one_wire", "raspberry-pi-4", {}, "/sys/bus/w1/devices/28-0316a2790c42/w1_slave", 23.125,
     "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=623125"),
    ("jetson.rail", "jetson-orin-nano", {}, "/sys/class/hwmon/hwmon1/curr1_input", 5.016 * 1.064, "9999999"),
    ("jetson.rail", "jetson-xavier-nx", {}, "/sys/bus/i2c/devices/7-0040/iio:device0/in_power0_input", 3.29, "999999"),
]  # fmt: skip


@pytest.fixture(params=GAUGES, ids=[f"{driver}-{board}" for driver, board, *_ in GAUGES])
def case(
    request: pytest.FixtureRequest, plant_tree: PlantTree, environment: DeviceEnvironment
) -> tuple[Gauge, Path, float, str]:
    driver, board, settings, file, value, absurd = request.param
    host = plant_tree(board)
    environment = replace(environment, attachments=attach(host))
    gauge = load_driver(driver)("thermal.here", {**settings, "stuck_after_seconds": 60}, environment)
    assert isinstance(gauge, Gauge)
    return gauge, host.path(file), value, absurd.replace("9e12", "9000000000000")


Case = tuple[Gauge, Path, float, str]


def read(gauge: Gauge) -> Reading[float]:
    return asyncio.run(gauge.read())


def told(gauge: Gauge) -> tuple[float, float, Quality]:
    reading = read(gauge)
    assert bool(reading.problem) is (not reading.good)
    return round(reading.value, 6), reading.mission_time_seconds, reading.quality


def test_it_reads(case: Case) -> None:
    gauge, _, value, _ = case
    assert told(gauge) == (round(value, 6), 1000.0, Quality.GOOD)


def test_it_vanishes_and_comes_back(case: Case, clock: Clock) -> None:
    gauge, file, value, _ = case
    content = file.read_text()
    # An open file of sysfs whose device went says ENODEV; one of another file system is emptied to be noticed.
    file.write_text("")
    file.unlink()
    clock.time += 1.0
    assert told(gauge) == (round(value, 6), 1000.0, Quality.ABSENT)
    file.write_text(content)
    assert told(gauge) == (round(value, 6), 1001.0, Quality.GOOD)


def test_a_missing_permission_says_who_gives_it(case: Case, deny: Callable[[Path], None]) -> None:
    gauge, file, _, _ = case
    asyncio.run(gauge.close())
    deny(file)
    reading = read(gauge)
    assert reading.quality is Quality.ABSENT
    assert "install the udev rules of deploy/board/udev/" in reading.problem


@pytest.mark.parametrize("garbage", ["", "n/a", "12.5e", "\0\0"])
def test_garbage_is_stale(case: Case, garbage: str) -> None:
    gauge, file, value, _ = case
    file.write_text(garbage)
    assert told(gauge) == (round(value, 6), 1000.0, Quality.STALE)
    assert read(gauge).problem.startswith("thermal.here: ")


def test_what_is_absurd_is_stale(case: Case) -> None:
    gauge, file, value, absurd = case
    file.write_text(absurd)
    assert told(gauge) == (round(value, 6), 1000.0, Quality.STALE)
    assert "absurd" in read(gauge).problem


def test_what_is_stuck_is_stale(case: Case, clock: Clock) -> None:
    gauge, _, _, _ = case
    clock.time += 61.0
    reading = read(gauge)
    assert reading.quality is Quality.STALE
    assert "stuck" in reading.problem


# A thermometer on 1-Wire has a thread from the start; its lateness is that of any bus, tested with the gauge.
@pytest.mark.parametrize("case", [case for case in GAUGES if case[0] != "linux.one_wire"], indirect=True)
def test_what_is_late_is_stale(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    gauge, _, value, _ = case
    with monkeypatch.context() as patch:
        patch.setattr("hil.devices.gauge.monotonic", iter([10.0, 11.5]).__next__)
        assert told(gauge) == (round(value, 6), 1000.0, Quality.STALE)
    # A thread waits for it from now on.
    assert read(gauge).value == pytest.approx(value)


def test_a_read_that_fails_once_is_stale(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    gauge, file, value, _ = case

    def fails(real_read: Callable[..., bytes]) -> Callable[..., bytes]:
        def guarded(descriptor: int, *arguments: int) -> bytes:
            if Path(f"/proc/self/fd/{descriptor}").readlink() == file:
                raise OSError(errno.EIO, "Input/output error")
            return real_read(descriptor, *arguments)

        return guarded

    with monkeypatch.context() as patch:
        patch.setattr(sysfs, "pread", fails(os.pread))
        patch.setattr(os, "read", fails(os.read))
        reading = read(gauge)
    assert reading.quality is Quality.STALE
    assert f"{file}: the transfer failed" in reading.problem
    assert read(gauge).value == pytest.approx(value)


@pytest.mark.parametrize(("driver", "board", "settings"), [(case[0], case[1], case[2]) for case in GAUGES])
def test_what_is_not_there_at_the_start_is_an_error(
    driver: str, board: str, settings: dict[str, object], environment: DeviceEnvironment
) -> None:
    del board
    with pytest.raises(DeviceError, match=r"thermal\.here: .* is absent; \w+") as caught:
        load_driver(driver)("thermal.here", settings, environment)
    assert "here: none" in str(caught.value)


@pytest.mark.parametrize(("driver", "board", "settings"), [(case[0], case[1], case[2]) for case in GAUGES])
def test_a_setting_that_does_not_fit(
    driver: str, board: str, settings: dict[str, object], plant_tree: PlantTree, environment: DeviceEnvironment
) -> None:
    environment = replace(environment, attachments=attach(plant_tree(board)))
    with pytest.raises(DeviceError, match="did you mean"):
        load_driver(driver)("thermal.here", {**settings, "of_set": 1}, environment)
