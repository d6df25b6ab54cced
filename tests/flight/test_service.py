from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import zmq
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from flight import service as service_module
from flight.bus import Endpoints, Header, RequestRefused, RequestTimeout
from flight.context import ServiceContext
from flight.declarations import Declarations
from flight.devices import DeviceRegistry
from flight.hal import DeviceEnvironment
from flight.meter import HostMeter, NullMeter
from flight.rate import next_start
from flight.service import ALL, Service, command, every, subscribe
from flight.throttle import Throttle
from skyrack import virtual
from skyrack.clock import MissionClock
from skyrack.errors import UserError
from skyrack.logging import silence
from skyrack.v1.common_pb2 import (
    CommandResult,
    Event,
    GetParametersRequest,
    Health,
    ParameterValue,
    PingRequest,
    PingResponse,
    SetParametersRequest,
    Severity,
)
from skyrack.v1.power_pb2 import PowerBudget, PowerParameters, PowerStatus, SetLoadSwitchRequest
from skyrack.v1.thermal_pb2 import ThermalStatus

EPOCH = 1_781_000_000.0


@pytest.fixture(autouse=True)
def _no_leftovers(monkeypatch: pytest.MonkeyPatch) -> None:
    silence()
    monkeypatch.setattr(service_module, "registry", {})


class Power(Service):
    name = ""
    publishes: ClassVar[tuple[type[Message], ...]] = (PowerStatus,)

    def __init__(self, context: ServiceContext) -> None:
        super().__init__(context)
        self.calls: list[Any] = []


def make_power() -> type[Any]:
    class TestPower(Power):
        name = "power"
        parameters: ClassVar = PowerParameters

        async def on_start(self) -> None:
            self.calls.append("on_start")

        async def on_stop(self) -> None:
            self.calls.append("on_stop")

        def on_parameters(self) -> None:
            self.calls.append(self.parameters_active.reserve_margin_ratio)

        @every(seconds=1)
        async def control(self) -> None:
            self.calls.append(self.clock.now() - EPOCH)
            self.publish(PowerStatus(mission_time_seconds=self.clock.now()))

        @command
        async def set_load_switch(self, request: SetLoadSwitchRequest, header: Header) -> CommandResult:
            if request.load == "raise":
                raise KeyError("raise")
            return CommandResult(ok=True, reason=f"{request.load} for {header.source}")

    return TestPower


def make_thermal() -> type[Any]:
    class TestThermal(Power):
        name = "thermal"
        publishes: ClassVar[tuple[type[Message], ...]] = (ThermalStatus,)

        @subscribe(PowerStatus)
        def on_power(self, message: PowerStatus) -> None:
            self.calls.append(message)

        @subscribe(Event, source=ALL)
        async def on_event(self, message: Event, header: Header, key: str) -> None:
            self.calls.append(message)

        @subscribe(Health, source=("power",))
        def on_health(self, message: Health, header: Header) -> None:
            self.calls.append(message)

    return TestThermal


class Craft:
    def __init__(self, zmq_context: zmq.Context[Any]) -> None:
        self.clock = MissionClock.starting_at(EPOCH)
        self.zmq_context = zmq_context
        self.endpoints = Endpoints.inproc("craft")
        self.services: list[Service] = []

    def context(self, **changes: Any) -> ServiceContext:
        environment = DeviceEnvironment("sat-1", self.clock, random.Random(1), None)
        values: dict[str, Any] = {
            "satellite": "sat-1",
            "satellite_file": None,
            "constellation": None,
            "clock": self.clock,
            "endpoints": self.endpoints,
            "devices": DeviceRegistry(environment, {}, {}),
            "rng": random.Random(1),
            "zmq_context": self.zmq_context,
            "meter": NullMeter(),
        }
        return ServiceContext(**{**values, **changes})

    async def start(self, kind: type[Any], **changes: Any) -> Any:
        service = kind(self.context(**changes))
        self.services.append(service)
        await service.start()
        return service


def fly(test: Callable[[Craft], Awaitable[None]]) -> None:
    async def main() -> None:
        with zmq.Context(0) as zmq_context:
            craft = Craft(zmq_context)
            try:
                await test(craft)
            finally:
                for service in craft.services:
                    await service.stop()

    virtual.run(main)


def of(kind: type[Any], calls: list[Any]) -> list[Any]:
    return [call for call in calls if isinstance(call, kind)]


def test_rate_groups_keep_step_with_their_start() -> None:
    async def test(craft: Craft) -> None:
        power = await craft.start(make_power())
        await craft.clock.sleep(1000.5)
        assert power.calls[0] == "on_start"
        assert power.calls[1:] == pytest.approx(list(range(1001)), abs=1e-6)

    fly(test)


@given(st.floats(0, 1e9), st.floats(1e-3, 1e4), st.integers(0, 10**6), st.floats(0, 1e5))
def test_next_start_is_the_first_that_is_not_past(first: float, period: float, count: int, late: float) -> None:
    now = first + count * period + late
    following, missed = next_start(first, period, count, now)
    assert following == count + 1 + missed
    assert missed >= 0
    assert first + following * period >= now
    if missed:
        assert first + (following - 1) * period < now + 1e-6 * max(1.0, now)


