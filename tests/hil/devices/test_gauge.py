from __future__ import annotations

import asyncio
import errno
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import pytest

from flight.hal import DeviceEnvironment, DeviceError, Quality, Reading
from hil.devices.gauge import Gauge


class Clock(Protocol):
    time: float


@dataclass
class Sensor:
    """What a gauge samples: a number, or an error."""

    value: float | OSError | ValueError = 20.0

    def __call__(self) -> float:
        if isinstance(self.value, float):
            return self.value
        raise self.value


def gauge(sensor: Sensor, environment: DeviceEnvironment, settings: Mapping[str, object] | None = None) -> Gauge:
    return Gauge("meter.board", sensor, settings or {}, environment, "W", (0.0, 100.0))


def read(device: Gauge) -> Reading[float]:
    return asyncio.run(device.read())


def test_calibration_comes_first_and_scale_last(environment: DeviceEnvironment) -> None:
    device = gauge(Sensor(20.0), environment, {"gain": 2, "offset": -1.0, "scale": 100})
    assert read(device) == Reading(3900.0, 1000.0)


def test_the_span_is_of_the_real_device_whatever_the_scale(environment: DeviceEnvironment) -> None:
    sensor = Sensor(20.0)
    device = gauge(sensor, environment, {"scale": 1000, "high": 30.0})
    assert read(device).value == 20_000.0
    sensor.value = 31.0
    assert read(device).quality is Quality.STALE


@pytest.mark.parametrize("absurd", [-1.0, 101.0, math.inf])
def test_an_absurd_value_is_not_passed_on(absurd: float, environment: DeviceEnvironment, clock: Clock) -> None:
    sensor = Sensor(20.0)
    device = gauge(sensor, environment)
    sensor.value = absurd
    clock.time += 5.0
    reading = read(device)
    assert (reading.value, reading.mission_time_seconds, reading.quality) == (20.0, 1000.0, Quality.STALE)
    assert "absurd" in reading.problem
    assert "0 to 100 W" in reading.problem
    sensor.value = 21.0
    assert read(device) == Reading(21.0, 1005.0)


def test_a_stuck_sensor_is_told_from_a_steady_one_by_its_last_digit(
    environment: DeviceEnvironment, clock: Clock
) -> None:
    sensor = Sensor(20.0)
    device = gauge(sensor, environment, {"stuck_after_seconds": 10})
    for step in range(20):
        sensor.value = 20.0 + step % 2 * 0.001
        clock.time += 1.0
        assert read(device).good
    clock.time += 11.0
    reading = read(device)
    assert reading.quality is Quality.STALE
    assert reading.mission_time_seconds == 1020.0
    assert "stuck" in reading.problem
    sensor.value = 20.5
    assert read(device).good


def test_a_device_that_vanishes_is_absent_until_it_is_back(environment: DeviceEnvironment, clock: Clock) -> None:
    sensor = Sensor(20.0)
    device = gauge(sensor, environment)
    sensor.value = FileNotFoundError(errno.ENOENT, "No such file or directory", "/sys/x")
    clock.time += 1.0
    reading = read(device)
    assert reading[:3] == (20.0, 1000.0, Quality.ABSENT)
    assert reading.problem.startswith("meter.board: /sys/x is absent; ")
    sensor.value = 22.0
    assert read(device).good


def test_a_passing_error_and_garbage_are_stale(environment: DeviceEnvironment) -> None:
    sensor = Sensor(20.0)
    device = gauge(sensor, environment)
    for error in (OSError(errno.EIO, "Input/output error"), ValueError("/sys/x holds 'foo', no number")):
        sensor.value = error
        reading = read(device)
        assert (reading.value, reading.quality) == (20.0, Quality.STALE)
        assert reading.problem


