"""Navigation, power and thermal fly the plant for hours of virtual time; a stand-in for compute draws what it may."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import pytest
import zmq

from flight import service as service_module
from flight.board import DRIVERS_OF_THE_TWIN
from flight.bus import Bus, Endpoints
from flight.context import ServiceContext
from flight.devices import DeviceRegistry
from flight.hal import DeviceEnvironment
from flight.meter import NullMeter
from flight.navigation.service import Navigation
from flight.power.service import PowerManager
from flight.service import Service
from flight.thermal.service import ThermalManager
from hil.plant.local import LocalPlantLink
from hil.plant.plant import Plant
from skyrack import files, virtual
from skyrack.clock import MissionClock
from skyrack.logging import silence
from skyrack.satellite import load_constellation
from skyrack.v1.common_pb2 import CommandResult, Event
from skyrack.v1.navigation_pb2 import OrbitForecast, OrbitState
from skyrack.v1.power_pb2 import PowerBudget, PowerStatus, ResetTripRequest, SetLoadSwitchRequest
from skyrack.v1.thermal_pb2 import SetPumpRequest, ThermalBudget, ThermalStatus

SATELLITE = "sat-1"
NODES = ("node-1", "node-2")
ALL = (Navigation, PowerManager, ThermalManager)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    silence()
    monkeypatch.setattr(service_module, "registry", dict(service_module.registry))


@dataclass
class Flight:
    """A satellite over its plant, and what was heard on its bus."""

    plant: Plant
    clock: MissionClock
    contexts: Callable[[], ServiceContext]
    bus: Bus
    power: PowerStatus = field(default_factory=PowerStatus)
    budget: PowerBudget = field(default_factory=PowerBudget)
    thermal: ThermalStatus = field(default_factory=ThermalStatus)
    heat: ThermalBudget = field(default_factory=ThermalBudget)
    orbit: OrbitState = field(default_factory=OrbitState)
    forecast: OrbitForecast = field(default_factory=OrbitForecast)
    events: list[Event] = field(default_factory=list)
    services: dict[str, Service] = field(default_factory=dict)
    obedient: bool = True
    lowest_charge: float = 1.0
    hottest: float = 0.0
    watts: list[tuple[float, bool]] = field(default_factory=list)

    def read(self, key: str) -> float:
        return self.plant.read(SATELLITE, key)

    def actuate(self, key: str, value: float) -> None:
        self.plant.actuate(SATELLITE, key, value)

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    async def run(self, seconds: int) -> None:
        """Let the world go on; compute draws the lesser of its budgets, evenly, from nodes that are on."""
        for _ in range(seconds):
            if self.obedient:
                self.draw(min(self.budget.compute_now_watts, self.heat.compute_now_watts))
            self.plant.step(1.0)
            await self.clock.sleep(1.0)
            self.lowest_charge = min(self.lowest_charge, self.read("battery.state_of_charge_ratio"))
            self.hottest = max(self.hottest, *(self.read(f"thermal.{name}.celsius") for name in NODES))
            nodes = sum(self.read(f"load.{name}.watts") for name in NODES)
            self.watts.append((nodes, self.read("orbit.sunlit_ratio") > 0.5))

    def draw(self, watts: float) -> None:
        on = [name for name in NODES if self.read(f"load.{name}.closed")]
        for name in on:
            self.actuate(f"node.{name}.draw_watts", min(700.0, max(60.0, watts / len(on))))

    async def start(self, kind: type[Service]) -> None:
        service = kind(self.contexts())
        self.services[kind.name] = service
        await service.start()

    async def stop(self, name: str) -> None:
        await self.services.pop(name).stop()

    async def ask(self, service: str, request: Any) -> CommandResult:
        answer = await self.bus.request(service, request, 5.0)
        assert isinstance(answer, CommandResult)
        return answer


def fly(
    test: Callable[[Flight], Coroutine[Any, Any, None]],
    services: tuple[type[Service], ...] = ALL,
    charge: float = 0.92,
) -> None:
    """Run a test with these services on the demonstration satellite."""

    async def main() -> None:
        constellation, designs = load_constellation(files.shipped("constellations", "demo"))
        battery = msgspec.structs.replace(designs[SATELLITE].battery, initial_state_of_charge_ratio=charge)
        design = msgspec.structs.replace(designs[SATELLITE], battery=battery)
        plant = Plant(constellation, {**designs, SATELLITE: design}, rng=1)
        plant.step(1.0)
        clock = MissionClock.starting_at(plant.time)
        endpoints = Endpoints.inproc("loop")
        rng = random.Random(7)
        with zmq.Context(0) as context:

            def make() -> ServiceContext:
                attachments = {"plant": LocalPlantLink(plant)}
                environment = DeviceEnvironment(SATELLITE, clock, rng, None, attachments, design=design)
                return ServiceContext(
                    satellite=SATELLITE,
                    satellite_file=design,
                    constellation=constellation,
                    clock=clock,
                    endpoints=endpoints,
                    devices=DeviceRegistry(environment, {}, DRIVERS_OF_THE_TWIN),
                    rng=rng,
                    zmq_context=context,
                    meter=NullMeter(),
                )

            flight = Flight(plant, clock, make, Bus("compute", endpoints, clock, 1, context))
            await flight.bus.open()
            listen(flight)
            try:
                for kind in services:
                    await flight.start(kind)
                await test(flight)
            finally:
                for name in list(flight.services):
                    await flight.stop(name)
                await flight.bus.close()

    virtual.run(main)


def listen(flight: Flight) -> None:
    kept = {
        "power": (PowerStatus, "power"),
        "budget": (PowerBudget, "power"),
        "thermal": (ThermalStatus, "thermal"),
        "heat": (ThermalBudget, "thermal"),
        "orbit": (OrbitState, "navigation"),
        "forecast": (OrbitForecast, "navigation"),
    }
    for name, (kind, source) in kept.items():
        flight.bus.subscribe(source, kind, partial(keep, flight, name))
    for source in ("power", "thermal", "navigation"):
        flight.bus.subscribe(source, Event, lambda message, _h, _k: flight.events.append(message))


def keep(flight: Flight, name: str, message: Any, _header: Any, _key: str) -> None:
    setattr(flight, name, message)


def test_two_orbits_within_every_limit() -> None:
    async def test(flight: Flight) -> None:
        for _ in range(20):
            await flight.run(580)
            truth = flight.read("battery.state_of_charge_ratio")
            assert flight.power.state_of_charge_ratio == pytest.approx(truth, abs=0.03)
        # The plan stays over 73 %; the estimate is good to a few hundredths.
        assert 0.70 < flight.lowest_charge < 0.80
        assert flight.hottest < 85.0
        lit = [watts for watts, sun in flight.watts[100:] if sun]
        dark = [watts for watts, sun in flight.watts[100:] if not sun]
        assert sum(lit) / len(lit) > 1200.0
        assert 100.0 < sum(dark) / len(dark) < 500.0
        assert flight.names().count("eclipse_entry") in {2, 3}
        bad = {"load_opened", "handler_failed", "thermal_trip", "rate_group_overrun", "thermometer_lost"}
        assert not bad & set(flight.names())
        assert flight.orbit.gnss_residual_meters < 1000.0
        assert len(flight.forecast.eclipses) >= 2

    fly(test)


def test_power_lives_without_navigation_and_thermal() -> None:
    async def test(flight: Flight) -> None:
        flight.heat = ThermalBudget(compute_now_watts=1e9)
        await flight.run(6000)
        assert flight.budget.end_seconds > flight.clock.now()
        assert flight.lowest_charge > 0.70
        assert max(watts for watts, _ in flight.watts[100:]) < 700.0

    fly(test, services=(PowerManager,), charge=0.95)


def test_compute_that_ignores_its_budget_is_shed_and_comes_back() -> None:
    async def test(flight: Flight) -> None:
        flight.obedient = False
        for _ in range(700):
            flight.draw(1400.0)
            await flight.run(10)
        opened = [event for event in flight.events if event.name == "load_opened"]
        assert [event.fields[0].value for event in opened][:1] == ["node-2"]
        assert flight.lowest_charge > 0.45
        assert flight.read("bus.brownouts_total") == 0.0
        assert "load_restored" in flight.names()
        assert flight.read("load.gateway-radio.closed") == 1.0

    fly(test, charge=0.7)


def test_a_short_is_tripped_reset_and_closed_again() -> None:
    async def test(flight: Flight) -> None:
        await flight.run(30)
        flight.actuate("fault.load.node-2.short_watts", 900.0)
        await flight.run(20)
        assert flight.read("load.node-2.closed") == 0.0
        assert next(load for load in flight.power.loads if load.load == "node-2").tripped
        refused = await flight.ask("power", SetLoadSwitchRequest(load="node-2", closed=True))
        assert not refused.ok
        assert "reset its trip first" in refused.reason
        flight.actuate("fault.load.node-2.short_watts", 0.0)
        assert (await flight.ask("power", ResetTripRequest(load="node-2"))).ok
        assert not (await flight.ask("power", ResetTripRequest(load="node-2"))).ok
        assert (await flight.ask("power", SetLoadSwitchRequest(load="node-2", closed=True))).ok
        await flight.run(5)
        assert flight.read("load.node-2.closed") == 1.0

    fly(test)


def test_commands_that_cannot_be_done_say_why() -> None:
    async def test(flight: Flight) -> None:
        await flight.run(5)
        unknown = await flight.ask("power", SetLoadSwitchRequest(load="toaster", closed=False))
        assert unknown.reason == 'there is no load "toaster"; known are gateway-radio, node-1, node-2, laser-1'
        vital = await flight.ask("power", SetLoadSwitchRequest(load="gateway-radio", closed=False))
        assert "never switched off" in vital.reason
        assert not unknown.ok
        assert not vital.ok

    fly(test)


def test_a_stopped_pump_slows_compute_and_a_chip_that_overheats_loses_its_power() -> None:
    async def test(flight: Flight) -> None:
        await flight.run(1500)
        flight.actuate("fault.pump.stopped", 1.0)
        await flight.run(60)
        assert "pump_stalled" in flight.names()
        assert flight.heat.compute_now_watts < 400.0
        # Now compute does not listen any more.
        flight.obedient = False
        for _ in range(200):
            flight.draw(1400.0)
            await flight.run(10)
        assert "thermal_trip" in flight.names()
        assert flight.hottest < 99.0
        assert any(event.name == "load_opened" and "too hot" in event.text for event in flight.events)

    fly(test)


def test_a_trip_is_repeated_until_power_is_back_to_obey_it() -> None:
    async def test(flight: Flight) -> None:
        await flight.run(1200)
        await flight.stop("power")
        flight.actuate("fault.pump.stopped", 1.0)
        flight.obedient = False
        while "thermal_trip" not in flight.names():
            flight.draw(1400.0)
            await flight.run(5)
        # Nobody can open the switch: compute is asked to stop.
        await flight.run(2)
        assert flight.heat.compute_now_watts == 0.0
        await flight.start(PowerManager)
        await flight.run(5)
        assert min(flight.read(f"load.{name}.closed") for name in NODES) == 0.0

    fly(test)


def test_a_silent_battery_monitor_is_told_and_survived() -> None:
    async def test(flight: Flight) -> None:
        await flight.run(300)
        flight.actuate("fault.device.battery.silent", 1.0)
        await flight.run(1200)
        assert "battery_unreadable" in flight.names()
        truth = flight.read("battery.state_of_charge_ratio")
        assert flight.power.state_of_charge_ratio == pytest.approx(truth, abs=0.03)
        flight.actuate("fault.device.battery.silent", 0.0)
        await flight.run(10)
        assert "battery_readable" in flight.names()

    fly(test)


def test_meters_that_all_fall_silent_are_no_empty_battery() -> None:
    async def test(flight: Flight) -> None:
        await flight.run(300)
        for meter in ("battery", "array"):
            flight.actuate(f"fault.device.{meter}.silent", 1.0)
        await flight.run(900)
        truth = flight.read("battery.state_of_charge_ratio")
        assert flight.power.state_of_charge_ratio == pytest.approx(truth, abs=0.05)

    fly(test)


def test_a_stuck_battery_monitor_does_not_hide_an_eclipse() -> None:
    async def test(flight: Flight) -> None:
        await flight.run(1200)
        flight.actuate("fault.device.battery.stuck", 1.0)
        await flight.run(3600)
        assert "battery_unreadable" in flight.names()
        assert "eclipse_exit" in flight.names()
        assert flight.lowest_charge > 0.68
        truth = flight.read("battery.state_of_charge_ratio")
        assert flight.power.state_of_charge_ratio == pytest.approx(truth, abs=0.06)

    fly(test)


def test_the_pump_can_be_held_for_a_time() -> None:
    async def test(flight: Flight) -> None:
        await flight.run(10)
        assert (await flight.ask("thermal", SetPumpRequest(duty_ratio=0.8, hold_seconds=60.0))).ok
        await flight.run(30)
        assert flight.read("pump.duty_ratio") == pytest.approx(0.8)
        await flight.run(120)
        assert flight.read("pump.duty_ratio") < 0.5

    fly(test)