def test_an_overrun_is_counted_told_once_in_a_while_and_step_is_kept() -> None:
    class Slow(Power):
        name = "power"

        @every(seconds=1)
        async def control(self) -> None:
            self.calls.append(self.clock.now() - EPOCH)
            await self.clock.sleep(2.5 if len(self.calls) < 4 else 0.1)

    async def test(craft: Craft) -> None:
        power, thermal = await craft.start(Slow), await craft.start(make_thermal())
        await craft.clock.sleep(20.0)
        assert power.calls[:6] == pytest.approx([0, 3, 6, 9, 10, 11], abs=1e-6)
        events = of(Event, thermal.calls)
        assert [event.name for event in events] == ["rate_group_overrun"]
        assert events[0].severity == Severity.SEVERITY_WARNING
        assert "power.control" in events[0].text
        assert of(Health, thermal.calls)[-1].overruns_total == 6

    fly(test)


def test_a_cycle_that_raises_is_told_and_the_next_one_runs() -> None:
    class Broken(Power):
        name = "power"

        @every(seconds=1)
        def control(self) -> None:
            self.calls.append(1)
            raise ValueError("no reading")

    async def test(craft: Craft) -> None:
        power, thermal = await craft.start(Broken), await craft.start(make_thermal())
        await craft.clock.sleep(100.5)
        assert len(power.calls) == 101
        events = of(Event, thermal.calls)
        assert [(event.name, event.mission_time_seconds - EPOCH) for event in events] == [
            ("handler_failed", 0.0),
            ("handler_failed", 60.0),
        ]
        assert events[1].text == "control: ValueError: no reading"
        assert [field.value for field in events[1].fields] == ["control", "59"]
        assert of(Health, thermal.calls)[-1].handler_errors_total >= 96

    fly(test)


def test_health_comes_every_five_seconds_and_to_a_newcomer_at_once() -> None:
    async def test(craft: Craft) -> None:
        await craft.start(make_power())
        await craft.clock.sleep(2.0)
        thermal = await craft.start(make_thermal())
        await craft.clock.sleep(1.0)
        assert [health.uptime_seconds for health in of(Health, thermal.calls)] == [0.0]
        await craft.clock.sleep(10.0)
        healths = of(Health, thermal.calls)
        assert [health.uptime_seconds for health in healths] == pytest.approx([0, 5, 10], abs=1e-6)
        assert healths[0].service == "power"
        assert healths[0].incarnation == int(EPOCH * 1e6)
        assert healths[-1].messages_published_total >= 10
        assert healths[-1].resident_memory_bytes == 0

    fly(test)


def test_the_host_meter_measures() -> None:
    meter = HostMeter()
    assert meter.resident_memory_bytes() > 1_000_000
    assert meter.seconds() <= meter.seconds()


def test_commands_are_checked_and_answered() -> None:
    async def test(craft: Craft) -> None:
        power, thermal = await craft.start(make_power()), await craft.start(make_thermal())
        assert await thermal.request("power", SetLoadSwitchRequest(load="node-1", closed=False)) == CommandResult(
            ok=True, reason="node-1 for thermal"
        )
        refused = await thermal.request("power", SetLoadSwitchRequest())
        assert not refused.ok
        assert "load is missing" in refused.reason
        with pytest.raises(RequestRefused, match="power failed at SetLoadSwitch: KeyError"):
            await thermal.request("power", SetLoadSwitchRequest(load="raise", closed=False))
        await craft.clock.sleep(1.0)
        assert [event.name for event in of(Event, thermal.calls)] == ["handler_failed"]
        assert await thermal.request("power", PingRequest(nonce=3)) == PingResponse(
            nonce=3, incarnation=power.incarnation
        )

    fly(test)


def test_ping_is_answered_while_the_service_is_still_starting() -> None:
    class Starting(Power):
        name = "power"

        async def on_start(self) -> None:
            await self.clock.sleep(100.0)

    async def test(craft: Craft) -> None:
        thermal = await craft.start(make_thermal())
        starting = asyncio.ensure_future(craft.start(Starting))
        assert (await thermal.request("power", PingRequest(nonce=1), 5.0)).nonce == 1
        await starting

    fly(test)


