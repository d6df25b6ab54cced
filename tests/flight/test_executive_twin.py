"""The executive over tasks in virtual time: modes, rules, commands, hung and broken services."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import msgspec
import pytest
import zmq

from flight.bus import Bus, Endpoints
from flight.context import ServiceContext
from flight.devices import DeviceRegistry
from flight.executive.memory import Memory, Store
from flight.executive.modes import Mode
from flight.executive.rules import Action, Rule
from flight.executive.tasks import TaskBoard
from flight.hal import DeviceEnvironment
from flight.meter import NullMeter
from flight.service import Service, command, every, registry
from skyrack import files, logging, virtual
from skyrack.clock import MissionClock
from skyrack.disk import MemoryDisk
from skyrack.satellite import load_constellation, load_satellite
from skyrack.v1 import common_pb2, executive_pb2, options_pb2, power_pb2
from skyrack.v1.executive_pb2 import MODE_BOOT, MODE_NOMINAL, MODE_SAFE, SERVICE_STATE_RUNNING

CHARGE = "PowerStatus.state_of_charge_ratio"
LOW = Rule(name="low", field=CHARGE, level="red_low", persistence=3, action=Action.SAFE_MODE, text="Battery low")
DESIGN = load_satellite(files.shipped("satellites", files.shipped_names("satellites")[0]))
CONSTELLATION = load_constellation(files.shipped("constellations", files.shipped_names("constellations")[0]))[0]


@pytest.fixture(autouse=True)
def own_services() -> Iterator[None]:
    kept = dict(registry)
    logging.silence()
    yield
    registry.clear()
    registry.update(kept)


class Plan:
    """What the fake services do, and what was done to them."""

    def __init__(self) -> None:
        self.charge = 0.9
        self.starts: dict[str, int] = {}
        self.broken: set[str] = set()
        self.hung: set[str] = set()
        self.switches: list[tuple[str, bool]] = []


def make_services(plan: Plan) -> None:
    class Fake(Service):
        async def on_start(self) -> None:
            plan.starts[self.name] = plan.starts.get(self.name, 0) + 1
            if self.name in plan.broken:
                raise RuntimeError("no battery")

        @command
        async def ping(self, request: common_pb2.PingRequest) -> common_pb2.PingResponse:  # type: ignore[override]
            if self.name in plan.hung:
                await asyncio.sleep(10_000)
            return common_pb2.PingResponse(nonce=request.nonce)

    class Power(Fake):
        name = "power"
        publishes = (power_pb2.PowerStatus,)

        @every(seconds=1)
        def report(self) -> None:
            self.publish(power_pb2.PowerStatus(state_of_charge_ratio=plan.charge))

        @command
        def set_load_switch(self, request: power_pb2.SetLoadSwitchRequest) -> common_pb2.CommandResult:
            plan.switches.append((request.load, request.closed))
            return common_pb2.CommandResult(ok=True)

        @command
        def reset_trip(self, _request: power_pb2.ResetTripRequest) -> common_pb2.CommandResult:
            return common_pb2.CommandResult(ok=True)

    class Laser(Fake):
        name = "laser"

    registry.update({kind.name: kind for kind in (Power, Laser)})


class Ground:
    """Somebody who watches the executive on the bus, and commands it."""

    def __init__(self, bus: Bus, clock: MissionClock) -> None:
        self.bus, self.clock = bus, clock
        self.status = executive_pb2.SatelliteStatus()
        self.events: list[str] = []
        self.violations: list[str] = []
        self.overrides = executive_pb2.LimitOverrides()
        self.rules = executive_pb2.FaultRules()
        for kind, name in (
            (executive_pb2.SatelliteStatus, "status"),
            (executive_pb2.LimitOverrides, "overrides"),
            (executive_pb2.FaultRules, "rules"),
        ):
            bus.subscribe("executive", kind, partial(self._keep, name))
        bus.subscribe("executive", common_pb2.Event, lambda event, _header, _key: self.events.append(event.name))
        bus.subscribe(
            "executive", executive_pb2.LimitViolation, lambda it, _header, _key: self.violations.append(it.level)
        )

    def _keep(self, name: str, message: Any, _header: object, _key: str) -> None:
        setattr(self, name, message)

    async def until(self, condition: Callable[[], Any], seconds: float = 600) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what it waits for happens elsewhere
                await asyncio.sleep(0.1)

    async def send(self, request: Any) -> Any:
        return await self.bus.request("executive", request, 5)

    @property
    def mode(self) -> int:
        return self.status.mode

    def service(self, name: str) -> executive_pb2.ManagedService:
        return next(service for service in self.status.services if service.service == name)


def memory_on(disk: MemoryDisk) -> Memory:
    return Store(disk.mount().file("executive.json")).memory


@asynccontextmanager
async def flying(
    plan: Plan,
    rules: tuple[Rule, ...] = (LOW,),
    disk: MemoryDisk | None = None,
    services: tuple[str, ...] = ("power", "laser"),
) -> AsyncIterator[Ground]:
    make_services(plan)
    disk = disk or MemoryDisk()
    clock = MissionClock.starting_at(1e9)
    endpoints = Endpoints.inproc("sat")
    context = zmq.Context(1)
    count = iter(range(1, 10_000))

    def make_context(name: str) -> ServiceContext:
        rng = random.Random(name)
        environment = DeviceEnvironment("sat", clock, rng, None)
        return ServiceContext(
            satellite="sat",
            satellite_file=DESIGN,
            constellation=CONSTELLATION,
            clock=clock,
            endpoints=endpoints,
            devices=DeviceRegistry(environment, {}, {}),
            rng=rng,
            zmq_context=context,
            meter=NullMeter(),
            services=("executive", *services),
            incarnation=next(count),
            mount=disk.mount(),
        )

    ground = Ground(Bus("ground", endpoints, clock, 1, context), clock)
    await ground.bus.open()
    task = asyncio.create_task(TaskBoard(make_context, rules).fly(), name="satellite")
    try:
        yield ground
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await ground.bus.close()
        context.term()


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> None:
    virtual.run(test)  # type: ignore[arg-type]


def test_boots_to_nominal_and_reports() -> None:
    async def test() -> None:
        async with flying(Plan()) as ground:
            await ground.until(lambda: ground.mode == MODE_NOMINAL, 10)
            assert [service.service for service in ground.status.services] == ["power", "laser"]
            assert ground.status.boots_total == 1
            assert [rule.rule for rule in ground.rules.rules] == ["low"]

    in_virtual_time(test)


def test_a_rule_brings_the_safe_mode_and_takes_the_racks_power() -> None:
    async def test() -> None:
        plan = Plan()
        disk = MemoryDisk()
        nodes = [node.name for node in DESIGN.nodes]
        async with flying(plan, disk=disk) as ground:
            await ground.until(lambda: ground.mode == MODE_NOMINAL)
            plan.charge = 0.55
            await ground.until(lambda: ground.violations == ["yellow_low"], 3)
            plan.charge = 0.3
            await ground.until(lambda: ground.mode == MODE_SAFE, 6)
            assert ground.status.reason == "Battery low"
            assert ground.status.limit_violations_total == 1
            await ground.until(lambda: len(plan.switches) == len(nodes), 30)
            assert plan.switches == [(node, False) for node in nodes]
        assert memory_on(disk).last_mode is Mode.SAFE
        async with flying(plan, disk=disk) as ground:
            await ground.until(lambda: all(service.state == 2 for service in ground.status.services) and ground.mode)
            assert ground.mode == MODE_SAFE, "the mode is kept"
            assert ground.status.boots_total == 2
            plan.charge = 0.9
            assert (await ground.send(executive_pb2.SetModeRequest(mode=MODE_NOMINAL))).ok
            await ground.until(lambda: ground.mode == MODE_NOMINAL, 5)
            await ground.until(lambda: plan.switches[-1] == (nodes[-1], True), 30)
            assert plan.switches[len(nodes) :] == [(node, True) for node in nodes]

    in_virtual_time(test)


def test_passive_rules_report_and_disabled_ones_do_not() -> None:
    async def test() -> None:
        plan = Plan()
        async with flying(plan) as ground:
            await ground.until(lambda: ground.mode == MODE_NOMINAL)
            request = executive_pb2.SetRuleRequest(rule="low", state=executive_pb2.RULE_STATE_PASSIVE)
            assert (await ground.send(request)).ok
            plan.charge = 0.3
            await ground.until(lambda: "fault_rule_fired" in ground.events, 10)
            assert ground.mode == MODE_NOMINAL
            assert ground.rules.rules[0].firings_total == 1
            plan.charge = 0.9
            await asyncio.sleep(10)
            request = executive_pb2.SetRuleRequest(rule="low", state=executive_pb2.RULE_STATE_DISABLED)
            assert (await ground.send(request)).ok
            plan.charge = 0.3
            await asyncio.sleep(10)
            assert ground.events.count("fault_rule_fired") == 1
            assert not (
                await ground.send(executive_pb2.SetRuleRequest(rule="lo", state=executive_pb2.RULE_STATE_ACTIVE))
            ).ok
            assert not (await ground.send(executive_pb2.SetRuleRequest(rule="low"))).ok

    in_virtual_time(test)


def test_a_service_that_falls_is_restarted_and_a_hung_one_is_killed() -> None:
    async def test() -> None:
        plan = Plan()
        async with flying(plan) as ground:
            await ground.until(lambda: ground.mode == MODE_NOMINAL)
            plan.hung.add("laser")
            await ground.until(lambda: "service_hung" in ground.events, 100)
            plan.hung.clear()
            await ground.until(
                lambda: ground.service("laser").restarts_total == 1 and ground.service("laser").state == 2
            )
            assert ground.mode == MODE_NOMINAL
            assert (await ground.send(executive_pb2.RestartServiceRequest(service="power"))).ok
            await ground.until(lambda: plan.starts["power"] == 2, 5)
            refused = await ground.send(executive_pb2.RestartServiceRequest(service="powr"))
            assert (refused.ok, refused.reason) == (False, "there is no service powr; there are power, laser")

    in_virtual_time(test)


def test_the_ladder_of_an_essential_service() -> None:
    async def test() -> None:
        plan = Plan()
        plan.broken.add("power")
        disk = MemoryDisk()
        async with flying(plan, disk=disk) as ground:
            await ground.until(lambda: ground.mode == MODE_SAFE, 60)
            await ground.until(lambda: len(memory_on(disk).reboots) == 3, 600)
            await ground.until(lambda: memory_on(disk).boots == 4 and ground.service("power").state == 4, 600)
            starts = plan.starts["power"]
            await asyncio.sleep(600)
            assert plan.starts["power"] == starts, "it was left off"
            assert ground.service("laser").state == 2
            plan.broken.clear()
            assert (await ground.send(executive_pb2.SetModeRequest(mode=MODE_NOMINAL))).ok
            await ground.until(lambda: ground.mode == MODE_NOMINAL, 30)

    in_virtual_time(test)


def test_a_service_that_never_answers_at_boot_leads_to_the_safe_mode() -> None:
    async def test() -> None:
        plan = Plan()
        plan.hung.add("laser")
        async with flying(plan) as ground:
            await ground.until(lambda: ground.mode == MODE_SAFE, 120)
            assert ground.status.reason == "laser did not come up in time"
            assert not (await ground.send(executive_pb2.SetModeRequest())).ok

    in_virtual_time(test)


def test_a_slow_boot_that_goes_on_is_no_failure() -> None:
    async def test() -> None:
        plan = Plan()
        plan.hung.update(("power", "laser"))
        async with flying(plan) as ground:
            await asyncio.sleep(50)
            plan.hung.remove("power")
            await ground.until(lambda: ground.service("power").state == SERVICE_STATE_RUNNING, 40)
            await asyncio.sleep(60)
            assert ground.mode == MODE_BOOT
            plan.hung.remove("laser")
            await ground.until(lambda: ground.mode == MODE_NOMINAL, 40)

    in_virtual_time(test)


def test_limits_are_commanded_published_and_kept() -> None:
    async def test() -> None:
        plan = Plan()
        disk = MemoryDisk()
        async with flying(plan, disk=disk) as ground:
            await ground.until(lambda: ground.mode == MODE_NOMINAL)
            limits = options_pb2.Limits(red_low=0.95)
            assert (await ground.send(executive_pb2.SetLimitsRequest(field=CHARGE, limits=limits))).ok
            await ground.until(lambda: ground.violations == ["red_low"], 5)
            upside_down = options_pb2.Limits(red_low=2, red_high=1)
            refused = await ground.send(executive_pb2.SetLimitsRequest(field=CHARGE, limits=upside_down))
            assert "must rise" in refused.reason
            assert not (await ground.send(executive_pb2.SetLimitsRequest(field="PowerStatus.nothing"))).ok
            # A field of a message that nobody watched until now.
            volts = executive_pb2.SetLimitsRequest(
                field="LaserStatus.terminals.received_power_watts", limits=options_pb2.Limits(red_high=1)
            )
            await ground.send(volts)
        assert msgspec.to_builtins(memory_on(disk).limits)[CHARGE] == {"red_low": 0.95}
        async with flying(plan, disk=disk) as ground:
            await ground.until(lambda: len(ground.overrides.overrides) > 0)
            assert CHARGE in [override.field for override in ground.overrides.overrides]

    in_virtual_time(test)


def test_two_flights_are_equal() -> None:
    def fly() -> list[str]:
        told: list[str] = []

        async def test() -> None:
            plan = Plan()
            async with flying(plan) as ground:
                ground.bus.subscribe(
                    "executive", common_pb2.Event, lambda event, _header, _key: told.append(str(event))
                )
                await asyncio.sleep(20)
                plan.hung.add("laser")
                plan.charge = 0.2
                await asyncio.sleep(100)

        in_virtual_time(test)
        return told

    first = fly()
    assert len(first) > 5
    assert first == fly()
