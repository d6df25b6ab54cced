from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.cpu_meter import meter, processor_ticks
from hil.devices.host import Host, attach

PlantTree = Callable[[str], Host]
ENERGY = "/sys/class/powercap/intel-rapl:0/energy_uj"


class Clock(Protocol):
    time: float


@pytest.fixture
def laptop(plant_tree: PlantTree) -> Host:
    return plant_tree("laptop")


@pytest.fixture
def on_laptop(laptop: Host, environment: DeviceEnvironment) -> DeviceEnvironment:
    return replace(environment, attachments=attach(laptop))


def test_measured_where_the_processor_counts(laptop: Host, on_laptop: DeviceEnvironment, clock: Clock) -> None:
    device = meter("meter.cpu", {"scale": 10}, on_laptop)
    assert device.how == "measured by RAPL package"
    laptop.path(ENERGY).write_text(str(181002345678 + 7_000_000))
    clock.time += 1.0
    assert asyncio.run(device.read()).value == pytest.approx(70.0)


def test_modelled_where_it_may_not_be_read(
    laptop: Host, on_laptop: DeviceEnvironment, clock: Clock, deny: Callable[[Path], None]
) -> None:
    deny(laptop.path(ENERGY))
    device = meter("meter.cpu", {"idle_watts": 4, "peak_watts": 24}, on_laptop)
    assert device.how.startswith("modelled from processor time, 4 to 24 W (")
    assert "udev rules" in device.how
    # Half of 200 ticks were busy; the first processors were held to half of their frequency since.
    laptop.path("/proc/stat").write_text("cpu  1060 0 1040 8090 10 0 0 500 0 0\n")
    for policy in (0, 1):
        laptop.path(f"/sys/devices/system/cpu/cpufreq/policy{policy}/scaling_max_freq").write_text("2200000")
    clock.time += 1.0
    assert asyncio.run(device.read()).value == pytest.approx(4.0 + 20.0 * 0.5 * 0.5)
    # A short look is none, and a counter that stands still is idle.
    clock.time += 0.1
    assert asyncio.run(device.read()).value == pytest.approx(9.0)
    clock.time += 1.0
    assert asyncio.run(device.read()).value == pytest.approx(4.0)


def test_a_machine_with_nothing_but_processor_time(environment: DeviceEnvironment, host: Host) -> None:
    host.path("/proc").mkdir()
    host.path("/proc/stat").write_text("cpu  1 0 1 8 0 0 0 0 0 0\n")
    assert meter("meter.cpu", {}, environment).how.endswith("(no energy counter here)")


def test_peak_below_idle(on_laptop: DeviceEnvironment) -> None:
    with pytest.raises(DeviceError, match="peak_watts = 3 must be 5 or more"):
        meter("meter.cpu", {"idle_watts": 5, "peak_watts": 3}, on_laptop)


def test_what_is_no_processor_time() -> None:
    for line in (b"", b"intr 1 2 3 4 5", b"cpu 1 2", b"cpu a b c d"):
        with pytest.raises(ValueError, match=r"no processor time|invalid literal|not enough"):
            processor_ticks(line)