def test_parameters_are_checked_activated_and_persisted(tmp_path: Path) -> None:
    async def test(craft: Craft) -> None:
        power, thermal = await craft.start(make_power(), state_dir=tmp_path), await craft.start(make_thermal())

        async def set_to(**values: float) -> CommandResult:
            request = SetParametersRequest(values=[ParameterValue(name=n, value=v) for n, v in values.items()])
            result = await thermal.request("power", request)
            assert isinstance(result, CommandResult)
            return result

        assert power.parameters_active.reserve_margin_ratio == 0.1
        bad = await set_to(reserve_margin_ratio=0.2, depth_of_discharge_ratio=5.0)
        assert not bad.ok
        assert "depth_of_discharge_ratio is 5" in bad.reason
        assert power.parameters_active.reserve_margin_ratio == 0.1, "all or nothing"
        assert (await set_to(reserve_margin_ratio=0.25)).ok
        assert power.parameters_active.reserve_margin_ratio == 0.25
        assert power.calls[-1] == 0.25
        unknown = await set_to(reserve_margin=0.25)
        assert 'did you mean "reserve_margin_ratio"?' in unknown.reason
        got = await thermal.request("power", GetParametersRequest())
        assert {value.name: value.value for value in got.values}["reserve_margin_ratio"] == 0.25
        none = await thermal.request("thermal", SetParametersRequest(values=[ParameterValue(name="x", value=1)]))
        assert none.reason == "thermal has no parameters"
        await power.stop()
        craft.services.remove(power)
        again = await craft.start(make_power(), state_dir=tmp_path, parameters={"reserve_margin_ratio": 0.4})
        assert again.parameters_active.reserve_margin_ratio == 0.25, "what was set in flight wins over the board file"
        (tmp_path / "parameters" / "power.json").write_text("{")
        with pytest.raises(UserError, match=r"power\.json: these are not parameters"):
            make_power()(craft.context(state_dir=tmp_path))

    fly(test)


def test_only_what_is_declared_can_be_published() -> None:
    async def test(craft: Craft) -> None:
        power = await craft.start(make_power())
        power.publish(PowerStatus())
        with pytest.raises(TypeError, match=r"power does not declare that it publishes PowerBudget; add it to"):
            power.publish(PowerBudget())

    fly(test)


def test_malformed_messages_are_an_event_and_the_service_goes_on() -> None:
    async def test(craft: Craft) -> None:
        power, thermal = await craft.start(make_power()), await craft.start(make_thermal())
        await craft.clock.sleep(1.0)
        for _ in range(10):
            power.bus.inject(b"junk", b"\xff", b"")
        await craft.clock.sleep(10.0)
        assert [event.name for event in of(Event, thermal.calls)] == ["message_malformed"]
        assert of(Health, thermal.calls)[-1].messages_malformed_total == 10

    fly(test)


def test_stop_ends_everything_in_order() -> None:
    class Busy(Power):
        name = "power"

        async def on_start(self) -> None:
            self.spawn(self.forever(), "forever")

        async def forever(self) -> None:
            try:
                await self.clock.sleep(1e9)
            finally:
                self.calls.append("task ended")

        async def on_stop(self) -> None:
            self.calls.append("on_stop")
            self.publish(PowerStatus())

    async def test(craft: Craft) -> None:
        power = await craft.start(Busy)
        await craft.clock.sleep(1.0)
        await power.stop()
        assert power.calls == ["task ended", "on_stop"]
        thermal = await craft.start(make_thermal())
        with pytest.raises(RequestTimeout):
            await thermal.request("power", PingRequest(), 1.0)

    fly(test)


def test_run_comes_back_when_asked_and_when_cancelled() -> None:
    async def test(craft: Craft) -> None:
        kind = make_power()
        made: list[Any] = []

        def make(context: ServiceContext) -> Any:
            made.append(kind(context))
            return made[-1]

        running = asyncio.ensure_future(service_module.run(make, craft.context()))  # type: ignore[arg-type]
        await craft.clock.sleep(1.0)
        made[0].request_stop()
        await running
        running = asyncio.ensure_future(service_module.run(make, craft.context()))  # type: ignore[arg-type]
        await craft.clock.sleep(1.0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert [service.calls[-1] for service in made] == ["on_stop", "on_stop"]
        assert not made[1].bus.is_open

    fly(test)


def test_declarations_are_read_from_the_class() -> None:
    declared: Declarations = make_thermal().declarations
    assert [(each.method, each.sources, each.arguments) for each in declared.subscriptions] == [
        ("on_power", ("power",), 1),
        ("on_event", ("*",), 3),
        ("on_health", ("power",), 2),
    ]
    assert [handler.rpc.name for handler in make_power().declarations.commands] == [
        "Ping",
        "SetParameters",
        "GetParameters",
        "SetLoadSwitch",
    ]


def test_wrong_declarations_are_refused() -> None:
    with pytest.raises(ValueError, match="the contract names no publisher"):
        subscribe(Health)
    with pytest.raises(ValueError, match="period must be above 0"):
        every(seconds=0)
    with pytest.raises(
        LookupError, match=r"the contract has no command OpenPodBayDoors for power; it has .*SetLoadSwitch"
    ):

        class Wrong(Service):
            name = "power"

            @command
            def open_pod_bay_doors(self, request: Any) -> Any: ...


def test_throttle_tells_how_many_it_held_back() -> None:
    throttle = Throttle(10.0)
    assert [throttle.admit("x", t) for t in (0.0, 1.0, 9.9, 10.0, 25.0)] == [
        (True, 0),
        (False, 1),
        (False, 2),
        (True, 2),
        (True, 0),
    ]
    assert throttle.admit("y", 0.0) == (True, 0)
