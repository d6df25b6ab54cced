from __future__ import annotations

import asyncio
import math
import random
import statistics
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from flight.hal import DeviceEnvironment, DeviceError, Quality
from hil.devices import simulated
from hil.plant.link import Sample
from hil.plant.local import LocalPlantLink
from hil.plant.plant import Plant

MakePlant = Callable[..., Plant]
T = TypeVar("T")


@pytest.fixture
def plant(make_plant: MakePlant) -> Plant:
    plant = make_plant()
    plant.step()
    return plant


@pytest.fixture
def environment(plant: Plant) -> DeviceEnvironment:
    class PlantClock:
        rate = 1.0

        def now(self) -> float:
            return plant.time

    return DeviceEnvironment(
        satellite="sat-1",
        clock=PlantClock(),  # type: ignore[arg-type]
        rng=random.Random(3),
        state_dir=None,
        attachments={"plant": LocalPlantLink(plant)},
        design=plant.layouts[0].design,
    )


def get(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def test_a_thermometer_reads_truth_with_noise_and_bias(plant: Plant, environment: DeviceEnvironment) -> None:
    sensor = simulated.temperature("thermal.radiator", {"noise": 0.5, "bias": 2.0}, environment)

    async def many() -> list[float]:
        return [(await sensor.read()).value for _ in range(2000)]

    errors = [value - plant.read("sat-1", "thermal.radiator.celsius") for value in asyncio.run(many())]
    assert statistics.mean(errors) == pytest.approx(2.0, abs=0.05)
    assert statistics.stdev(errors) == pytest.approx(0.5, rel=0.1)
    reading = get(sensor.read())
    assert reading.good
    assert reading.mission_time_seconds == plant.time


def test_switches_meters_pump_and_heater_reach_the_plant(plant: Plant, environment: DeviceEnvironment) -> None:
    switch = simulated.load_switch("load.node-1", {}, environment)
    pump = simulated.pump("pump", {}, environment)
    heater = simulated.heater("heater.battery-heater", {}, environment)
    assert get(switch.is_closed()).value
    assert get(switch.read_watts()).value == pytest.approx(60.0, rel=0.03)
    get(switch.set_closed(closed=False))
    get(pump.set_duty(0.4))
    get(heater.set_on(on=True))
    plant.step()
    assert not get(switch.is_closed()).value
    assert get(switch.read_watts()).value == 0.0
    assert get(pump.read_duty()).value == pytest.approx(0.4, abs=0.02)
    assert get(heater.is_on()).value
    assert heater.watts == 100.0
    assert plant.read("sat-1", "heater.battery-heater.watts") == 100.0


def test_battery_array_and_gnss(plant: Plant, environment: DeviceEnvironment) -> None:
    state = get(simulated.battery("battery", {}, environment).read()).value
    assert state.voltage_volts == pytest.approx(plant.read("sat-1", "battery.voltage_volts"), abs=0.2)
    assert state.current_amperes == pytest.approx(plant.read("sat-1", "battery.current_amperes"), abs=0.2)
    watts = get(simulated.array("array", {}, environment).read()).value
    assert watts == pytest.approx(plant.read("sat-1", "array.watts"), rel=0.05)
    fix = get(simulated.gnss("gnss", {}, environment).read()).value
    truth, speed = plant.geometry.state(0, plant.time)
    assert math.dist(fix.position_meters, truth) < 30.0
    assert math.dist(fix.velocity_meters_per_second, speed) < 0.1


def test_a_fix_is_of_one_moment_though_the_plant_goes_on(plant: Plant, environment: DeviceEnvironment) -> None:
    """As over sockets, where a new frame may come between two sensors."""

    class Moving(LocalPlantLink):
        reads = 0

        def read(self, satellite: str, key: str) -> Sample:
            self.reads += 1
            if self.reads in (3, 9):
                plant.step()
            return super().read(satellite, key)

    moving = replace(environment, attachments={"plant": Moving(plant)})
    fix = get(simulated.gnss("gnss", {"noise": 0.0, "bias": 0.0}, moving).read())
    assert fix.mission_time_seconds == plant.time
    assert fix.value.position_meters == pytest.approx(
        [plant.read("sat-1", f"orbit.position_{a}_meters") for a in "xyz"]
    )


def test_a_laser_terminal_turns_and_reports(plant: Plant, environment: DeviceEnvironment) -> None:
    laser = simulated.laser("laser.laser-1", {}, environment)
    get(laser.point(0.02, -0.03, rates=(1e-3, 0.0)))
    get(laser.set_transmitter(on=True))
    plant.step()
    reading = get(laser.read()).value
    assert reading.azimuth_radians == pytest.approx(0.021)
    assert reading.elevation_radians == pytest.approx(-0.03)
    assert reading.received_power_watts == 0.0
    assert plant.read("sat-1", "laser.laser-1.transmitting") == 1.0


def test_faults_show_in_readings_and_go(plant: Plant, environment: DeviceEnvironment) -> None:
    sensor = simulated.temperature("thermal.radiator", {"noise": 0.0, "bias": 0.0}, environment)
    first = get(sensor.read())

    def fault(kind: str, value: float) -> None:
        plant.actuate("sat-1", f"fault.device.thermal.radiator.{kind}", value)

    fault("stuck", 1.0)
    plant.step(300.0)
    stuck = get(sensor.read())
    assert (stuck.value, stuck.quality, stuck.mission_time_seconds) == (first.value, Quality.GOOD, plant.time)
    fault("stuck", 0.0)
    fault("silent", 1.0)
    silent = get(sensor.read())
    assert (silent.value, silent.quality) == (first.value, Quality.ABSENT)
    fault("silent", 0.0)
    fault("bias", 7.0)
    truth = plant.read("sat-1", "thermal.radiator.celsius")
    assert get(sensor.read()).value == pytest.approx(truth + 7.0)
    fault("bias", 0.0)
    assert get(sensor.read()).value == pytest.approx(truth)


def test_a_quiet_plant_makes_readings_stale_and_none_absent(plant: Plant, environment: DeviceEnvironment) -> None:
    class Quiet(LocalPlantLink):
        time = -math.inf

        def read(self, satellite: str, key: str) -> Sample:
            return Sample(math.nan if self.time == -math.inf else 1.0, self.time)

        def device_faults(self, satellite: str) -> Mapping[str, float]:
            return {}

    quiet = Quiet(plant)
    sensor = simulated.temperature("thermal.loop", {}, replace(environment, attachments={"plant": quiet}))
    assert get(sensor.read()).quality is Quality.ABSENT
    quiet.time = plant.time - 5.0
    assert get(sensor.read()).good
    quiet.time = plant.time - 7.0
    assert get(sensor.read()).quality is Quality.STALE


def test_the_same_seed_gives_the_same_readings(plant: Plant, environment: DeviceEnvironment) -> None:
    def draw() -> float:
        again = replace(environment, rng=random.Random(5))
        return get(simulated.temperature("thermal.loop", {}, again).read()).value

    assert draw() == draw()


def test_wrong_settings_and_names_are_said(environment: DeviceEnvironment) -> None:
    with pytest.raises(DeviceError, match='no setting "nois"; did you mean "noise"'):
        simulated.gnss("gnss", {"nois": 1.0}, environment)
    with pytest.raises(DeviceError, match="noise = 'much' must be a number"):
        simulated.gnss("gnss", {"noise": "much"}, environment)
    with pytest.raises(DeviceError, match='no heater "rack"; known are battery-heater'):
        simulated.heater("heater.rack", {}, environment)
    with pytest.raises(DeviceError, match="no sensor"):
        get(simulated.temperature("thermal.soup", {}, environment).read())