def test_who_is_late_once_is_waited_for_by_a_thread_from_then_on(
    environment: DeviceEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def look() -> float:
        threads.append(threading.current_thread())
        return 20.0 + len(threads)

    device = Gauge("meter.board", look, {}, environment, "W", (0.0, 100.0))
    with monkeypatch.context() as patch:
        patch.setattr("hil.devices.gauge.monotonic", iter([10.0, 11.5]).__next__)
        late = read(device)
    assert (late.value, late.quality) == (21.0, Quality.STALE)
    assert "no answer within 1 s" in late.problem
    assert read(device).value == 23.0
    assert [thread is threading.main_thread() for thread in threads] == [True, True, False]


def test_who_takes_long_but_not_too_long_is_believed_and_waited_for_by_a_thread(
    environment: DeviceEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def look() -> float:
        threads.append(threading.current_thread())
        return 20.0

    device = Gauge("thermal.a", look, {}, environment, "°C", (0.0, 100.0))
    with monkeypatch.context() as patch:
        patch.setattr("hil.devices.gauge.monotonic", iter([10.0, 10.75]).__next__)
        assert read(device).good
    assert read(device).good
    assert threads[-1] is not threading.main_thread()


def test_who_has_nothing_to_tell_at_the_start_may_later(environment: DeviceEnvironment) -> None:
    sensor = Sensor(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable", "/sys/x"))
    device = gauge(sensor, environment)
    reading = read(device)
    assert reading.quality is Quality.STALE
    assert "/sys/x: there is nothing to read now" in reading.problem
    sensor.value = 20.0
    assert read(device).good


def test_a_bus_that_hangs_costs_control_its_time_once(environment: DeviceEnvironment) -> None:
    released = threading.Event()
    calls = 0

    def hangs() -> float:
        nonlocal calls
        calls += 1
        if calls > 1:
            released.wait(30.0)
        return 20.0 + calls

    settings = {"timeout_seconds": 0.02}
    device = Gauge("thermal.rack", hangs, settings, environment, "°C", (-40.0, 125.0), bus="i2c-1")

    async def fly() -> list[Reading[float]]:
        found = [await device.read() for _ in range(50)]
        assert calls == 2
        released.set()
        while not found[-1].good:
            found.append(await device.read())
            await asyncio.sleep(0.005)
        return found

    found = asyncio.run(asyncio.wait_for(fly(), 20.0))
    assert {reading.quality for reading in found[:50]} == {Quality.STALE}
    assert "no answer within 0.02 s" in found[0].problem
    assert found[-1].value == 23.0


def test_absent_at_the_start_is_an_error_with_its_remedy(environment: DeviceEnvironment) -> None:
    with pytest.raises(DeviceError, match="no answer at that address; look at wiring"):
        gauge(Sensor(OSError(errno.EREMOTEIO, "Remote I/O error")), environment)


@pytest.mark.parametrize(
    ("path", "group"), [("/dev/i2c-1", "group i2c"), ("/dev/vcio", "group video"), ("/sys/x/energy_uj", "udev rules")]
)
def test_a_missing_permission_names_its_group(path: str, group: str, environment: DeviceEnvironment) -> None:
    with pytest.raises(DeviceError, match=group):
        gauge(Sensor(PermissionError(errno.EACCES, "Permission denied", path)), environment)


def test_before_anything_good_the_value_is_no_number(environment: DeviceEnvironment) -> None:
    for nothing_yet in (200.0, math.nan):
        reading = read(gauge(Sensor(nothing_yet), environment))
        assert math.isnan(reading.value)
        assert reading.quality is Quality.STALE
        assert reading.problem


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"gain": 0}, "measures nothing"),
        ({"scale": "big"}, "must be a number"),
        ({"low": 100.0}, "must be below high"),
        ({"stuck_after_seconds": -1}, "must be 0 or more"),
        ({"timeout_seconds": True}, "must be a number"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, object], problem: str, environment: DeviceEnvironment) -> None:
    with pytest.raises(DeviceError, match=problem):
        gauge(Sensor(), environment, settings)
